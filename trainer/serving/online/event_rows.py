"""Rows of events with the columns of `stg_events`: as Python's values, and as Arrow where somebody asks for that.

A request's candidates share most of their columns, and most columns are read as Python's values or not at all, so a
table made of all of them beforehand would cost more than what is computed of it.
Instants among Python's values are microseconds since 1970, UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

_INSTANT, _TEXTS = pa.timestamp("us"), pa.list_(pa.string())
TYPES = {
    "event_id": pa.string(),
    "user_id": pa.string(),
    "item_id": pa.string(),
    "scene": pa.string(),
    "event_at": _INSTANT,
    "event_date": pa.date32(),
    "known_at": _INSTANT,
    "known_date": pa.date32(),
    "label": pa.int32(),
    "item_title": pa.string(),
    "item_entities": pa.string(),
    "user_texts": _TEXTS,
    "ctx_dense": pa.list_(pa.float64()),
    "ctx_ids": _TEXTS,
}
NOT_ASKED = ("event_id", "known_at", "known_date", "label")  # what a request can't know


class EventRows:
    """B events, a column at a time. shared: columns of one value for all rows."""

    def __init__(self, n_rows: int, columns: Mapping[str, list[Any]], shared: Mapping[str, Any] | None = None):
        self._n_rows = n_rows
        self._values = dict(columns)
        self.shared = dict(shared or {})
        self._arrays: dict[str, pa.Array] = {}

    @classmethod
    def of(cls, events: pa.Table | EventRows) -> EventRows:
        if isinstance(events, EventRows):
            return events
        rows = cls(len(events), {})
        for name in events.column_names:
            array = events[name].combine_chunks()
            kind = TYPES.get(name, array.type)
            rows._arrays[name] = array if array.type == kind else array.cast(kind)
        return rows

    @classmethod
    def requests(cls, events: Sequence[tuple[EventRows, int]]) -> EventRows:
        """Single rows of events, by their places, without what a request can't know. All have the same columns."""
        names = [name for name in TYPES if name in events[0][0] and name not in NOT_ASKED] if events else []
        return cls(len(events), {name: [rows.values(name)[place] for rows, place in events] for name in names})

    def __len__(self) -> int:
        return self._n_rows

    def __contains__(self, name: str) -> bool:
        return name in self._values or name in self.shared or name in self._arrays

    def __getitem__(self, name: str) -> pa.Array:
        """Shapes: -> (B,). Raises: KeyError for a column that the events don't have."""
        if name not in self._arrays:
            self._arrays[name] = pa.array(self.values(name), TYPES[name])
        return self._arrays[name]

    def values(self, name: str) -> list[Any]:
        """Shapes: -> (B,). Raises: KeyError for a column that the events don't have."""
        if name not in self._values:
            if name in self.shared:
                self._values[name] = [self.shared[name]] * self._n_rows
            else:
                array = self._arrays[name]
                self._values[name] = (array.cast(pa.int64()) if array.type == _INSTANT else array).to_pylist()
        return self._values[name]

    def replaced(self, name: str, values: list[Any]) -> EventRows:
        """The same events with other values in a column."""
        shared = {other: value for other, value in self.shared.items() if other != name}
        rows = EventRows(self._n_rows, self._values | {name: values}, shared)
        rows._arrays = {other: array for other, array in self._arrays.items() if other != name}
        return rows
