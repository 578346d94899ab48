from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference

from trainer.metrics import bootstrap, metrics
from trainer.metrics.simultaneous import Clusters, Comparison, Scores, alone, as_t, critical_value, interval_of


def scores(name: str, rng: np.random.Generator, shared_R: np.ndarray, seeds: int = 3) -> Scores:
    sample_SR = 0.7 + shared_R + rng.normal(0, 0.002, (seeds, len(shared_R)))
    return Scores(name, 0.7 + rng.normal(0, 0.001, seeds), sample_SR)


def test_max_t_against_a_slow_loop() -> None:
    rng = np.random.default_rng(0)
    shared_R = rng.normal(0, 0.005, 400)
    rungs = [scores(name, rng, shared_R) for name in "abcd"]
    family = [Comparison.of(one, other, 7) for k, one in enumerate(rungs) for other in rungs[:k]]
    family[2].deviation_R[5] = np.nan  # a sample in which one of them is undefined says nothing of the largest
    errors, largest = [], []
    for one in family:
        known = [d for d in one.deviation_R if not math.isnan(d)]
        errors.append(math.sqrt(sum(d * d for d in known) / len(known)))
        assert one.error == pytest.approx(errors[-1])
    for r in range(400):
        ratios = [abs(one.deviation_R[r]) / error for one, error in zip(family, errors, strict=True)]
        if not any(math.isnan(t) for t in ratios):
            largest.append(max(ratios))
    largest.sort()
    assert len(largest) == 399
    at = 0.95 * 398
    expected = largest[int(at)] + (at - int(at)) * (largest[int(at) + 1] - largest[int(at)])
    assert critical_value(family) == pytest.approx(expected)
    inside = np.mean([max(abs(o.deviation_R[r]) / o.error for o in family) <= expected for r in range(400) if r != 5])
    assert inside == pytest.approx(0.95, abs=0.005)


def test_a_family_is_wider_than_each_alone_and_narrower_than_bonferroni() -> None:
    rng = np.random.default_rng(1)
    shared_R = rng.normal(0, 0.01, 4000)
    base = Scores("base", np.array([0.7]), (0.7 + rng.normal(0, 0.01, 4000))[None])
    rungs = [Scores(f"r{k}", np.array([0.7]), (0.7 + shared_R + rng.normal(0, 0.004, 4000))[None]) for k in range(10)]
    family = [Comparison.of(rung, base, 0) for rung in rungs]
    q, bonferroni = critical_value(family), float(stats.norm.isf(0.025 / 10))
    assert critical_value(family[:1]) == pytest.approx(1.96, abs=0.08)
    assert 2.1 < q < bonferroni - 0.1, "they share the base and the users: fewer than ten independent ones"
    # Of a family that isn't all here, as many independent ones as were declared.
    assert critical_value(family[:2], declared=10) == pytest.approx(stats.norm.isf((1 - 0.95**0.1) / 2))
    assert critical_value(family, declared=10) == q


def test_seeds_are_drawn_for_each_rung_by_itself_and_their_spread_is_that_of_means() -> None:
    rng = np.random.default_rng(2)
    point_S = np.array([0.70, 0.71, 0.76])
    flat = Scores("a", point_S, np.repeat(point_S[:, None], 40_000, 1))
    assert flat.seed_variance == pytest.approx(np.var(point_S, ddof=1) / 3)
    assert flat.drawn(0).var() == pytest.approx(flat.seed_variance, rel=0.03)
    assert flat.drawn(0).mean() == pytest.approx(flat.mean, abs=1e-3)
    other = Scores("b", point_S, flat.sample_SR)
    one = Comparison.of(flat, other, 0)
    assert one.difference == 0 and one.error**2 == pytest.approx(2 * flat.seed_variance, rel=0.03)
    assert (flat.drawn(0) == Scores("a", point_S, flat.sample_SR).drawn(0)).all()
    assert (flat.drawn(0) != flat.drawn(1)).any()
    single = Scores("a", point_S[:1], flat.sample_SR[:1] + rng.normal(size=(1, 40_000)))
    assert single.seed_variance == 0 and (single.drawn(0) == single.sample_SR[0]).all()


