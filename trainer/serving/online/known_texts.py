"""The latest known texts of an item or a user, for requests that name it without texts.

A blob is [known_at in microseconds, event_id, texts ...] of the outcome that became known last, by known_at and then by
event_id, so it makes no difference in which order outcomes are applied.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import msgpack


def newer(blob: bytes | None, micros: int, event_id: str, texts: Sequence[str | None]) -> bytes:
    """The blob with an outcome's texts, or as it was if it holds later ones already."""
    if blob is not None and tuple(msgpack.decode(blob)[:2]) >= (micros, event_id):
        return blob
    return msgpack.encode([micros, event_id, *texts])


def texts_in(blob: bytes | None) -> list[str | None] | None:
    """The texts, in the order in which they were given; None where none are known."""
    return None if blob is None else msgpack.decode(blob)[2:]
