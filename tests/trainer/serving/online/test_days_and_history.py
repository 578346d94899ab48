"""Counts by the day and the latest outcomes, against going through all of them."""

from __future__ import annotations

import random

import numpy as np
import pytest

from trainer.serving.online import days, history
from trainer.serving.online.blobs import NONE

SCENES = 3


@pytest.mark.parametrize("seed", range(4))
def test_days_of_a_random_life(seed: int) -> None:
    draw = random.Random(seed)
    late = draw.choice([0, 1, 3])
    blob, outcomes, clock = None, list[tuple[int, int, int]](), 19_000
    for n in range(400):
        clock += draw.choice([0, 0, 0, 1, 1, 2, 12])
        day, slot, click = clock - draw.randrange(late + 1), draw.randrange(SCENES), int(draw.random() < 0.2)
        blob = days.added(blob, day, slot, click, SCENES, keep_from=clock - late - 7)
        outcomes.append((day, slot, click))
        if n % 5:
            continue
        for at in (clock - late, clock, clock + 1, clock + 4, clock + 30):
            found = {
                name: int(values[1]) for name, values in days.counted([None, blob], np.array([at, at]), SCENES).items()
            }
            known = [one for one in outcomes if one[0] < at]
            assert found["first_date"] == min((day for day, *_ in known), default=NONE)
            assert found["last_date"] == max((day for day, *_ in known), default=NONE)
            assert found["last_click_date"] == max((day for day, _, click in known if click), default=NONE)
            for window, some in (("7d", [o for o in known if o[0] >= at - 7]), ("cum", known)):
                assert found[f"n_active_days_{window}"] == len({day for day, *_ in some})
                assert found[f"n_impressions_{window}"] == len(some)
                for slot in range(SCENES):
                    of_scene = [click for _, scene, click in some if scene == slot]
                    assert found[f"n_impressions_{slot + 1}_{window}"] == len(of_scene)
                    assert found[f"n_clicks_{slot + 1}_{window}"] == sum(of_scene)


@pytest.mark.parametrize("late", [0, 50])
def test_latest_outcomes_in_the_order_in_which_they_became_known(late: int) -> None:
    draw = random.Random(late)
    blob, outcomes, clock, length = None, list[list]([]), 1_000, 5
    for n in range(300):
        clock += draw.choice([0, 0, 1, 20])
        one = [clock - draw.randrange(late + 1), f"e{draw.randrange(10**6)}", [f"i{n}", n % 2]]
        blob = history.added(blob, *one, settled=clock - late, length=length)
        outcomes.append(one)
        for at in (clock - late, clock, clock + 1):
            known = sorted(each for each in outcomes if each[0] < at)
            (number,), (listed,) = history.latest([blob], [at], length)
            assert number == len(known)
            assert listed == [values for *_, values in known[::-1][:length]]
    assert history.latest([None], [5], length) == ([0], [[]])
