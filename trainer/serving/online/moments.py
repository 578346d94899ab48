"""What became known of one key, by the instant: sums over all time, over seven times 24 hours, and since midnight.

A blob is rows of four numbers: two rows of totals (impressions, clicks, new items, the last instant; the last click,
the first instant ever, the number of hours below, 0), then hours (start, impressions, clicks, new items), then moments
(instant, impressions, clicks, new items), each in order; instants are microseconds. The totals are over everything
that isn't a moment of the blob: what is too old for any window, and the hours. A key with many moments keeps those of
past hours in a segment per hour, since only the hour that a window's start cuts is ever read again.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Sequence
from itertools import groupby

import numpy as np

from trainer.serving.online.blobs import NONE, Rows

HOUR = 3600 * 1_000_000
DAY = 24 * HOUR
WEEK = 7 * DAY
MOST = 256  # moments in a blob before those of past hours leave it
_OLD = 8  # moments that no window reaches before they join the totals: to tidy up costs more than to add
_TOTALS = struct.Struct("<8q")
_ROW = struct.Struct("<4q")
_FIRST, _N_HOURS = 5, 6  # places in the totals
_HOURS_AT = slice(8 * _N_HOURS, 8 * _N_HOURS + 8)
_NO_HOURS = bytes(8)
EMPTY = _TOTALS.pack(0, 0, 0, NONE, NONE, NONE, 0, 0)


def first_instant(blob: bytes | None) -> int | None:
    """When the key's first outcome became known; None if none has."""
    first = _TOTALS.unpack_from(blob)[_FIRST] if blob else NONE
    return None if first == NONE else int(first)


def added(
    blob: bytes | None, micros: int, impressions: int, clicks: int, new_items: int, *, settled: int
) -> tuple[bytes, dict[int, bytes | None]]:
    """The blob with one more moment, and the segments that this makes, or (None) that no window reaches any more.

    settled: no later call adds a moment before it, and no reader stands before it. A negative number takes back what an
    earlier call added at that instant.
    """
    blob = blob or EMPTY
    out = bytearray(blob)
    *_, first, n_hours, _ = _TOTALS.unpack_from(blob)
    start = _TOTALS.size + n_hours * _ROW.size
    if impressions and (first == NONE or micros < first):
        struct.pack_into("<q", out, 8 * _FIRST, micros)
    at = len(blob) - _ROW.size
    while at >= start and _ROW.unpack_from(blob, at)[0] > micros:
        at -= _ROW.size
    if at >= start and _ROW.unpack_from(blob, at)[0] == micros:
        _, n, c, new = _ROW.unpack_from(blob, at)
        _ROW.pack_into(out, at, micros, n + impressions, c + clicks, new + new_items)
    else:
        at += _ROW.size
        out[at:at] = _ROW.pack(micros, impressions, clicks, new_items)
    too_old = settled - WEEK
    oldest_hour = _ROW.unpack_from(out, _TOTALS.size)[0] if n_hours else None
    if (
        (len(out) >= start + _OLD * _ROW.size and _ROW.unpack_from(out, start + (_OLD - 1) * _ROW.size)[0] < too_old)
        or (oldest_hour is not None and oldest_hour + HOUR <= too_old)
        or (len(out) - start > MOST * _ROW.size and _hour_after(_ROW.unpack_from(out, start)[0]) <= settled)
    ):
        return _tidied(bytes(out), settled)
    return bytes(out), {}


def _hour_after(micros: int) -> int:
    return micros - micros % HOUR + HOUR


