"""From counts to features: the formulas of the mart's SQL, over the request and what the state has counted.

NumPy computes those that it can to the same bits as DuckDB (vectorised.py), which is ten times as fast for one request;
DuckDB the others, in this process, prepared once. Which are which is settled when the state is opened: a formula
whose results on made-up counts aren't DuckDB's, bit for bit, is left to DuckDB. A feature that can't be computed from
these is left out, and `batch_only` says why.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import duckdb
import numpy as np
import pyarrow as pa

from trainer.serving.online.compared import unequal_rows
from trainer.serving.online.gathered import MAY_BE_NONE
from trainer.serving.online.relations import NotServedError
from trainer.serving.online.row_wise import RowWise
from trainer.serving.online.supplied import HISTORY, HISTORY_LISTS, MICROS, supplied
from trainer.serving.online.terms import NotVectorisedError
from trainer.serving.online.values import List, Value, as_arrow
from trainer.serving.online.vectorised import Program

# DuckDB advises `sql(query)`, which would plan a prepared query anew. Once, for all threads: requests run side by side.
warnings.filterwarnings("ignore", "Arrow output on a DB-API result", UserWarning)

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
_KINDS = {pa.int64(): "int", pa.int32(): "int", pa.string(): "text", pa.date32(): "date", pa.timestamp("us"): "instant"}
_HASHABLE = [[f"request.{name}"] for name in ("item_title", "item_entities", "item_id", "user_id", "scene")]
_MOST = 200_000  # distinct texts whose results are remembered
Supplied: TypeAlias = Mapping[str, Value | pa.Array]  # by name; what is dear may be made when it is asked for


@dataclass(frozen=True)
class Computed:
    """A model's columns: numbers and texts as NumPy has them, those that DuckDB computed as Arrow.

    types: of all of them, in the model's order. passed_on: those that are supplied as they are, by what supplies them.
    """

    n_rows: int
    types: dict[str, pa.DataType]
    values: dict[str, Value | List]
    arrays: dict[str, pa.Array]
    passed_on: dict[str, str]
    supplied: Supplied

    def table(self) -> pa.Table:
        return pa.table({name: self.array(name) for name in self.types})

    def array(self, name: str) -> pa.Array:
        if name in self.arrays:
            return self.arrays[name]
        if name in self.passed_on:
            return as_arrow(self.supplied[self.passed_on[name]], self.types[name], self.n_rows)
        return as_arrow(self.values[name], self.types[name], self.n_rows)


class Formulas:
    """The outputs of one model that can be computed by row."""

    def __init__(self, models: Mapping[str, str], mart: str, n_scenes: int, columns: list[str], of: str = ""):
        """columns: those wanted of the model `of` (default: the mart)."""
        reading = RowWise(models, supplied(mart, n_scenes))
        reading.declare_micros(MICROS, "request.event_at")
        relation = reading.model(of or mart)
        self.batch_only: dict[str, str] = {}
        outputs: dict[str, str] = {}
        for name in columns:
            try:
                outputs[name] = relation.find(name)
            except NotServedError as error:
                self.batch_only[name] = str(error)
        self.columns = tuple(outputs)
        self.inputs = reading.needed(list(outputs.values()))
        self._passed_on = {name: one for name, one in outputs.items() if one not in reading.formulas}
        computed = {name: one for name, one in outputs.items() if name not in self._passed_on}
        everything = _Statement(reading, computed)
        self.types = {
            name: type_of(one) if name in self._passed_on else everything.types[name] for name, one in outputs.items()
        }
        program = _vectorised(reading, computed, self.inputs)
        differing = _differing(everything, program, reading.texts())
        in_numpy = {name: one for name, one in computed.items() if name in program.outputs and name not in differing}
        self._program = _vectorised(reading, in_numpy, self.inputs)
        rest = {name: one for name, one in computed.items() if name not in in_numpy}
        of_texts = {name: one for name, one in rest.items() if reading.needed([one]) in _HASHABLE}
        self._rest = _Statement(reading, {name: one for name, one in rest.items() if name not in of_texts})
        self._of_texts = {name: _Remembered(_Statement(reading, {name: one})) for name, one in of_texts.items()}
        self.by_duckdb = tuple(rest)  # the columns that NumPy doesn't compute

    def __call__(self, n_rows: int, supplied: Supplied) -> Computed:
        """The model's columns, a row for each of the rows supplied."""

        def array(name: str) -> pa.Array:
            return as_arrow(supplied[name], type_of(name), n_rows)

        values = self._program.run(supplied)
        arrays = {name: of(array(of.input)) for name, of in self._of_texts.items()}
        if self._rest.types:
            arrays |= self._rest(pa.table({name: array(name) for name in self._rest.inputs}))
        return Computed(n_rows, self.types, values, arrays, self._passed_on, supplied)


