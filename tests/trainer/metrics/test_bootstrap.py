from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from trainer.metrics import bootstrap, metrics, ranking

DATA = st.lists(st.tuples(st.booleans(), st.integers(0, 12), st.integers(0, 4)), min_size=3, max_size=90)


def as_rows(data: list[tuple[bool, int, int]]) -> tuple[bootstrap.Rows, int]:
    label, score, user = (np.array(column) for column in zip(*data, strict=True))
    user, users = metrics.dense_ids(user)
    return bootstrap.Rows(label.astype(np.uint8), (score + 0.5) / 13, user), users


@settings(deadline=None, max_examples=40)
@given(DATA)
def test_every_metric_equals_itself_on_repeated_rows(data: list[tuple[bool, int, int]]) -> None:
    rows, users = as_rows(data)
    weight_RU = bootstrap.draw(users, 6, seed=3)
    for name, (whole, sampled) in bootstrap.METRICS.items():
        found = sampled(rows, weight_RU)
        for r, weight_U in enumerate(weight_RU):
            repeated = np.repeat(np.arange(len(data)), weight_U[rows.user_B])
            expected = whole(rows.where(repeated)) if len(repeated) else None
            assert found[r] == pytest.approx(np.nan if expected is None else expected, abs=1e-12, nan_ok=True), name


@settings(deadline=None, max_examples=40)
@given(DATA, st.integers(0, 2**32 - 1))
def test_two_ways_every_metric_equals_itself_on_repeated_rows(data: list[tuple[bool, int, int]], seed: int) -> None:
    """A row is there as often as its user's number times its item's; ties in the scores, samples without a row."""
    rows, users = as_rows(data)
    rows = replace(rows, item_B=np.random.default_rng(seed).integers(0, 7, len(data)))
    weights = bootstrap.draw_two_way(users, 7, 6, seed)
    for name, (whole, sampled) in bootstrap.METRICS.items():
        found = sampled(rows, weights)
        for r, weight_B in enumerate(weights.of(rows)):
            assert (weight_B == weights.user_RU[r][rows.user_B] * weights.item_RI[r][rows.item_B]).all()
            repeated = np.repeat(np.arange(len(data)), weight_B)
            expected = whole(rows.where(repeated)) if len(repeated) else None
            assert found[r] == pytest.approx(np.nan if expected is None else expected, abs=1e-12, nan_ok=True), name


