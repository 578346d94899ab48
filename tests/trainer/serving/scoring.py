"""Rows to score, and scoring them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from trainer.serving.score import score_file

UNNEEDED = ("label", "split", "event_at", "known_at")


def rows_of(marts: Path) -> pa.Table:
    """A mart's rows as one table, shuffled, without what scoring doesn't need."""
    table = ds.dataset(marts / "training_examples_v1", exclude_invalid_files=True, partitioning=None).to_table()
    order = np.random.default_rng(0).permutation(len(table))
    return table.take(pa.array(order)).drop_columns(list(UNNEEDED))


def scored(run: Path, table: pa.Table, tmp_path: Path, **options: Any) -> pa.Table:
    pq.write_table(table, tmp_path / "rows.parquet")
    score_file(run, tmp_path / "rows.parquet", tmp_path / "scored.parquet", force=True, **options)
    return pq.read_table(tmp_path / "scored.parquet")


def same_as_the_run(run: Path, table: pa.Table) -> None:
    expected = pq.read_table(run / "predictions.parquet").to_pandas().set_index("event_id").probability
    found = table.to_pandas().set_index("event_id").probability.loc[expected.index]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def replaced(name: str, values: Callable[[pa.ChunkedArray], Any]) -> Callable[[pa.Table], pa.Table]:
    return lambda t: t.set_column(t.column_names.index(name), name, values(t[name]))