class _Statement:
    """Formulas as one prepared query of DuckDB. types: of its columns."""

    def __init__(self, reading: RowWise, outputs: Mapping[str, str]):
        self.types: dict[str, pa.DataType] = {}
        if not outputs:
            return
        self.inputs = reading.needed(list(outputs.values()))
        self._rows = _Rows(pa.table({name: pa.array([], type_of(name)) for name in self.inputs}))
        self._connection = duckdb.connect(config={"threads": 1})
        self._connection.execute("set TimeZone = 'UTC'")
        self._connection.register("rows", self._rows)
        self._connection.execute("prepare formulas as " + reading.sql(outputs, "rows"))
        self.types = {name: one.type for name, one in self(self._rows.table).items()}

    def __call__(self, rows: pa.Table) -> dict[str, pa.Array]:
        self._rows.table = rows
        found: pa.Table = self._connection.execute("execute formulas").to_arrow_table()
        return {name: found[name].combine_chunks() for name in found.column_names}


class _Remembered:
    """A formula of one text, computed once for each text."""

    def __init__(self, statement: _Statement):
        ((self._name, self._type),) = statement.types.items()
        (self.input,) = statement.inputs
        self._statement, self._known = statement, dict[str | None, Any]()

    def __call__(self, texts: pa.Array) -> pa.Array:
        wanted = texts.to_pylist()
        if new := [text for text in dict.fromkeys(wanted) if text not in self._known]:
            if len(self._known) > _MOST:
                self._known, new = {}, list(dict.fromkeys(wanted))
            found = self._statement(pa.table({self.input: pa.array(new, texts.type)}))[self._name]
            self._known.update(zip(new, found.to_pylist(), strict=True))
        return pa.array([self._known[text] for text in wanted], self._type)


class _Rows:
    """A table that DuckDB reads anew each time a prepared statement runs."""

    def __init__(self, table: pa.Table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.table.__arrow_c_stream__(requested_schema)


def _vectorised(reading: RowWise, outputs: Mapping[str, str], inputs: list[str]) -> Program:
    """Those of the formulas that are of operations which NumPy has."""
    kinds = {name: _KINDS[type_of(name)] for name in inputs if type_of(name) in _KINDS}
    program = Program(reading.formulas, kinds, never_null)
    for name, formula in outputs.items():
        with contextlib.suppress(NotVectorisedError):
            program.add(name, formula)
    return program


def _differing(everything: _Statement, program: Program, texts: Sequence[str]) -> set[str]:
    """The formulas whose results on made-up values, small and large and NULL, aren't DuckDB's. texts: some to take."""
    if not program.outputs:
        return set()
    n, draw = 512, np.random.default_rng(0)
    values = {name: _made_up(name, type_of(name), n, draw, texts) for name in everything.inputs}
    try:
        expected = everything(pa.table(values))
    except duckdb.Error:  # made-up values that a formula of the user's own can't take: nothing is proven
        return set(program.outputs)
    found = program.run(values)
    return {
        name
        for name, one in found.items()
        if unequal_rows(as_arrow(one, everything.types[name], n), expected[name]).any()
    }


def never_null(name: str) -> bool:
    """Whether what is supplied by this name always has a value: counts do, the latest of something may not."""
    return not name.startswith(("request.", "texts.")) and not name.endswith(MAY_BE_NONE)


def _made_up(name: str, kind: pa.DataType, n: int, draw: np.random.Generator, texts: Sequence[str]) -> pa.Array:
    null = np.zeros(n, bool) if never_null(name) else draw.random(n) < 0.2
    if kind == pa.string():
        return pa.array(draw.choice([*texts, "another"], n), kind, mask=null)
    if pa.types.is_list(kind):
        elements = _made_up("request.", kind.value_type, 3 * n, draw, texts)
        return pa.ListArray.from_arrays(np.arange(0, 3 * n + 1, 3, dtype=np.int32), elements, mask=pa.array(null))
    if kind == pa.float64():
        return pa.array(draw.normal(size=n), mask=null)
    largest = {pa.timestamp("us"): 4 * 10**15, pa.date32(): 40_000}.get(kind, 10**6)
    whole = np.where(draw.random(n) < 0.3, draw.integers(0, 3, n), draw.integers(0, largest, n))
    return pa.array(whole.astype(np.int32) if kind == pa.date32() else whole, kind, mask=null, safe=False)


def type_of(name: str) -> pa.DataType:
    if name in TYPES:
        return TYPES[name]
    if name.endswith("_date"):
        return pa.date32()
    return pa.string() if name.startswith("request.") and name != MICROS else pa.int64()


def history_lists(outcomes: list[list[Any]], column: str, of_history: tuple[str, ...]) -> pa.Array:
    """One of the mart's lists of a history. of_history: the names of the values of an outcome, in order."""
    value = HISTORY_LISTS[column]
    at = of_history.index(value) if value in of_history else None
    lists = [None if at is None or not one else [outcome[at] for outcome in one] for one in outcomes]
    return pa.array(lists, type_of(f"history.{column}"))


def history_columns(models: Mapping[str, str], mart: str, n_scenes: int) -> Formulas:
    """What a history lists of an outcome: the columns of the history model that the mart's lists are made of."""
    return Formulas(models, mart, n_scenes, sorted(set(HISTORY_LISTS.values())), of=HISTORY)
