"""Outcomes and requests, and the keys of the blobs that they change or read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trainer.serving.online.supplied import DAYS, MOMENTS


@dataclass(frozen=True)
class Outcome:
    """One event whose outcome is known. known_at: microseconds since 1970, UTC. values: what a history lists of it."""

    event_id: str
    user_id: str
    item_id: str
    scene: str
    known_at: int
    label: int
    values: list[Any]


@dataclass(frozen=True)
class Request:
    """Whom, what and where features are asked for. at: microseconds since 1970, UTC."""

    user_id: str
    item_id: str
    scene: str
    at: int


def _key(grain: str, *ids: str) -> bytes:
    return grain.encode() + b"".join(map(_part, ids))


def _part(one: str) -> bytes:
    encoded = one.encode()
    return b"\0%d:%b" % (len(encoded), encoded)


def segment_key(key: bytes, hour: int) -> bytes:
    """The blob of one past hour of a key that has many moments."""
    return b"segment\0%d\0%b" % (hour, key)


_GRAINS = {grain: keys for grain, (keys, _) in (MOMENTS | DAYS).items()} | {"history": ("user_id",)}
_PREFIXES = [(grain, grain.encode(), keys) for grain, keys in _GRAINS.items()]


def read_keys(of: Outcome | Request) -> dict[str, bytes]:
    """By grain, the keys that a request reads."""
    ids = {"user_id": _part(of.user_id), "item_id": _part(of.item_id), "scene": _part(of.scene)}
    return {grain: prefix + b"".join([ids[key] for key in keys]) for grain, prefix, keys in _PREFIXES}


def changed_keys(one: Outcome) -> dict[str, bytes]:
    """By grain, the keys that an outcome changes, and its event's own."""
    return read_keys(one) | {"event": _key("event", one.event_id)}
