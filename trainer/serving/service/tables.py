"""From the bodies of requests to tables with the columns of `stg_events`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from trainer.serving.service.bodies import Names

_INSTANT, _TEXTS = pa.timestamp("us"), pa.list_(pa.string())
_TYPES = {
    "event_id": pa.string(),
    "user_id": pa.string(),
    "item_id": pa.string(),
    "scene": pa.string(),
    "event_at": _INSTANT,
    "known_at": _INSTANT,
    "label": pa.int32(),
    "item_title": pa.string(),
    "item_entities": pa.string(),
    "user_texts": _TEXTS,
    "ctx_dense": pa.list_(pa.float64()),
    "ctx_ids": _TEXTS,
}
_OF_ITEM = ("event_id", "item_id", "item_title", "item_entities")


def candidates_table(body: Any, at: datetime, names: Names) -> pa.Table:
    """The candidates of a request as of an instant, without known_at and label. B candidates -> B rows."""
    candidates = body.candidates
    columns: dict[str, list[Any]] = {name: [getattr(one, name) for one in candidates] for name in _OF_ITEM}
    n = len(candidates)
    columns |= {"user_id": [body.user_id] * n, "scene": [body.scene] * n, "event_at": [_plain(at)] * n}
    columns["user_texts"] = [body.user_texts] * n
    shared = _context(body.context)
    contexts = [shared | _context(one.context) if one.context is not None else shared for one in candidates]
    return _table(columns | _lists(contexts, names))


def outcomes_table(events: Sequence[Any], known_at: Sequence[datetime], names: Names) -> pa.Table:
    """Events with their outcomes. B events -> B rows."""
    columns: dict[str, list[Any]] = {
        name: [getattr(one, name) for one in events] for name in (*_OF_ITEM, "user_id", "scene", "label", "user_texts")
    }
    columns["event_at"] = [_plain(one.event_at) for one in events]
    columns["known_at"] = [_plain(one) for one in known_at]
    return _table(columns | _lists([_context(one.context) for one in events], names))


def _context(given: Any) -> dict[str, Any]:
    """The fields that were given, by the names of the body's model."""
    return {} if given is None else {name: getattr(given, name) for name in given.model_fields_set}


def _lists(contexts: list[dict[str, Any]], names: Names) -> dict[str, list[Any]]:
    columns = {"ctx_dense": [f"dense_{at}" for at in range(len(names.dense))]}
    columns["ctx_ids"] = [f"id_{at}" for at in range(len(names.ids))]
    return {column: [list(map(context.get, of)) for context in contexts] for column, of in columns.items()}


def _plain(at: datetime) -> datetime:
    """UTC without saying so, as the mart has it."""
    return at.replace(tzinfo=None)


def _table(columns: dict[str, list[Any]]) -> pa.Table:
    return pa.table({name: pa.array(columns[name], kind) for name, kind in _TYPES.items() if name in columns})
