"""Outcomes as the whole rows that their events were, for runs that read a user's outcomes one by one.

A row is what the mart has of an event: its keys, instants and label, then the values of all columns that are features
of a request. Each is a blob of its own, which never changes; a user's list of events says which there are. It is
compressed, since SQLite gives a blob of more than about 1,000 bytes a page of 4 KiB to itself.
Legend: B events.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from msgspec import msgpack

from trainer.base.errors import TrainerError
from trainer.contract.schema import Contract
from trainer.serving.online.event_rows import TYPES, EventRows
from trainer.serving.online.gathered import Gathered
from trainer.serving.online.keys import Outcome, Request

OWN = ("event_id", "user_id", "item_id", "event_at", "known_at", "label")
Gather = Callable[[Sequence[Request]], Gathered]
# From new outcomes, and what gathers requests from the state as it is with them, to their rows.
Whole = Callable[[Sequence[Outcome], Gather], list[bytes]]


def kept_columns(columns: Sequence[Mapping[str, Any]], not_served: Sequence[str]) -> tuple[str, ...]:
    """The columns of a mart that a row has beside OWN. columns: name and role of each."""
    return tuple(c["name"] for c in columns if c["role"] not in not_served and c["name"] not in OWN)


def encoded(outcomes: Sequence[Outcome], table: pa.Table, kept: Sequence[str]) -> list[bytes]:
    """table: the outcomes' events; a column that it lacks is NULL. Shapes: B outcomes, B rows -> B blobs."""
    nothing = [None] * len(outcomes)
    columns = [_plain(table[name]).to_pylist() if name in table.column_names else nothing for name in kept]
    values = zip(*columns, strict=True) if columns else [()] * len(outcomes)
    return [
        zlib.compress(
            msgpack.encode([one.event_id, one.user_id, one.item_id, one.event_at, one.known_at, one.label, *of_one]), 1
        )
        for one, of_one in zip(outcomes, values, strict=True)
    ]


def decoded(blobs: Sequence[bytes], kept: Sequence[str], types: Mapping[str, pa.DataType]) -> pa.Table:
    """The rows with OWN and the columns of `types`, in the order of event_at and event_id, as a mart's are."""
    rows = sorted((msgpack.decode(zlib.decompress(blob)) for blob in blobs), key=lambda row: (row[3], row[0]))
    places = {name: place for place, name in enumerate((*OWN, *kept))}
    wanted = {name: TYPES[name] for name in OWN} | dict(types)
    return pa.table({name: _typed([row[places[name]] for row in rows], kind) for name, kind in wanted.items()})


def _plain(column: pa.ChunkedArray) -> pa.Array:
    """Days and instants as whole numbers, which msgpack keeps as they are."""
    array = column.combine_chunks()
    if pa.types.is_date32(array.type):
        return array.cast(pa.int32())
    return array.cast(pa.timestamp("us")).cast(pa.int64()) if pa.types.is_timestamp(array.type) else array


def _typed(values: list[Any], kind: pa.DataType) -> pa.Array:
    whole = pa.int32() if pa.types.is_date32(kind) else pa.int64() if pa.types.is_timestamp(kind) else None
    return pa.array(values, kind) if whole is None else pa.array(values, whole).cast(kind)


def of_state(features: Callable[[EventRows, Gathered], pa.Table], kept: Sequence[str]) -> Whole:
    """Rows whose features are computed as of their event's instant, which the state must still know."""

    def whole(outcomes: Sequence[Outcome], gather: Gather) -> list[bytes]:
        requests = [Request(one.user_id, one.item_id, one.scene, one.event_at) for one in outcomes]
        events = EventRows.requests([one.event for one in outcomes])
        return encoded(outcomes, features(events, gather(requests)), kept)

    return whole


class OfMart:
    """Rows as the mart has them. served: the columns that can be served; the others are kept as NULL."""

    def __init__(self, contract: Contract, kept: Sequence[str], served: Sequence[str]):
        self._kept, self._served = kept, [name for name in kept if name in served]
        self._files: dict[str, list[str]] = {}
        for path in contract.files:
            day = path.relative_to(contract.folder).parts[0].partition("=")[2]
            self._files.setdefault(day, []).append(str(path))
        self._connection = duckdb.connect(config={"threads": 1})
        self._connection.execute("set TimeZone = 'UTC'")
        self._folder: Path = contract.folder

    def __call__(self, outcomes: Sequence[Outcome], gather: Gather) -> list[bytes]:
        """Raises: TrainerError where the mart lacks an event."""
        days = {str(day) for day in pa.array([one.event_at for one in outcomes], pa.timestamp("us")).cast(pa.date32())}
        files = [path for day in sorted(days) for path in self._files.get(day, [])]
        ids = [one.event_id for one in outcomes]
        self._connection.register("wanted", pa.table({"event_id": ids, "place": range(len(ids))}))
        columns = ", ".join(f'mart."{name}"' for name in self._served)
        mart = f"read_parquet({files!r}, hive_partitioning = false)"
        query = f"select wanted.place, {columns} from {mart} as mart join wanted using (event_id) order by place"
        found = self._connection.sql(query).to_arrow_table() if files else pa.table({"place": pa.array([], pa.int64())})
        places: list[int] = found["place"].to_pylist()
        if places != list(range(len(ids))):
            missing = sorted(set(range(len(ids))) - set(places))
            has = f"lacks event {ids[missing[0]]}" if missing else "has an event several times"
            raise TrainerError(
                f"{self._folder} and the events aren't of one log: the mart {has}. Run `dbt build`, and name the "
                "events that the mart was built of with --events."
            )
        return encoded(outcomes, found, self._kept)