def test_with_few_seeds_an_interval_is_students() -> None:
    """Two rungs of three seeds that differ by seeds alone: Welch's interval, degrees of freedom and all."""
    rng = np.random.default_rng(3)
    covered = [0, 0]
    for trial in range(400):
        a, b = rng.normal(0.7, 0.001, 3), rng.normal(0.7, 0.001, 3)
        one, other = (Scores(f"{n}{trial}", p, np.repeat(p[:, None], 2000, 1)) for n, p in (("a", a), ("b", b)))
        comparison = Comparison.of(one, other, 0)
        parts = [np.var(p, ddof=1) / 3 for p in (a, b)]
        assert comparison.freedom(1000) == pytest.approx(sum(parts) ** 2 / sum(v**2 / 2 for v in parts), rel=0.2)
        found = alone(comparison, clusters=1000)
        covered[0] += found["low"] <= 0 <= found["high"]
        covered[1] += abs(comparison.difference) <= 1.96 * comparison.error
    assert covered[0] >= 0.93 * 400
    assert covered[1] < 0.92 * 400, "a normal interval would not do"
    assert as_t(1.96, 4) == pytest.approx(2.776, abs=0.002) and as_t(1.96, math.inf) == 1.96


def test_what_is_equal_or_unknown_isnt_shown() -> None:
    same = Scores("a", np.array([0.7, 0.7]), np.full((2, 50), 0.7) + np.linspace(0, 0.1, 50))
    equal = alone(Comparison.of(same, Scores("b", same.point_S, same.sample_SR), 0), 100)
    assert (equal["difference"], equal["low"], equal["high"], equal["verdict"]) == (0, 0, 0, "not shown")
    few = Comparison(0.1, np.array([0.01] * 9 + [np.nan] * 20), ())
    assert interval_of(few, 2, 100) == {
        "difference": 0.1,
        "low": None,
        "high": None,
        "error": None,
        "smallest": None,
        "verdict": "not shown",
    }
    rng = np.random.default_rng(0)
    clear = Comparison(0.1, rng.normal(0, 0.01, 500), ())
    assert alone(clear, 1000)["verdict"] == "higher"
    assert interval_of(Comparison(-0.1, clear.deviation_R, ()), 3, 1000)["verdict"] == "lower"
    wide, narrow = (interval_of(clear, 2, clusters) for clusters in (4, 4000))
    assert wide["high"] > narrow["high"], "the spread over four users is known poorly"


def test_the_influence_is_what_a_rows_weight_moves() -> None:
    """Against the weighted AUC itself, a row's weight a little up and down; with ties."""
    rng = np.random.default_rng(0)
    label, score = rng.integers(0, 2, 80), rng.integers(0, 15, 80) / 15
    found = metrics.auc_influence(label, score)
    step = 1e-4
    for b in range(80):
        weight = np.ones(80)
        moved = []
        for sign in (1, -1):
            weight[b] = 1 + sign * step
            moved.append(reference.roc_auc_score(label, score, sample_weight=weight))
        assert found[b] == pytest.approx((moved[0] - moved[1]) / (2 * step), abs=1e-7)
    assert found.sum() == pytest.approx(0, abs=1e-12)


def test_the_variance_of_two_clusterings_against_a_loop_over_pairs_of_rows() -> None:
    rng = np.random.default_rng(1)
    user, item, influence = rng.integers(0, 9, 120), rng.integers(0, 7, 120), rng.normal(size=120)
    share_one = sum(
        influence[a] * influence[b] for a in range(120) for b in range(120) if user[a] == user[b] or item[a] == item[b]
    )
    same_pair = sum(
        influence[a] * influence[b]
        for a in range(120)
        for b in range(120)
        if a != b and user[a] == user[b] and item[a] == item[b]
    )
    by_user, by_item = (sum(influence[c == k].sum() ** 2 for k in range(9)) for c in (user, item))
    found = Clusters(user, 9, item, 7).variance(influence)
    assert found == pytest.approx(max(share_one + same_pair, by_user, by_item))
    alone = Clusters(np.arange(120), 120, np.arange(120), 120).variance(influence)
    assert alone == pytest.approx((influence**2).sum())


