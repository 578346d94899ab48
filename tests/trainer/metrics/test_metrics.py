from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from trainer.metrics import metrics

ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 12), st.integers(0, 4)), min_size=4, max_size=120).filter(
    lambda rows: len({r[0] for r in rows}) == 2
)


def arrays(rows: list[tuple[bool, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    label, score, user = (np.array(column) for column in zip(*rows, strict=True))
    return label, (score + 0.5) / 13, user


def slow_gauc(label: np.ndarray, score: np.ndarray, user: np.ndarray) -> tuple[float | None, float]:
    total, weight = 0.0, 0
    for u in np.unique(user):
        own = user == u
        if 0 < label[own].sum() < own.sum():
            total += reference.roc_auc_score(label[own], score[own]) * own.sum()
            weight += own.sum()
    return (total / weight if weight else None), weight / len(user)


@settings(deadline=None, max_examples=60)
@given(ROWS)
def test_equal_to_scikit_learn(rows: list[tuple[bool, int, int]]) -> None:
    label, score, user = arrays(rows)
    assert metrics.auc(label, score) == pytest.approx(reference.roc_auc_score(label, score), abs=1e-12)
    assert metrics.pr_auc(label, score) == pytest.approx(reference.average_precision_score(label, score), abs=1e-12)
    assert metrics.log_loss(label, score) == pytest.approx(reference.log_loss(label, score), abs=1e-12)
    assert metrics.gauc(label, score, user) == pytest.approx(slow_gauc(label, score, user), abs=1e-12)


def test_certain_and_wrong_is_finite_as_in_scikit_learn() -> None:
    label, p = np.array([1, 0, 1]), np.array([0.0, 1.0, 1.0])
    assert metrics.log_loss(label, p) == pytest.approx(reference.log_loss(label, p))


def test_normalized_entropy_of_the_rate_itself_is_one() -> None:
    label = np.arange(50) % 5 == 0
    assert metrics.normalized_entropy(label, np.full(50, 0.2)) == pytest.approx(1)
    assert metrics.normalized_entropy(label, np.where(label, 0.9, 0.1)) < 0.3


def test_ece_against_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(1003)
    label = rng.random(1003) < p**2
    order = np.argsort(p)
    gaps = [abs(p[part].mean() - label[part].mean()) * len(part) for part in np.array_split(order, metrics.ECE_BINS)]
    assert metrics.ece(label, p) == pytest.approx(sum(gaps) / 1003)
    assert metrics.ece(label, p) > 3 * metrics.ece(rng.random(1003) < p, p)


@settings(deadline=None, max_examples=30)
@given(ROWS)
def test_bootstrap_equals_resampling_the_rows(rows: list[tuple[bool, int, int]]) -> None:
    label, score, user = arrays(rows)
    fast = metrics.auc_bootstrap(label, score, user, 12, seed=4)
    users, slow = np.unique(user), []
    generator = np.random.default_rng(4)
    for _ in range(12):
        drawn = generator.integers(0, len(users), len(users))
        chosen = np.concatenate([np.flatnonzero(user == users[d]) for d in drawn])
        if 0 < label[chosen].sum() < len(chosen):
            slow.append(reference.roc_auc_score(label[chosen], score[chosen]))
    np.testing.assert_allclose(fast, slow, atol=1e-12)


def test_the_interval_covers_and_users_widen_it() -> None:
    """Rows of a user share an effect: resampling rows would be far too sure of itself."""
    rng = np.random.default_rng(1)
    user = np.repeat(np.arange(100), 40)
    effect = rng.normal(0, 2, 100)[user]
    label = rng.random(4000) < 1 / (1 + np.exp(-effect))
    score = effect * rng.normal(0, 1, 100)[user] + rng.normal(0, 0.1, 4000)
    by_user = np.ptp(metrics.interval(metrics.auc_bootstrap(label, score, user, 200, 0)))
    by_row = np.ptp(metrics.interval(metrics.auc_bootstrap(label, score, np.arange(4000), 200, 0)))
    assert by_user > 3 * by_row


def test_undefined_is_none_with_a_reason() -> None:
    one_class = metrics.summary(np.ones(5), np.full(5, 0.7), np.arange(5), resamples=10, seed=0)
    assert [one_class[k] for k in ("auc", "auc_low", "gauc", "pr_auc", "ne")] == [None] * 5
    assert one_class["undefined"] == {
        "auc": metrics.ONE_CLASS,
        "auc_low": metrics.ONE_CLASS,
        "auc_high": metrics.ONE_CLASS,
        "gauc": "no user has both classes",
        "pr_auc": metrics.ONE_CLASS,
        "ne": metrics.ONE_CLASS,
    }
    assert one_class["log_loss"] == pytest.approx(-np.log(0.7))
    apart = metrics.summary(np.array([0, 1]), np.array([0.2, 0.7]), np.arange(2), resamples=50, seed=0, min_class=1)
    assert apart["auc"] == 1 and apart["undefined"] == {"gauc": "no user has both classes"}
    empty = metrics.summary(np.empty(0), np.empty(0), np.empty(0, int), resamples=10, seed=0)
    assert empty["n"] == 0
    assert set(empty["undefined"].values()) == {metrics.NO_ROWS}
    assert {k for k, v in empty.items() if v is None} == set(empty["undefined"])
    assert {"gauc_coverage", "positive_rate", "log_loss", "ece"} < set(empty["undefined"])


@pytest.mark.parametrize(("n_pos", "n_neg"), [(1, 208), (208, 1), (29, 500), (500, 29), (30, 30)])
def test_fewer_than_30_of_a_class_have_no_auc_of_any_kind(n_pos: int, n_neg: int) -> None:
    label = np.repeat([1, 0], [n_pos, n_neg])
    found = metrics.summary(label, np.linspace(0.9, 0.1, len(label)), np.arange(len(label)) % 7, resamples=20, seed=0)
    ranking = [found[name] for name in ("auc", "auc_low", "auc_high", "gauc", "pr_auc")]
    if min(n_pos, n_neg) >= 30:
        assert ranking[0] == 1 and None not in ranking
        return
    why = f"fewer than 30 positives or negatives ({n_pos} and {n_neg})"
    assert ranking == [None] * 5
    assert found["undefined"] == dict.fromkeys(("auc", "auc_low", "auc_high", "gauc", "pr_auc"), why)
    assert None not in (found["log_loss"], found["ne"], found["ece"], found["gauc_coverage"])
    assert metrics.summary(label, label / 2, label, resamples=20, seed=0, min_class=1)["auc"] == 1


def test_a_saved_split_is_cleaned_as_it_would_be_written_today() -> None:
    rng = np.random.default_rng(0)
    scene = np.repeat([0, 1, 2], 100)
    label = np.where(scene == 2, np.arange(300) == 250, rng.random(300) < 0.5)
    args = (label, rng.random(300), np.arange(300) % 40, scene, ["a", "b", "c"])
    old, new = (metrics.evaluation(*args, resamples=20, seed=0, **how) for how in ({"min_class": 1}, {}))
    assert old["macro_auc_scenes"] == 3 and new["macro_auc_scenes"] == 2
    assert metrics.without_small(old) == new
    assert metrics.without_small(new) == new


def test_macro_auc_is_the_mean_over_scenes_that_have_one() -> None:
    rng = np.random.default_rng(0)
    scene = np.repeat([0, 1, 2], 100)
    label = np.where(scene == 2, 1, rng.random(300) < 0.5)
    p = np.clip(0.3 * label + rng.random(300) * 0.7, 0, 1)
    found = metrics.evaluation(label, p, np.arange(300), scene, ["a", "b", "c", "d"], resamples=10, seed=0)
    expected = [reference.roc_auc_score(label[scene == s], p[scene == s]) for s in (0, 1)]
    assert found["macro_auc"] == pytest.approx(np.mean(expected))
    assert found["macro_auc_scenes"] == 2
    assert found["scenes"]["c"]["undefined"]["auc"] == metrics.ONE_CLASS
    assert found["scenes"]["d"]["undefined"]["auc"] == metrics.NO_ROWS


def test_cold_start_cells_add_up_and_small_ones_are_marked() -> None:
    rng = np.random.default_rng(0)
    n = 2000
    label, scene = rng.random(n) < 0.4, rng.integers(0, 2, n)
    level = np.stack([rng.choice(3, n, p=[0.02, 0.38, 0.6]), rng.choice([-1, 1, 2], n)], 1)
    p = rng.random(n)
    cells = metrics.cold_start(
        label, p, rng.integers(0, 50, n), level, ["user", "item"], scene, ["a", "b"], resamples=20, min_class=30, seed=0
    )
    by_key = {(c["user_level"], c["item_level"], c["scene"]): c for c in cells}
    assert len(cells) == 4 * 4 * 3
    assert by_key["all", "all", "all"]["auc"] == metrics.auc(label, p)
    assert sum(c["n"] for k, c in by_key.items() if "all" not in (k[0], k[2]) and k[1] == "all") == n
    mine = (level[:, 0] == 1) & (level[:, 1] == 2) & (scene == 1)
    cell = by_key["few", "warm", "b"]
    assert (cell["n"], cell["positives"]) == (mine.sum(), label[mine].sum())
    assert cell["auc"] == pytest.approx(reference.roc_auc_score(label[mine], p[mine]))
    assert cell["auc_low"] < cell["auc"] < cell["auc_high"]
    for c in cells:
        assert c["too_small"] == (min(c["positives"], c["n"] - c["positives"]) < 30)
        assert (c["auc"] is None) == c["too_small"]
    assert by_key["zero", "all", "a"]["too_small"]


def some_rows(n: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Labels, probabilities, users and scenes (0 to 2)."""
    rng = np.random.default_rng(6)
    p = rng.random(n)
    return (rng.random(n) < p).astype(np.uint8), p, rng.integers(0, 40, n), rng.integers(0, 3, n)


def test_a_summary_holds_every_metric_under_its_name() -> None:
    label, p, user, _ = some_rows()
    low, high = metrics.interval(metrics.auc_bootstrap(label, p, user, 30, 7))
    gauc, coverage = metrics.gauc(label, p, user)
    expected = {
        "n": 400,
        "positives": int(label.sum()),
        "users": 40,
        "positive_rate": label.mean(),
        "mean_probability": p.mean(),
        "auc": metrics.auc(label, p),
        "auc_low": low,
        "auc_high": high,
        "gauc": gauc,
        "gauc_coverage": coverage,
        "pr_auc": metrics.pr_auc(label, p),
        "log_loss": metrics.log_loss(label, p),
        "ne": metrics.normalized_entropy(label, p),
        "ece": metrics.ece(label, p),
        "undefined": {},
    }
    assert metrics.summary(label, p, user, resamples=30, seed=7) == expected
    few = metrics.summary(label, p, user, resamples=9, seed=7)
    assert few["undefined"] == dict.fromkeys(("auc_low", "auc_high"), "too few resamples with both classes")
    assert [k for k in few if few[k] != expected[k]] == ["auc_low", "auc_high", "undefined"]


def test_an_evaluation_is_the_summary_of_all_and_of_each_scene() -> None:
    label, p, user, scene = some_rows()
    ticks: list[int] = []
    found = metrics.evaluation(label, p, user, scene, ["a", "b", "c"], resamples=12, seed=3, tick=ticks.append)
    assert ticks == [400, *np.bincount(scene)]
    whole = metrics.summary(label, p, user, resamples=12, seed=3)
    assert {k: found[k] for k in whole} == whole
    assert found.keys() - whole.keys() == {"scenes", "macro_auc", "macro_auc_scenes"}
    for s, name in enumerate("abc"):
        own = scene == s
        assert found["scenes"][name] == metrics.summary(label[own], p[own], user[own], resamples=12, seed=3)
    nowhere = metrics.evaluation(label * 0, p, user, scene, ["a", "b", "c"], resamples=12, seed=3)
    assert (nowhere["macro_auc"], nowhere["macro_auc_scenes"]) == (None, 0)
    assert nowhere["undefined"]["macro_auc"] == "no scene has 30 positives and 30 negatives"


def test_a_cell_tells_users_interval_and_gate_and_is_too_small_by_either_class() -> None:
    label, p, user, scene = some_rows()
    level = np.stack([scene, np.full(400, 2)], 1)
    ticks: list[int] = []

    def cube(label: np.ndarray, min_class: int) -> dict[tuple[str, str, str], dict]:
        cells = metrics.cold_start(
            label,
            p,
            user,
            level,
            ["user", "item"],
            scene,
            ["a", "b", "c"],
            resamples=15,
            min_class=min_class,
            seed=2,
            alpha_B=p / 2,
            tick=ticks.append,
        )
        return {(c["user_level"], c["item_level"], c["scene"]): c for c in cells}

    own = scene == 1
    n_pos, n_neg = int(label[own].sum()), int((1 - label[own]).sum())
    found = cube(label, min(n_pos, n_neg))
    low, high = metrics.interval(metrics.auc_bootstrap(label[own], p[own], user[own], 15, 2))
    assert found["few", "warm", "b"] == {
        "user_level": "few",
        "item_level": "warm",
        "scene": "b",
        "n": own.sum(),
        "positives": n_pos,
        "users": len(np.unique(user[own])),
        "auc": metrics.auc(label[own], p[own]),
        "auc_low": low,
        "auc_high": high,
        "too_small": False,
        "alpha": (p[own] / 2).mean(),
    }
    assert sum(ticks) == 4 * 2 * 400, "each row is in a cell and in those of its margins"
    empty = found["zero", "warm", "b"]
    assert (empty["n"], empty["auc"], empty["alpha"], empty["too_small"]) == (0, None, None, True)
    rare = np.where(np.cumsum(own & (label == 0)) <= 10, label, 1)  # ten non-clicks are left in the scene
    for min_class, small in ((10, False), (11, True)):
        assert cube(rare, min_class)["all", "all", "b"]["too_small"] is small


def test_bins_of_calibration_say_what_they_hold() -> None:
    label, p = np.array([0, 0, 1, 1, 1]), np.array([0.9, 0.1, 0.2, 0.4, 0.6])
    assert metrics.calibration(label, p, 2) == [
        {"n": 3, "probability": pytest.approx(0.7 / 3), "positive_rate": pytest.approx(2 / 3)},
        {"n": 2, "probability": pytest.approx(0.75), "positive_rate": 0.5},
    ]
    assert [len(metrics.calibration(label, p, bins)) for bins in (1, 5, 9)] == [1, 5, 5]


def test_tied_rows_are_binned_in_the_order_they_came_in() -> None:
    """Else two machines, whose NumPy sorts with other instructions, would report another ECE."""
    p, label = np.repeat([0.2, 0.5, 0.1], 100), np.arange(300) % 100 >= 50
    assert [one["positive_rate"] for one in metrics.calibration(label, p, 6)] == [0, 1] * 3


def test_an_interval_is_the_central_95_percent_of_ten_or_more() -> None:
    assert metrics.interval(np.arange(9.0)) == (None, None)
    assert metrics.interval(np.arange(1001.0)) == (25.0, 975.0)
    assert metrics.interval(np.arange(10.0)) == pytest.approx((0.225, 8.775))
