"""From counts to features: the formulas of the mart's SQL, over the request and what the state has counted.

DuckDB runs them, in this process, prepared once. A feature that can't be computed from these is left out, and
`batch_only` says why.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from trainer.serving.online.blobs import NONE
from trainer.serving.online.relations import NotServedError
from trainer.serving.online.row_wise import RowWise
from trainer.serving.online.supplied import HISTORY, HISTORY_LISTS, MICROS, supplied

_TEXTS = pa.list_(pa.string())
_IDS = pa.list_(pa.int64())
TYPES = {
    "request.event_at": pa.timestamp("us"),
    "request.event_date": pa.date32(),
    "request.known_at": pa.timestamp("us"),
    "request.known_date": pa.date32(),
    "request.label": pa.int32(),
    "request.user_texts": _TEXTS,
    "request.ctx_dense": pa.list_(pa.float64()),
    "request.ctx_ids": _TEXTS,
    "history.item_ids": _TEXTS,
    "history.title_text_ids": _IDS,
    "history.labels": pa.list_(pa.int32()),
    "texts.item_entity_ids": _IDS,
    "texts.entity_text_ids": _IDS,
}  # of what is supplied; other columns of a request are texts, all other counts whole numbers


class Formulas:
    """The outputs of one model that can be computed by row."""

    def __init__(self, models: Mapping[str, str], mart: str, n_scenes: int, columns: list[str], of: str = ""):
        """columns: those wanted of the model `of` (default: the mart)."""
        reading = RowWise(models, supplied(mart, n_scenes))
        reading.declare_micros(MICROS, "request.event_at")
        relation = reading.model(of or mart)
        self.batch_only: dict[str, str] = {}
        outputs = {}
        for name in columns:
            try:
                outputs[name] = relation.find(name)
            except NotServedError as error:
                self.batch_only[name] = str(error)
        self.columns = tuple(outputs)
        self.inputs = reading.needed(list(outputs.values()))
        self._rows = _Rows(pa.table({name: pa.array([], type_of(name)) for name in self.inputs}))
        self._connection = duckdb.connect(config={"threads": 1})
        self._connection.execute("set TimeZone = 'UTC'")
        self._connection.register("rows", self._rows)
        self._connection.execute("prepare formulas as " + reading.sql(outputs, "rows"))

    def __call__(self, supplied: Mapping[str, pa.Array]) -> pa.Table:
        """The model's columns, a row for each of the rows supplied."""
        self._rows.table = pa.table({name: supplied[name] for name in self.inputs})
        with warnings.catch_warnings():
            # DuckDB advises `sql(query)` instead, which would plan the query anew.
            warnings.filterwarnings("ignore", "Arrow output on a DB-API result", UserWarning)
            return self._connection.execute("execute formulas").to_arrow_table()


class _Rows:
    """A table that DuckDB reads anew each time a prepared statement runs."""

    def __init__(self, table: pa.Table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.table.__arrow_c_stream__(requested_schema)


def type_of(name: str) -> pa.DataType:
    if name in TYPES:
        return TYPES[name]
    if name.endswith("_date"):
        return pa.date32()
    return pa.string() if name.startswith("request.") and name != MICROS else pa.int64()


def counts_as_arrow(counts: Mapping[str, np.ndarray | list[Any]], history: list[str]) -> dict[str, pa.Array]:
    """What the state counted, typed as the SQL has it. history: the names of the values of an outcome, in order."""
    out = {}
    for name, values in counts.items():
        if isinstance(values, np.ndarray):
            kind = type_of(name)
            none = values == NONE
            if kind == pa.date32():
                values = np.where(none, 0, values).astype(np.int32)
            out[name] = pa.array(values, kind, mask=none)
    listed = counts["history"]
    for column, value in HISTORY_LISTS.items():
        at = history.index(value) if value in history else None
        lists = [None if at is None or not one else [outcome[at] for outcome in one] for one in listed]
        out[f"history.{column}"] = pa.array(lists, type_of(f"history.{column}"))
    return out


def history_columns(models: Mapping[str, str], mart: str, n_scenes: int) -> Formulas:
    """What a history lists of an outcome: the columns of the history model that the mart's lists are made of."""
    return Formulas(models, mart, n_scenes, sorted(set(HISTORY_LISTS.values())), of=HISTORY)
