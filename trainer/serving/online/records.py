"""What is kept of one user, or of one item: several blobs in one, so that an outcome changes few keys.

A record is a list: what is counted by the instant, by the day, the history (a user's), the latest texts, then what is
counted by the instant in each scene. None stands for a blob that isn't there yet.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import msgpack

Record: TypeAlias = list[bytes | None]
COUNTED, DAILY, LATEST, TEXTS, SCENES = range(5)  # places; a scene's is SCENES plus its position


def unpacked(blob: bytes | None, n_scenes: int) -> Record:
    """A new record where there is no blob."""
    if blob is None:
        return [None] * (SCENES + n_scenes)
    found: Record = msgpack.decode(blob)
    return found


def packed(record: Record) -> bytes:
    return msgpack.encode(record)
