"""Impressions: for a block of rows, who saw what and when, the true probability of a click, and the label.

A block is a slice of one day of one part. Its random stream depends on the seed and its own number only, so blocks can
be made by any thread in any order. Shapes: n rows of the block.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .parameters import (
    BLOCK_ROWS,
    N_DAYS,
    N_SCENES,
    PERIOD_ROWS,
    PERIOD_SCENE_ROWS,
    PROBABILITY_STEPS,
    STREAM_BLOCK,
    STREAM_PILOT,
    TEST_DAY,
    VAL_DAY,
)
from .texts import draw_topics
from .world import N_TOPICS, World, mix64, stream

ADS, COUPONS, MINI_PROGRAMS, CONTENTS, VIDEOS = range(N_SCENES)
# Share of a day's impressions by hour: quiet at night, peaks at breakfast, noon and in the evening.
NIGHT, MORNING = [2, 1.2, 0.8, 0.6, 0.6, 0.9], [2, 4, 5.2, 4.8, 4.6, 5]
AFTERNOON, EVENING = [6, 5.4, 4.4, 4.3, 4.4, 4.8], [5.4, 6, 6.6, 6.8, 5.6, 3.6]
HOUR_SHARE = np.array(NIGHT + MORNING + AFTERNOON + EVENING)
HOUR_EDGES = np.concatenate([[0.0], np.cumsum(HOUR_SHARE / HOUR_SHARE.sum())])
PILOT_ROWS = 8_192  # per day, in the pilot that sets the intercepts


@dataclass(frozen=True)
class Block:
    """What to make: rows first_row .. first_row + n_rows - 1 (from 1) of a part, all in the same slice of a day."""

    number: int
    part: int
    day: int
    n_rows: int
    first_row: int
    slice: int
    n_slices: int


@dataclass(frozen=True)
class Drawn:
    """A block's rows in order of time. `millionths` is the true probability in steps of 1e-6."""

    second: np.ndarray  # of the day
    scene: np.ndarray
    user: np.ndarray
    item: np.ndarray
    millionths: np.ndarray
    label: np.ndarray
    slot: np.ndarray
    network: np.ndarray
    distance: np.ndarray  # standard normal
    match: np.ndarray  # the user's taste for the item, unit variance over all pairs


@dataclass(frozen=True)
class Intercepts:
    """Set so that expected rates are the real ones. Shapes: scene (S,), period (3,) with 0 for train."""

    scene: np.ndarray
    period: np.ndarray


def period_of(day: int) -> int:
    """0 train, 1 val, 2 test."""
    return int(day >= VAL_DAY) + int(day >= TEST_DAY)


def scene_shares() -> np.ndarray:
    """(D, S): the real shares by period; in train they drift in a line towards validation's, with train's own mean."""
    train, val, test = (np.array(rows) / np.sum(rows) for rows in PERIOD_SCENE_ROWS)
    shares = np.empty((N_DAYS, N_SCENES))
    steps = (np.arange(VAL_DAY) - (VAL_DAY - 1) / 2) / (VAL_DAY - 1)
    shares[:VAL_DAY] = train + steps[:, None] * (val - train)
    shares[VAL_DAY:TEST_DAY] = val
    shares[TEST_DAY:] = test
    return shares


def apportion(total: int, weights: Sequence[float] | np.ndarray) -> np.ndarray:
    """Whole numbers in proportion to weights that add up to total (largest remainders, ties to the first)."""
    exact = total * np.asarray(weights, float) / np.sum(weights)
    floor = np.floor(exact).astype(np.int64)
    order = np.argsort(-(exact - floor), kind="stable")
    floor[order[: total - floor.sum()]] += 1
    return floor


def rows_of_days(n_events: int) -> np.ndarray:
    """(D,): the rows of each day; the split has the real one's shares."""
    periods = apportion(n_events, PERIOD_ROWS)
    spans = (VAL_DAY, TEST_DAY - VAL_DAY, N_DAYS - TEST_DAY)
    return np.concatenate([apportion(rows, np.ones(n)) for rows, n in zip(periods, spans, strict=True)])


