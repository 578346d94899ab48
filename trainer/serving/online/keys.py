"""Outcomes and requests, and the keys of the blobs that they change or read."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from trainer.serving.online.supplied import DAYS, MOMENTS

GRAINS = (*MOMENTS, *DAYS, "history")
LOG = b"log"  # what is counted of all events, by the day


@dataclass(frozen=True)
class Outcome:
    """One event whose outcome is known. known_at: microseconds since 1970, UTC. values: what a history lists of it.

    item_texts: title and entities, empty where the event has neither; user_texts: the same of its user. event_at,
    event: its instant, and its place among the rows that it came with, for a state that keeps whole rows.
    """

    event_id: str
    user_id: str
    item_id: str
    scene: str
    known_at: int
    label: int
    values: list[Any]
    item_texts: tuple[str | None, ...] = ()
    user_texts: tuple[str | None, ...] = ()
    event_at: int = 0
    event: Any = field(default=None, compare=False, repr=False)


class Request(NamedTuple):
    """Whom, what and where features are asked for. at: microseconds since 1970, UTC."""

    user_id: str
    item_id: str
    scene: str
    at: int


@lru_cache(maxsize=1 << 16)
def _part(one: str) -> bytes:
    encoded = one.encode()
    return b"\0%d:%b" % (len(encoded), encoded)


def user_key(user_id: str) -> bytes:
    """The record of a user."""
    return b"user" + _part(user_id)


def item_key(item_id: str) -> bytes:
    """The record of an item."""
    return b"item" + _part(item_id)


def pair_key(user_id: str, item_id: str) -> bytes:
    """What is counted of a user with an item, by the instant."""
    return b"user_item" + _part(user_id) + _part(item_id)


def event_key(event_id: str) -> bytes:
    """What an event was applied with."""
    return b"event" + _part(event_id)


def past_key(user_id: str) -> bytes:
    """The list of a user's events whose whole rows are kept."""
    return b"past" + _part(user_id)


def row_key(user_id: str, event_id: str) -> bytes:
    """The whole row of an outcome."""
    return b"row" + _part(user_id) + _part(event_id)


def changed_keys(one: Outcome) -> tuple[bytes, ...]:
    """The keys that an outcome changes."""
    return (
        user_key(one.user_id),
        item_key(one.item_id),
        pair_key(one.user_id, one.item_id),
        event_key(one.event_id),
        LOG,
    )


def segment_key(grain: str, one: Outcome | Request, hour: int) -> bytes:
    """The blob of one past hour of what is counted by the instant, where that has many moments."""
    ids = b"".join(_part(getattr(one, name)) for name in MOMENTS[grain][0])
    return b"segment\0%d\0%b%b" % (hour, grain.encode(), ids)
