"""The latest outcomes of one user, in the order in which they became known: by known_at, then by event_id.

A blob is the number of earlier outcomes, then [known_at in microseconds, event_id, values ...] per outcome.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import Any

from msgspec import msgpack

_EMPTY = msgpack.encode([0])


def added(blob: bytes | None, micros: int, event_id: str, values: list[Any], *, settled: int, length: int) -> bytes:
    """The blob with one more outcome. Of those known before `settled`, which every reader sees, `length` are kept."""
    n_before, *outcomes = msgpack.decode(blob or _EMPTY)
    one = [micros, event_id, *values]
    if not outcomes or outcomes[-1][:2] < one[:2]:
        outcomes.append(one)
    else:
        insort(outcomes, one, key=lambda each: each[:2])
    surplus = bisect_left(outcomes, settled, key=lambda each: each[0]) - length
    if surplus > 0:
        n_before, outcomes = n_before + surplus, outcomes[surplus:]
    return msgpack.encode([n_before, *outcomes])


def latest(blobs: Sequence[bytes | None], at: Sequence[int], length: int) -> tuple[list[int], list[list[list[Any]]]]:
    """What each reader at an instant may see: how many outcomes, and the values of the latest ones, latest first."""
    numbers, lists = [], []
    for blob, micros in zip(blobs, at, strict=True):
        n_before, *outcomes = msgpack.decode(blob or _EMPTY)
        known = bisect_left(outcomes, micros, key=lambda each: each[0])
        numbers.append(n_before + known)
        lists.append([each[2:] for each in reversed(outcomes[max(0, known - length) : known])])
    return numbers, lists