def test_many_rows_go_in_blocks_and_many_samples_in_turns() -> None:
    """Blocks end at ties, large weights leave the byte: against scikit-learn, weights and all."""
    rng = np.random.default_rng(0)
    n = 3 * ranking._BLOCK_ROWS + 17
    p = np.where(rng.random(n) < 0.6, rng.random(n).round(2), rng.random(n))
    p[: n // 2] = 0.5  # one tie longer than a block
    label, user, item = rng.integers(0, 2, n), rng.integers(0, 30, n), rng.integers(0, 20, n)
    for most in (4, 300):
        user_RU = rng.integers(0, most, (ranking._BLOCK_SAMPLES + 3, 30))
        item_RI = rng.integers(0, 4, (ranking._BLOCK_SAMPLES + 3, 20))
        found = metrics.auc_samples(label, p, user, user_RU, item, item_RI)
        assert len(found) == len(user_RU)
        for r in (0, ranking._BLOCK_SAMPLES - 1, ranking._BLOCK_SAMPLES, len(found) - 1):
            weight = user_RU[r][user] * item_RI[r][item]
            assert found[r] == pytest.approx(reference.roc_auc_score(label, p, sample_weight=weight), abs=1e-12)


def test_samples_are_of_the_seed_and_each_way_is_drawn_by_itself() -> None:
    one, same, other = (bootstrap.draw_two_way(50, 40, 30, seed) for seed in (1, 1, 2))
    assert (one.user_RU == same.user_RU).all() and (one.item_RI == same.item_RI).all()
    assert (one.user_RU != other.user_RU).any() and (one.item_RI != other.item_RI).any()
    assert one.user_RU.mean() == pytest.approx(1, abs=0.1) and one.item_RI.var() == pytest.approx(1, abs=0.2)


def test_items_widen_the_interval_where_rows_of_an_item_err_together() -> None:
    rng = np.random.default_rng(3)
    user, item = rng.integers(0, 300, 9000), rng.integers(0, 40, 9000)
    effect = rng.normal(0, 1.5, 40)
    label = (rng.random(9000) < 1 / (1 + np.exp(-effect[item]))).astype(int)
    rows = bootstrap.Rows(label, effect[item] + rng.normal(0, 1, 40)[item], user, item)
    by_user = bootstrap.auc(rows, bootstrap.draw(300, 200, 0)).std()
    two_way = bootstrap.auc(rows, bootstrap.draw_two_way(300, 40, 200, 0)).std()
    assert two_way > 3 * by_user


def test_a_weight_of_one_is_the_data_itself() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(500).round(1)  # ties; and 0 and 1, certain and wrong
    rows = bootstrap.Rows(rng.integers(0, 2, 500), p, rng.integers(0, 20, 500))
    once = np.ones((1, 20), np.int16)
    for whole, sampled in bootstrap.METRICS.values():
        assert sampled(rows, once)[0] == pytest.approx(whole(rows), abs=1e-12)


def test_the_seed_draws_the_users_that_the_interval_of_one_run_is_from() -> None:
    rng = np.random.default_rng(0)
    rows = bootstrap.Rows(rng.integers(0, 2, 200), rng.random(200), rng.integers(0, 20, 200))
    alone = metrics.auc_bootstrap(rows.label_B, rows.probability_B, rows.user_B, 30, seed=7)
    np.testing.assert_array_equal(bootstrap.auc(rows, bootstrap.draw(20, 30, seed=7)), alone)


def test_pairing_sees_a_small_difference_that_two_intervals_hide() -> None:
    """Both scores share the users' noise; only the paired difference is free of it."""
    rng = np.random.default_rng(1)
    user = rng.integers(0, 150, 6000)
    logit = rng.normal(0, 1.5, 150)[user] + rng.normal(0, 1, 6000)
    label = (rng.random(6000) < 1 / (1 + np.exp(-logit))).astype(int)
    good = bootstrap.Rows(label, logit, user)
    less = bootstrap.Rows(label, logit + rng.normal(0, 0.4, 6000), user)
    weight_RU = bootstrap.draw(150, 200, seed=0)
    a, b = bootstrap.auc(less, weight_RU), bootstrap.auc(good, weight_RU)
    assert metrics.interval(a)[1] > metrics.interval(b)[0], "the two intervals overlap"
    found = bootstrap.difference(metrics.auc(label, less.probability_B), metrics.auc(label, logit), a, b)
    assert found["verdict"] == "higher"
    assert 0 < found["low"] < found["difference"] < found["high"]
    assert bootstrap.difference(0.7, 0.7, a, a)["verdict"] == "not shown"
    assert bootstrap.difference(None, 0.7, a, b)["verdict"] == "undefined"
    assert bootstrap.difference(0.7, 0.8, a[:5], b[:5])["verdict"] == "not shown", "five samples are no interval"


def test_an_interval_of_no_difference_holds_0_as_often_as_it_says() -> None:
    """100 pairs of equally noisy scores: about 5 may be called different."""
    rng = np.random.default_rng(2)
    user = np.repeat(np.arange(60), 20)
    called = 0
    for k in range(100):
        truth = rng.normal(0, 1, 1200) + rng.normal(0, 1, 60)[user]
        label = (rng.random(1200) < 1 / (1 + np.exp(-truth))).astype(int)
        a, b = (bootstrap.Rows(label, truth + rng.normal(0, 1, 1200), user) for _ in range(2))
        weight_RU = bootstrap.draw(60, 100, seed=k)
        samples = [bootstrap.auc(r, weight_RU) for r in (a, b)]
        points = [metrics.auc(label, r.probability_B) for r in (a, b)]
        called += bootstrap.difference(*points, *samples)["verdict"] != "not shown"
    assert called <= 12


@settings(deadline=None, max_examples=25)
@given(DATA.filter(lambda data: len({row[0] for row in data}) == 2))
def test_equal_to_scikit_learn_with_weights(data: list[tuple[bool, int, int]]) -> None:
    rows, users = as_rows(data)
    weight_RU = bootstrap.draw(users, 4, seed=1)
    pairs = {
        "auc": reference.roc_auc_score,
        "pr_auc": reference.average_precision_score,
        "log_loss": reference.log_loss,
    }
    for name, expected in pairs.items():
        found = bootstrap.METRICS[name][1](rows, weight_RU)
        for r, weight_U in enumerate(weight_RU):
            weight_B = weight_U[rows.user_B]
            if len(set(rows.label_B[weight_B > 0])) == 2:
                value = expected(rows.label_B, rows.probability_B, sample_weight=weight_B)
                assert found[r] == pytest.approx(value, abs=1e-9), name


def test_a_sample_without_rows_is_nan_and_the_next_one_is_still_measured() -> None:
    """The rows are a part of the split: a sample may draw none of its users."""
    rng = np.random.default_rng(0)
    rows = bootstrap.Rows(rng.integers(0, 2, 80), rng.random(80), rng.integers(0, 3, 80))
    weight_RU = np.array([[1, 1, 1, 0], [0, 0, 0, 4], [1, 1, 1, 9]], np.int16)
    nothing = rows.where(np.zeros(80, bool))
    for name, (whole, sampled) in bootstrap.METRICS.items():
        assert sampled(rows, weight_RU) == pytest.approx([whole(rows), np.nan, whole(rows)], nan_ok=True), name
        assert np.isnan(sampled(nothing, weight_RU)).all() and len(sampled(nothing, weight_RU)) == 3, name


def test_one_row_drawn_once_is_a_sample() -> None:
    rows = bootstrap.Rows(np.array([1, 0]), np.array([0.25, 0.5]), np.array([0, 1]))
    weight_RU = np.array([[1, 0]], np.int16)
    assert bootstrap.log_loss(rows, weight_RU) == pytest.approx([np.log(4)])
    assert bootstrap.ece(rows, weight_RU) == pytest.approx([0.75])
    assert np.isnan([f(rows, weight_RU)[0] for f in (bootstrap.auc, bootstrap.gauc, bootstrap.pr_auc)]).all()


def test_ece_of_a_row_drawn_more_often_than_a_bin_is_long() -> None:
    rows = bootstrap.Rows(np.array([1, 0, 1]), np.array([0.2, 0.5, 0.9]), np.array([0, 1, 2]))
    weight_U = np.array([49, 4, 7])  # the bin after the first row's last whole one leans to the other side
    repeated = rows.where(np.repeat([0, 1, 2], weight_U))
    expected = metrics.ece(repeated.label_B, repeated.probability_B)
    assert bootstrap.ece(rows, weight_U[None])[0] == pytest.approx(expected)


def test_a_difference_is_called_by_its_interval() -> None:
    a = np.linspace(0.70, 0.72, 50)
    assert bootstrap.difference(0.71, 0.76, a, a + 0.05) == {
        "difference": pytest.approx(0.05),
        "low": pytest.approx(0.05),
        "high": pytest.approx(0.05),
        "verdict": "higher",
    }
    assert bootstrap.difference(0.76, 0.71, a + 0.05, a)["verdict"] == "lower"
    assert bootstrap.difference(0.71, 0.71, a, a[::-1])["verdict"] == "not shown"
    undefined = {"difference": None, "low": None, "high": None, "verdict": "undefined"}
    for points in ((None, 0.7), (0.7, None), (float("nan"), 0.7), (0.7, float("nan"))):
        assert bootstrap.difference(*points, a, a) == undefined
    with_holes = np.where(np.arange(50) < 40, a, np.nan)
    assert bootstrap.difference(0.71, 0.76, with_holes, a + 0.05)["low"] == pytest.approx(0.05)
