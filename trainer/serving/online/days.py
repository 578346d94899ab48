"""What became known of one key, by the day (UTC) and scene: sums over seven days, and over all time, before a day.

A blob is rows of max(3, 1 + 2 x scenes) numbers. Two rows over days that are too old for any window (the first day
ever, the last day, the last day with a click; the number of days, impressions by scene, clicks by scene); then one row
per day (the day since 1970, impressions by scene, clicks by scene), in order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.serving.online.blobs import NONE, Rows


def _width(n_scenes: int) -> int:
    return max(3, 1 + 2 * n_scenes)


def added(blob: bytes | None, day: int, slot: int, click: int, n_scenes: int, keep_from: int) -> bytes:
    """The blob with one more outcome. slot: the scene's position from 0. Days before `keep_from` go to the totals."""
    width = _width(n_scenes)
    table = (np.frombuffer(blob, np.int64) if blob else _empty(width)).reshape(-1, width).copy()
    n = 2 + int(np.searchsorted(table[2:, 0], day))
    if n == len(table) or table[n, 0] != day:
        table = np.insert(table, n, 0, axis=0)
        table[n, 0] = day
        table[0, 0] = day if table[0, 0] == NONE else min(day, table[0, 0])
    table[n, 1 + slot] += 1
    table[n, 1 + n_scenes + slot] += click
    old = 2 + int(np.searchsorted(table[2:, 0], keep_from))
    if old > 2:
        table[1, 0] += old - 2
        table[1, 1:] += table[2:old, 1:].sum(0)
        table[0, 1] = table[old - 1, 0]
        clicked = table[2:old][table[2:old, 1 + n_scenes : 1 + 2 * n_scenes].sum(1) > 0, 0]
        table[0, 2] = clicked[-1] if len(clicked) else table[0, 2]
        table = np.delete(table, np.s_[2:old], axis=0)
    return table.tobytes()


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
