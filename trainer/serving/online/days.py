"""What became known of one key, by the day (UTC) and scene: sums over seven days, and over all time, before a day.

A blob is rows of max(3, 1 + 2 x scenes) numbers. Two rows over days that are too old for any window (the first day
ever, the last day, the last day with a click; the number of days, impressions by scene, clicks by scene); then one row
per day (the day since 1970, impressions by scene, clicks by scene), in order.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from trainer.serving.online.blobs import NONE, Rows

_INT = struct.Struct("<q")


def _width(n_scenes: int) -> int:
    return max(3, 1 + 2 * n_scenes)


def added(blob: bytes | None, day: int, slot: int, click: int, n_scenes: int, keep_from: int) -> bytes:
    """The blob with one more outcome. slot: the scene's position from 0. Days before `keep_from` go to the totals."""
    width = _width(n_scenes)
    size = width * _INT.size
    out = bytearray(blob or _empty(width).tobytes())
    at = len(out) - size
    while at >= 2 * size and _INT.unpack_from(out, at)[0] > day:
        at -= size
    if at < 2 * size or _INT.unpack_from(out, at)[0] != day:
        at += size
        out[at:at] = _INT.pack(day).ljust(size, b"\0")
        (first,) = _INT.unpack_from(out, 0)
        _INT.pack_into(out, 0, day if first == NONE else min(day, first))
    for place, more in ((1 + slot, 1), (1 + n_scenes + slot, click)):
        _INT.pack_into(out, at + place * _INT.size, _INT.unpack_from(out, at + place * _INT.size)[0] + more)
    if _INT.unpack_from(out, 2 * size)[0] < keep_from:
        return _tidied(np.frombuffer(out, np.int64).reshape(-1, width), keep_from, n_scenes)
    return bytes(out)


def _tidied(table: np.ndarray, keep_from: int, n_scenes: int) -> bytes:
    """The blob with the days before `keep_from` in its totals."""
    old = 2 + int(np.searchsorted(table[2:, 0], keep_from))
    table[1, 0] += old - 2
    table[1, 1:] += table[2:old, 1:].sum(0)
    table[0, 1] = table[old - 1, 0]
    clicked = table[2:old][table[2:old, 1 + n_scenes : 1 + 2 * n_scenes].sum(1) > 0, 0]
    table[0, 2] = clicked[-1] if len(clicked) else table[0, 2]
    return np.delete(table, np.s_[2:old], axis=0).tobytes()


def _empty(width: int) -> np.ndarray:
    table = np.zeros((2, width), np.int64)
    table[0, :3] = NONE
    return table


def counted(blobs: Sequence[bytes | None], day_K: np.ndarray, n_scenes: int) -> dict[str, np.ndarray]:
    """What was known before each day.

    Shapes: K blobs, (K,) days since 1970 -> (K,) each, int64; NONE where there was no such day.
    """
    width = _width(n_scenes)
    empty = _empty(width).tobytes()
    found = Rows.of([blob or empty for blob in blobs], width, 2)
    days_R, at_R = found.rows[:, 0], found.each(day_K)
    seen_R = days_R < at_R
    numbers = found.rows.copy()
    numbers[:, 0] = 1
    out = {}
    for window, inside_R in (("7d", seen_R & (days_R >= at_R - 7)), ("cum", seen_R)):
        sums = found.sums(numbers * inside_R[:, None])
        if window == "cum":
            sums = sums + found.totals[:, 1]
        out[f"n_active_days_{window}"] = sums[:, 0]
        for measure, start in (("n_impressions", 1), ("n_clicks", 1 + n_scenes)):
            by_scene = sums[:, start : start + n_scenes]
            out[f"{measure}_{window}"] = by_scene.sum(1)
            out |= {f"{measure}_{slot + 1}_{window}": by_scene[:, slot] for slot in range(n_scenes)}
    first = found.totals[:, 0, 0]
    out["first_date"] = np.where(first < day_K, first, NONE)
    out["last_date"] = found.latest(seen_R, found.totals[:, 0, 1])
    clicks_R = found.rows[:, 1 + n_scenes : 1 + 2 * n_scenes].sum(1)
    out["last_click_date"] = found.latest(seen_R & (clicks_R > 0), found.totals[:, 0, 2])
    return out