def test_the_variance_is_that_of_other_users_and_items() -> None:
    """Against many logs drawn anew: 40 users, 40 items, a fixed error of two rungs per user and item."""
    rng = np.random.default_rng(2)
    differences, errors = [], []
    for _ in range(300):
        log, odds = small_log(rng)
        one, other = (made_up(rng, log, odds, 0.6)[0] for _ in range(2))
        differences.append(metrics.auc(log.label_B, one) - metrics.auc(log.label_B, other))
        apart = metrics.auc_influence(log.label_B, one) - metrics.auc_influence(log.label_B, other)
        errors.append(Clusters(log.user_B, USERS, log.item_B, ITEMS).variance(apart))
    assert np.mean(errors) == pytest.approx(np.var(differences), rel=0.25)
    assert np.mean(differences) == pytest.approx(0, abs=3 * np.std(differences) / 300**0.5)


USERS, ITEMS, ROWS, SEEDS = 40, 40, 4000, 3


def small_log(rng: np.random.Generator) -> tuple[bootstrap.Rows, np.ndarray]:
    """Users, items and labels of a log, and the true log odds of its rows."""
    user, item = rng.integers(0, USERS, ROWS), rng.integers(0, ITEMS, ROWS)
    odds = rng.normal(0, 1, USERS)[user] + rng.normal(0, 1, ITEMS)[item]
    label = (rng.random(ROWS) < 1 / (1 + np.exp(-odds))).astype(np.uint8)
    return bootstrap.Rows(label, odds, user, item), odds


def made_up(rng: np.random.Generator, log: bootstrap.Rows, odds: np.ndarray, error: float) -> list[np.ndarray]:
    """A rung's log odds by seed: it misjudges users and items, and each seed a little by itself."""
    misjudged = error * (rng.normal(size=USERS)[log.user_B] + rng.normal(size=ITEMS)[log.item_B])
    return [odds + misjudged + 0.1 * rng.normal(size=ROWS) for _ in range(SEEDS)]


def measured(name: str, logits: list[np.ndarray], log: bootstrap.Rows, weights: bootstrap.Weights) -> Scores:
    rows = [replace(log, probability_B=logit) for logit in logits]
    points = [metrics.auc(log.label_B, logit) for logit in logits]
    influence_B = np.mean([metrics.auc_influence(log.label_B, logit) for logit in logits], axis=0)
    return Scores(name, np.array(points), np.array([bootstrap.auc(one, weights) for one in rows]), influence_B)


def test_false_claims_are_rare_where_two_rungs_are_alike_and_a_real_gain_is_found() -> None:
    """60 ladders of two comparisons. By rows alone, as if each were another user, far too many are claimed."""
    rng = np.random.default_rng(5)
    false = by_row = found = 0
    weights = bootstrap.draw_two_way(USERS, ITEMS, 150, 0)
    rows_alone = bootstrap.Weights(np.minimum(rng.poisson(1, (150, ROWS)), 15).astype(np.uint8))
    for _ in range(60):
        log, odds = small_log(rng)
        logits = {name: made_up(rng, log, odds, error) for name, error in (("a", 0.6), ("b", 0.6), ("c", 0.0))}
        a, b, c = (measured(name, own, log, weights) for name, own in logits.items())
        whose = Clusters(log.user_B, USERS, log.item_B, ITEMS)
        null, gain = Comparison.of(b, a, 0, whose), Comparison.of(c, a, 0, whose)
        q = critical_value([null, gain])
        false += interval_of(null, q, ITEMS)["verdict"] != "not shown"
        found += interval_of(gain, q, ITEMS)["verdict"] == "higher"
        each_by_itself = bootstrap.Rows(log.label_B, odds, np.arange(ROWS))
        a, b = (measured(name, logits[name], each_by_itself, rows_alone) for name in "ab")
        by_row += alone(Comparison.of(b, a, 0), ROWS)["verdict"] != "not shown"
    assert false <= 6, "5% of 60 are 3; more than 6 come by chance in one of thirty seeds"
    assert by_row >= 10
    assert found >= 50
