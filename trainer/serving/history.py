"""What is known of users' outcomes, for a run that reads them: a mart, other Parquet, or a table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from trainer.columns.build import open_mart
from trainer.columns.sequences import OutcomeIndex
from trainer.contract.read import build_in
from trainer.inputs.table import HISTORY, RequiredColumns, block_columns
from trainer.serving.source import open_source

History: TypeAlias = Path | pa.Table


def open_history(
    history: History, required: RequiredColumns, scenes: tuple[str, ...], users: Callable[[], pa.Array] | None
) -> OutcomeIndex:
    """The outcomes, by user. Of a mart they stay on disk; of Parquet those of `users` are held in memory.

    Raises: TrainerError where it is neither, or lacks a column that is read.
    """
    if isinstance(history, Path) and build_in(history):
        return OutcomeIndex(open_mart(history.parent, history.name)[1])
    if isinstance(history, Path):
        table = _read(history, required, users)
    else:
        required.check(history.schema, "The history")
        table = history.select(required.names)
    ids = pa.table({"event_at": table["event_at"], "event_id": table["event_id"].cast(pa.string())})
    as_in_a_mart = pc.sort_indices(ids, sort_keys=[("event_at", "ascending"), ("event_id", "ascending")])
    return OutcomeIndex(block_columns(table.take(as_in_a_mart), required, scenes, "the history", HISTORY))


def _read(place: Path, required: RequiredColumns, users: Callable[[], pa.Array] | None) -> pa.Table:
    source, user = open_source(place), required.ids["user"]
    wanted = users() if users else None
    parts = []
    for path in source.files:
        schema = source.schema(path)
        required.check(schema, str(path))
        parts.append(pa.schema([schema.field(name) for name in required.names]).empty_table())
        for table in source.blocks(path, required.names):
            kept = None if wanted is None else pc.is_in(table[user].cast(pa.string()), value_set=wanted)
            parts.append(table if kept is None else table.filter(kept))
    return pa.concat_tables(parts, promote_options="permissive")