def _tidied(blob: bytes, settled: int) -> tuple[bytes, dict[int, bytes | None]]:
    """Moments that no window reaches join the totals; of a long blob, those of settled hours become segments."""
    totals, size = list(_TOTALS.unpack_from(blob)), _ROW.size
    start = _TOTALS.size + totals[_N_HOURS] * size
    hours, moments = ([*_ROW.iter_unpack(part)] for part in (blob[_TOTALS.size : start], blob[start:]))
    too_old = settled - WEEK
    n_gone = next((i for i, row in enumerate(hours) if row[0] + HOUR > too_old), len(hours))
    segments: dict[int, bytes | None] = {row[0]: None for row in hours[:n_gone]}
    n_leaving = n_old = bisect_left(moments, (too_old,))
    new_hours = b""
    if len(moments) > MOST:
        while n_leaving < len(moments) and _hour_after(moments[n_leaving][0]) <= settled:
            n_leaving += 1
        for hour, of_hour in groupby(moments[n_old:n_leaving], lambda row: row[0] - row[0] % HOUR):
            _, *numbers = zip(*of_hour, strict=True)
            n, at = len(numbers[0]), start + n_old * size
            segments[hour] = blob[at : at + n * size]
            new_hours += _ROW.pack(hour, *map(sum, numbers))
            n_old += n
    if leaving := moments[:n_leaving]:
        (*_, totals[3]), *numbers = zip(*leaving, strict=True)
        totals[:3] = [total + sum(more) for total, more in zip(totals[:3], numbers, strict=True)]
        totals[4] = max((row[0] for row in leaving if row[2]), default=totals[4])
    totals[_N_HOURS] = len(hours) - n_gone + len(new_hours) // size
    kept = blob[_TOTALS.size + n_gone * size : start]
    return b"".join((_TOTALS.pack(*totals), kept, new_hours, blob[start + n_leaving * size :])), segments


def with_hours(blobs: Sequence[bytes | None]) -> list[int]:
    """The places of blobs that have hours in segments."""
    return [place for place, blob in enumerate(blobs) if blob and blob[_HOURS_AT] != _NO_HOURS]


def cut_hour(blob: bytes | None, at: int) -> int | None:
    """The hour of the blob that the window of a reader at this instant begins inside: its segment is needed."""
    if not blob or blob[_HOURS_AT] == _NO_HOURS:
        return None
    start = at - WEEK
    for i in range(_TOTALS.unpack_from(blob)[_N_HOURS]):
        hour = _ROW.unpack_from(blob, _TOTALS.size + i * _ROW.size)[0]
        if hour < start < hour + HOUR:
            return int(hour)
        if hour >= start:
            return None
    return None


def with_segment(blob: bytes, hour: int, segment: bytes) -> bytes:
    """The blob with an hour's moments in place of their sums."""
    *totals, n_hours, spare = _TOTALS.unpack_from(blob)
    start, size = _TOTALS.size, _ROW.size
    place = next(i for i in range(n_hours) if _ROW.unpack_from(blob, start + i * size)[0] == hour)
    taken = _ROW.unpack_from(blob, start + place * size)
    totals[:3] = [totals[i] - taken[i + 1] for i in range(3)]
    at, end = start + place * size, start + n_hours * size
    return b"".join(
        (_TOTALS.pack(*totals, n_hours - 1, spare), blob[start:at], blob[at + size : end], segment, blob[end:])
    )


def counted(blobs: Sequence[bytes | None], at_K: np.ndarray) -> dict[str, np.ndarray]:
    """What was known strictly before each instant.

    Shapes: K blobs, (K,) microseconds -> (K,) each, int64; NONE where there was no such moment.
    """
    found = Rows.of([blob or EMPTY for blob in blobs], 4, 2)
    micros_R, at_R = found.rows[:, 0], found.each(at_K)
    is_hour_R = np.arange(len(at_R)) < found.each(found.first + found.totals[:, 1, 2])
    is_moment_R = ~is_hour_R
    seen_R = micros_R < at_R
    numbers_R3 = found.rows[:, 1:] * seen_R[:, None]
    windows = {
        "cum": is_moment_R,  # the totals hold the hours
        "7d": micros_R >= at_R - WEEK,
        "today": micros_R >= at_R - at_R % DAY,
    }
    out = {}
    for window, inside_R in windows.items():
        sums_K3 = found.sums(numbers_R3 * inside_R[:, None])
        if window == "cum":
            sums_K3 = sums_K3 + found.totals[:, 0, :3]
            out["n_distinct_items_cum"] = sums_K3[:, 2]
        out[f"n_impressions_{window}"], out[f"n_clicks_{window}"] = sums_K3[:, 0], sums_K3[:, 1]
    none_K = np.full(len(at_K), NONE)
    seen_R &= is_moment_R
    last_K = found.latest(seen_R & (found.rows[:, 1] > 0), none_K)
    last_click_K = found.latest(seen_R & (found.rows[:, 2] > 0), none_K)
    out["last_micros"] = np.maximum(last_K, found.totals[:, 0, 3])
    out["last_click_micros"] = np.maximum(last_click_K, found.totals[:, 1, 0])
    return out
