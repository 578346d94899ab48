"""From the bodies of requests to events with the columns of `stg_events`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

from trainer.serving.online.event_rows import EventRows
from trainer.serving.service.bodies import Names

_OF_ITEM = ("event_id", "item_id", "item_title", "item_entities")
_EPOCH = datetime.fromtimestamp(0, UTC)
_MICROSECOND = timedelta(microseconds=1)


def candidate_rows(body: Any, at: datetime, names: Names) -> EventRows:
    """The candidates of a request as of an instant, without known_at and label. B candidates -> B rows."""
    candidates = body.candidates
    columns = _columns(candidates, _OF_ITEM)
    shared: dict[str, Any] = {"user_id": body.user_id, "scene": body.scene, "event_at": micros(at)}
    shared["user_texts"] = body.user_texts
    of_all = _context(body.context)
    if any(one.context is not None for one in candidates):
        contexts = [of_all | _context(one.context) if one.context is not None else of_all for one in candidates]
        columns |= _lists(contexts, names)
    else:
        shared |= {name: one for name, (one,) in _lists([of_all], names).items()}
    return EventRows(len(candidates), columns, shared)


def outcome_rows(events: Sequence[Any], known_at: Sequence[datetime], names: Names) -> EventRows:
    """Events with their outcomes. B events -> B rows."""
    columns = _columns(events, (*_OF_ITEM, "user_id", "scene", "label", "user_texts"))
    columns["event_at"] = [micros(one.event_at) for one in events]
    columns["known_at"] = [micros(one) for one in known_at]
    return EventRows(len(events), columns | _lists([_context(one.context) for one in events], names))


def _columns(of: Sequence[Any], names: tuple[str, ...]) -> dict[str, list[Any]]:
    return {name: list(map(attrgetter(name), of)) for name in names}


def micros(at: datetime) -> int:
    """Microseconds since 1970, UTC."""
    return (at - _EPOCH) // _MICROSECOND


def _context(given: Any) -> dict[str, Any]:
    """The fields that were given, by the names of the body's model."""
    return {} if given is None else given.given()


def _lists(contexts: list[dict[str, Any]], names: Names) -> dict[str, list[Any]]:
    columns = {"ctx_dense": [f"dense_{at}" for at in range(len(names.dense))]}
    columns["ctx_ids"] = [f"id_{at}" for at in range(len(names.ids))]
    return {column: [list(map(context.get, of)) for context in contexts] for column, of in columns.items()}
