"""Counts by the instant, against counting them one by one."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from trainer.serving.online import moments
from trainer.serving.online.blobs import NONE
from trainer.serving.online.moments import DAY, HOUR, WEEK

START = 20_000 * DAY


def by_hand(outcomes: list[tuple[int, int]], at: int) -> dict[str, int]:
    known = [one for one in outcomes if one[0] < at]
    inside = {
        "cum": known,
        "7d": [o for o in known if o[0] >= at - WEEK],
        "today": [o for o in known if o[0] // DAY == at // DAY],
    }
    found = {f"n_impressions_{window}": len(some) for window, some in inside.items()}
    found |= {f"n_clicks_{window}": sum(click for _, click in some) for window, some in inside.items()}
    found["last_micros"] = max((micros for micros, _ in known), default=NONE)
    found["last_click_micros"] = max((micros for micros, click in known if click), default=NONE)
    return found


class Key:
    """One key's blob and segments, as a state keeps them."""

    def __init__(self) -> None:
        self.blob: bytes | None = None
        self.segments: dict[int, bytes] = {}
        self.longest = 0

    def add(self, micros: int, click: int, settled: int) -> None:
        self.blob, segments = moments.added(self.blob, micros, 1, click, 0, settled=settled)
        for hour, segment in segments.items():
            if segment is None:
                del self.segments[hour]
            else:
                assert hour not in self.segments, "a segment never changes"
                self.segments[hour] = segment
        self.longest = max(self.longest, len(self.blob) // 32)

    def counted(self, at: int) -> dict[str, Any]:
        blob, hour = self.blob, moments.cut_hour(self.blob, at)
        if hour is not None:
            assert blob is not None
            blob = moments.with_segment(blob, hour, self.segments[hour])
        other = moments.added(None, START, 1, 1, 0, settled=NONE)[0]
        found = moments.counted([other, blob, None], np.array([START, at, at]))
        assert {int(values[2]) for name, values in found.items() if not name.startswith("last")} == {0}
        return {name: int(values[1]) for name, values in found.items() if name != "n_distinct_items_cum"}


@pytest.mark.parametrize("gap", [HOUR, DAY, 60_000_000, 3_000_000])
@pytest.mark.parametrize("tolerance", [0, HOUR, DAY])
def test_windows_of_a_random_life(gap: int, tolerance: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "MOST", 16)
    draw = random.Random(f"{gap} {tolerance}")
    key, outcomes, clock = Key(), list[tuple[int, int]](), START
    for n in range(900):
        clock += draw.choice([0, 1, draw.randrange(2 * gap), draw.randrange(2 * gap), HOUR - clock % HOUR])
        micros = max(START, clock - draw.randrange(tolerance + 1)) if draw.random() < 0.3 else clock
        clock = max(clock, micros)
        click = int(draw.random() < 0.3)
        key.add(micros, click, clock - tolerance)
        outcomes.append((micros, click))
        if n % 7 == 0:
            for at in (clock - draw.randrange(tolerance + 1), clock, clock + 1, clock + draw.randrange(9 * DAY)):
                assert key.counted(at) == by_hand(outcomes, at), (n, at - clock)
    if gap <= 60_000_000:
        assert key.segments, "a busy key has segments"
    if gap == 60_000_000 and tolerance < DAY:
        assert key.longest < 400, "a busy key's blob stays short"


def test_edges_of_the_windows() -> None:
    key = Key()
    for micros in (START, START + 1, START + WEEK - 1, START + WEEK):
        key.add(micros, 1, START)
    assert key.counted(START)["n_impressions_cum"] == 0
    assert key.counted(START + WEEK)["n_impressions_7d"] == 3  # exactly seven days ago counts, this instant doesn't
    assert key.counted(START + WEEK + 1)["n_impressions_7d"] == 3
    assert key.counted(START + WEEK + 2)["n_impressions_7d"] == 2
    assert key.counted(START + WEEK)["n_impressions_today"] == 0
    assert key.counted(START + WEEK + 1)["n_impressions_today"] == 1