def plan(n_events: int, n_parts: int) -> list[Block]:
    """Cut the log into blocks, part by part and day by day: every part covers all days, as a random third would."""
    days = rows_of_days(n_events)
    of_day = np.array([np.roll(apportion(rows, np.ones(n_parts)), day) for day, rows in enumerate(days)])
    blocks: list[Block] = []
    for part in range(n_parts):
        first_row = 1
        for day in range(N_DAYS):
            n_slices = max(1, -(-int(of_day[day, part]) // BLOCK_ROWS))
            for k, rows in enumerate(apportion(of_day[day, part], np.ones(n_slices)).tolist()):
                blocks.append(Block(len(blocks), part, day, rows, first_row, k, n_slices))
                first_row += rows
    return blocks


def draw(world: World, intercepts: Intercepts, block: Block) -> tuple[Drawn, np.random.Generator]:
    """One block's rows, and its stream, from which the caller draws what follows (nothing that looks at the label)."""
    rng = stream(world.seed, STREAM_BLOCK, block.number)
    impressions = _impressions(rng, world, block.day, block.n_rows, block.slice, block.n_slices)
    z = _logit(world, block.day, impressions) + intercepts.scene[impressions["scene"]]
    z += intercepts.period[period_of(block.day)]
    millionths = in_steps(z)
    label = rng.integers(0, PROBABILITY_STEPS, block.n_rows) < millionths
    return Drawn(**impressions, millionths=millionths, label=label.astype(np.int8)), rng


def in_steps(z: np.ndarray) -> np.ndarray:
    """The probabilities of logits, in steps of 1e-6, none of them 0 or 1. Shapes: (n,) -> (n,), int32."""
    steps = np.rint(PROBABILITY_STEPS / (1.0 + np.exp(-z))).astype(np.int32)
    return np.clip(steps, 1, PROBABILITY_STEPS - 1, out=steps)


def _impressions(
    rng: np.random.Generator, world: World, day: int, n: int, part: int, n_parts: int
) -> dict[str, np.ndarray]:
    """Who sees what and when. It depends on no label, and on no hidden effect but taste."""
    p, users, items = world.parameters, world.users, world.items
    clock = np.interp(np.sort((part + rng.random(n)) / n_parts), HOUR_EDGES, np.arange(25) * 3600.0)
    scene = np.searchsorted(np.cumsum(scene_shares()[day])[:-1], rng.random(n), side="right")
    present = int(np.searchsorted(users.join_day, day, side="right"))
    user = np.empty(n, np.int64)
    for s in range(N_SCENES):
        mine = scene == s
        running = users.visits[s, : present + 1]
        user[mine] = np.searchsorted(running, rng.random(mine.sum()) * running[-1], side="right") - 1
    np.minimum(user, present - 1, out=user)

    # The day's traffic of the scene, or of the topic that the user is after, if the scene has any of it on that day.
    running = items.traffic[day]
    low_group, high_group = scene * N_TOPICS, (scene + 1) * N_TOPICS
    aimed = np.flatnonzero(rng.random(n) < np.array(p.targeted_share)[scene])
    group = scene[aimed] * N_TOPICS + draw_topics(users.interest, user[aimed], rng.random(len(aimed)))
    has_any = running[items.group_start[group + 1]] > running[items.group_start[group]] * (1 + 1e-9)
    low_group[aimed[has_any]], high_group[aimed[has_any]] = group[has_any], group[has_any] + 1
    low, high = items.group_start[low_group], items.group_start[high_group]
    at = running[low] + rng.random(n) * (running[high] - running[low])
    item = np.clip(np.searchsorted(running, at, side="right") - 1, low, high - 1)

    taste = users.taste
    match = taste[user, items.topic[item]] + p.second_topic_weight * taste[user, items.second[item]]
    return {
        "second": np.minimum(clock, 86_399).astype(np.int32),
        "scene": scene,
        "user": user,
        "item": item,
        "slot": rng.integers(0, 6, n),
        "network": rng.choice(4, n, p=(0.55, 0.3, 0.1, 0.05)),
        "distance": rng.standard_normal(n),
        "match": match / np.sqrt(1 + p.second_topic_weight**2),
    }


def _logit(world: World, day: int, row: dict[str, np.ndarray]) -> np.ndarray:
    """The true logit without intercepts: these lines are the whole model. Shapes: (n,)."""
    p, users, items = world.parameters, world.users, world.items
    scene, user, item = row["scene"], row["user"], row["item"]
    z = np.array(p.taste)[scene] * row["match"]
    z += users.effect[user, day] + users.scene_effect[user, scene] + users.mood[user, day]
    z += items.effect[item, day] + np.array(p.novelty)[scene] * np.exp(-np.maximum(day - items.birth[item], 0) / 3.0)
    z += np.array(p.user_item)[scene] * pair_normal(world.pair_key, user, item)
    z -= p.slot * row["slot"] / 5.0
    z += p.hour * np.sin((row["second"] / 3600.0 - 15.0) * np.pi / 12.0)  # evenings are for clicking, mornings are not
    z -= np.array(p.network)[scene] * row["network"]
    z -= np.where(scene == COUPONS, p.distance * row["distance"], 0.0)
    z -= np.where(scene <= COUPONS, p.price * items.price[item], 0.0)
    return z


def pair_normal(key: np.uint64, user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """A number for each (user, item), the same whenever they meet: nearly standard normal. Shapes: (n,), (n,) -> (n,).

    The sum of four uniform 16-bit numbers out of a 64-bit hash, scaled to variance 1.
    """
    h = mix64(mix64(user.astype(np.uint64) ^ key) + item.astype(np.uint64))
    total = sum(((h >> np.uint64(16 * k)) & np.uint64(0xFFFF)).astype(np.float64) for k in range(4))
    return (total - 2 * 65_535) / (65_536 * np.sqrt(4 / 12))


def solve_intercepts(world: World) -> Intercepts:
    """Intercepts at which a pilot sample of this world has the real rates in expectation.

    Scenes first, on the train days; then one shift each for val and test, which takes up what the drift of scene shares
    and of items leaves of the real rates.
    """
    p = world.parameters
    logits, scenes, days = [], [], []
    for day in range(N_DAYS):
        rng = stream(world.seed, STREAM_PILOT, day)
        row = _impressions(rng, world, day, PILOT_ROWS, 0, 1)
        logits.append(_logit(world, day, row))
        scenes.append(row["scene"])
        days.append(np.full(PILOT_ROWS, day))
    z, scene, on = np.concatenate(logits), np.concatenate(scenes), np.concatenate(days)
    train = on < VAL_DAY
    by_scene = np.array([_shift(z[train & (scene == s)], p.scene_rates[s]) for s in range(N_SCENES)])
    z += by_scene[scene]
    val, test = (on >= VAL_DAY) & (on < TEST_DAY), on >= TEST_DAY
    return Intercepts(by_scene, np.array([0.0, _shift(z[val], p.period_rates[1]), _shift(z[test], p.period_rates[2])]))


def _shift(z: np.ndarray, rate: float) -> float:
    """The number to add to logits z so that the mean probability is rate (bisection)."""
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        if np.mean(1 / (1 + np.exp(-(z + middle)))) < rate:
            low = middle
        else:
            high = middle
    return (low + high) / 2
