"""A finished run from Python, for notebooks: tables in, probabilities out.

>>> from trainer import load_run
>>> run = load_run("runs/movielens/01_dnn")
>>> run.predict(rows).shape
(1000,)
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from storage.places import local
from trainer.base.errors import TrainerError
from trainer.base.files import read_json
from trainer.serving.score import Model
from trainer.training.loop import PREDICT_BATCH


class ArrowTable(Protocol):
    """Any table that speaks Arrow's C stream: pandas, polars, pyarrow, a DuckDB relation."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


@dataclass(frozen=True)
class Run:
    """A finished run, ready to predict. `load_run` makes one.

    path: the run directory. model: its weights with all that leads up to them.
    """

    path: Path
    model: Model

    @property
    def columns(self) -> dict[str, str]:
        """The columns that `predict` needs, with the types of the contract the run was trained with."""
        return {name: column.data_type for name, column in self.model.required.columns.items()}

    @property
    def scenes(self) -> tuple[str, ...]:
        """The scenes the run knows."""
        return self.model.fitted.inputs.scenes

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """What metrics.json holds: every metric of validation and test, overall and by scene."""
        return read_json(self.path / "metrics.json")

    @cached_property
    def lineage(self) -> dict[str, Any]:
        """What lineage.json holds: the marts it was trained on, dbt's nodes, hashes, versions, the command."""
        return read_json(self.path / "lineage.json")

    def predict(self, rows: ArrowTable) -> np.ndarray:
        """The probability of a click for each row, calibration included; what `trainer score` writes for the same rows.

        rows: a table with `columns`, in any order and beside any others of any type; NULL is no history, as in
        training.
        Shapes: N rows -> (N,), float64, in the order of the rows. Units: probabilities in [0, 1].
        Raises: TrainerError for what is no table, and naming the column that is missing, there twice or of another
        type, or the scene that is NULL or unknown.
        """
        table, others = _columns_of(rows, self.model.required.names)
        named = [pa.field(name, pa.null()) for name in dict.fromkeys(others)]  # for "did you mean"
        self.model.required.check(pa.schema([*table.schema, *named]), "The table")
        table = table.select(self.model.required.names)
        blocks = [table.slice(s, PREDICT_BATCH) for s in range(0, len(table), PREDICT_BATCH)]
        return np.concatenate([np.empty(0), *(self.model.probabilities(block, "the table") for block in blocks)])


def load_run(
    path: str | os.PathLike[str],
    vectors: str | os.PathLike[str] | None = None,
    history: str | os.PathLike[str] | ArrowTable | None = None,
) -> Run:
    """Open a finished run. What names a file or folder may be a path or a URI (s3://, gs://, hdfs://, file://).

    path: the run directory that `trainer fit` wrote. vectors: the folder of the vector stores, which stages with texts
    read; None takes the one the run was trained with. history: what is known of the users' outcomes, which 11_sequence
    reads: a mart, Parquet, or a table with the contract's columns, label and known_at among them.
    Raises: TrainerError for a run that isn't finished, is damaged, or is a placebo, and for a history that the run
    doesn't read, or lacks. RemoteError for a URI of another kind, or one that can't be read.
    """
    run = local(path)
    model = Model.load(run, None if vectors is None else local(vectors))
    if history is None or isinstance(history, str | os.PathLike):
        return Run(run, model.with_history(None if history is None else local(history)))
    table, _ = _columns_of(history, model.required.of_history(model.contract).names)
    return Run(run, model.with_history(table))


def _columns_of(rows: ArrowTable, names: list[str]) -> tuple[pa.Table, list[str]]:
    """Those of the named columns that a table has, as Arrow; and the names of its others.

    What isn't read may be of any type, also of one that Arrow doesn't know, and may be there twice.
    Raises: TrainerError for what is no table, and where one of `names` is there twice.
    """
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    found: list[str] | None = None
    if pandas is not None and isinstance(rows, pandas.DataFrame):
        found = [name for name in rows.columns if isinstance(name, str)]
        _check_once(found, names)
        columns = {name: rows[name] for name in names if name in found}
        levels = [name for name in names if name not in columns and name in rows.index.names]
        columns |= {name: rows.index.get_level_values(name) for name in levels}
        arrays = {name: _as_array(name, values) for name, values in columns.items()}
        return pa.table(arrays), [name for name in found if name not in arrays]
    if polars is not None and isinstance(rows, polars.DataFrame):
        found, rows = list(rows.columns), rows.select([name for name in rows.columns if name in names])
    if not hasattr(rows, "__arrow_c_stream__"):
        raise TrainerError(
            f"Expected a table that speaks Arrow (a pandas or polars DataFrame, a pyarrow Table, a DuckDB relation), "
            f"found {type(rows).__name__}. Make one of it, for instance with pandas.DataFrame(...)."
        )
    try:
        table = pa.table(rows)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise TrainerError(f"The table can't be read as Arrow ({error}). Give a column values of one type.") from None
    found = found or table.column_names
    _check_once(found, names)
    table = table.select([k for k, name in enumerate(table.column_names) if name in names])
    return table, [name for name in found if name not in names]


def _check_once(found: list[str], names: list[str]) -> None:
    for name in names:
        if found.count(name) > 1:
            raise TrainerError(f"The table has the column {name} {found.count(name)} times. Keep one of them.")


def _as_array(name: str, values: Any) -> pa.Array | pa.ChunkedArray:
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise TrainerError(
            f"The table can't be read as Arrow (column {name}: {error}). Give a column values of one type."
        ) from None
