"""Outcomes and requests, and the keys of the blobs that they change or read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from trainer.serving.online.supplied import DAYS, MOMENTS


@dataclass(frozen=True)
class Outcome:
    """One event whose outcome is known. known_at: microseconds since 1970, UTC. values: what a history lists of it.

    item_texts: title and entities, empty where the event has neither; user_texts: the same of its user.
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


def segment_key(key: bytes, hour: int) -> bytes:
    """The blob of one past hour of a key that has many moments."""
    return b"segment\0%d\0%b" % (hour, key)


_KEYS = {grain: keys for grain, (keys, _) in (MOMENTS | DAYS).items()} | {"history": ("user_id",)}
GRAINS = tuple(_KEYS)


def keys_by_grain(of: Sequence[Outcome | Request], grains: Collection[str] = GRAINS) -> dict[str, list[bytes]]:
    """By grain, the key that each request reads."""
    parts = {
        "user_id": [_part(one.user_id) for one in of],
        "item_id": [_part(one.item_id) for one in of],
        "scene": [_part(one.scene) for one in of],
    }
    out = {}
    for grain in grains:
        prefix, ids = grain.encode(), [parts[name] for name in _KEYS[grain]]
        if len(ids) == 2:
            out[grain] = [prefix + one + other for one, other in zip(*ids, strict=True)]
        else:
            out[grain] = [prefix + one for one in ids[0]] if ids else [prefix] * len(of)
    return out


def changed_keys(one: Outcome) -> dict[str, bytes]:
    """By grain, the keys that an outcome changes, and its event's own."""
    keys = {grain: found[0] for grain, found in keys_by_grain([one]).items()} | {"event": event_key(one.event_id)}
    for of, texts, key in (("item", one.item_texts, one.item_id), ("user", one.user_texts, one.user_id)):
        if texts:
            keys[f"{of}_texts"] = texts_key(of, key)
    return keys


def event_key(event_id: str) -> bytes:
    """What an event was applied with."""
    return b"event" + _part(event_id)


def texts_key(of: str, one: str) -> bytes:
    """The blob of the latest known texts of an item or a user. of: `item` or `user`."""
    return of.encode() + b"_texts" + _part(one)
