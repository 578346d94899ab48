from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, load_file, save, save_file

from trainer.models.gbdt import GBDT

PARAMETERS = {
    "learning_rate": 0.2,
    "max_iter": 40,
    "max_leaf_nodes": 8,
    "min_samples_leaf": 5,
    "l2_regularization": 0.0,
    "max_features": 1.0,
}
NOBODY = np.empty((0, 5)), np.empty(0, np.uint8)


def rows(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two categorical features (the second with NaN), three numbers (the first with NaN)."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([rng.integers(0, 4, n), rng.integers(0, 60, n), rng.normal(size=(n, 3))])
    y = rng.random(n) < 1 / (1 + np.exp(-(x[:, 2] + np.sin(x[:, 1]) * 2 + (x[:, 0] == 2) * x[:, 3])))
    x[rng.random(n) < 0.1, 1] = np.nan
    x[rng.random(n) < 0.1, 2] = np.nan
    return x, y.astype(np.uint8)


def boosted(*, seed: int = 0, threads: int = 1, **more: float) -> tuple[GBDT, np.ndarray, list[int]]:
    heard: list[int] = []
    model, loss = GBDT.fit(
        *rows(1500, 0),
        *rows(600, 1),
        n_categorical=2,
        seed=seed,
        threads=threads,
        patience=5,
        on_iteration=heard.append,
        **(PARAMETERS | more),
    )
    return model, loss, heard


def by_hand(model: GBDT, x: np.ndarray) -> float:
    """The logit of one row: down each tree, by the meaning of the arrays."""
    logit = 0.0
    for inner, leaves, starts, bits in model._trees():
        at = 0 if inner.stop > inner.start else -1
        feature, threshold = model.split_feature_I[inner], model.threshold_I[inner]
        kind, left, right = model.decision_type_I[inner], model.left_I[inner], model.right_I[inner]
        while at >= 0:
            value = x[feature[at]]
            if kind[at] % 2:
                a, b = model.set_starts[starts][int(threshold[at]) : int(threshold[at]) + 2]
                words = model.set_bits_W[bits][a:b]
                known = not np.isnan(value) and value < 32 * len(words)
                goes_left = known and words[int(value) // 32] >> int(value) % 32 & 1
            else:
                missing = np.isnan(value) and kind[at] >> 2 & 3 == 2
                goes_left = bool(kind[at] & 2) if missing else np.nan_to_num(value) <= threshold[at]
            at = left[at] if goes_left else right[at]
        logit += model.leaf_value_L[leaves][-1 - at]
    return logit


def test_predicts_as_its_arrays_read_by_hand() -> None:
    model, *_ = boosted()
    new, _ = rows(200, 2)
    new[:5, 1] = 200  # a category that training never saw
    assert model.set_bits_W.size > 20 and (model.decision_type_I % 2).any()
    np.testing.assert_allclose(model.predict(new, 1), [by_hand(model, x) for x in new], rtol=0, atol=1e-12)


def test_predicts_as_lightgbm_does() -> None:
    import lightgbm

    x, y = rows(1500, 0)
    ours, _ = GBDT.fit(
        x, y, *NOBODY, n_categorical=2, seed=0, threads=1, patience=5, on_iteration=lambda _: None, **PARAMETERS
    )
    theirs = lightgbm.LGBMClassifier(
        n_estimators=40,
        learning_rate=0.2,
        num_leaves=8,
        min_child_samples=5,
        deterministic=True,
        force_col_wise=True,
        verbosity=-1,
        n_jobs=1,
    ).fit(x, y, categorical_feature=[0, 1])
    new, _ = rows(400, 2)
    assert ours.n_trees == 40
    np.testing.assert_array_equal(ours.predict(new, 1), theirs.predict(new, raw_score=True))
    np.testing.assert_array_equal(
        ours.predict(new.astype(np.float32).astype(float), 1), ours.predict(new.astype(np.float32), 1)
    )


def test_keeps_the_iterations_that_were_best_on_validation() -> None:
    model, losses, heard = boosted()
    x, y = rows(600, 1)
    p = 1 / (1 + np.exp(-model.predict(x, 1)))
    loss = -np.where(y, np.log(p), np.log(1 - p)).mean()
    assert loss == pytest.approx(losses[1].min(), abs=1e-9)
    assert model.n_trees == 1 + losses[1].argmin() < losses.shape[1]
    assert heard == list(range(1, 1 + losses.shape[1]))


def test_the_same_bytes_on_any_number_of_threads() -> None:
    one, two, other = (boosted(max_features=0.5, **more)[0] for more in ({}, {"threads": 2}, {"seed": 5}))
    assert save(one.to_arrays()) == save(two.to_arrays()) != save(other.to_arrays())


def test_nothing_to_split_by_is_one_leaf() -> None:
    """A tree without a split is the rate of positives."""
    y = np.arange(40) % 4 == 0
    model, _ = GBDT.fit(
        np.ones((40, 5)),
        y,
        *NOBODY,
        n_categorical=0,
        seed=0,
        threads=1,
        patience=5,
        on_iteration=lambda _: None,
        **PARAMETERS,
    )
    back = GBDT.from_arrays(load(save(model.to_arrays())))
    np.testing.assert_allclose(back.predict(np.ones((3, 5)), 1), np.log(1 / 3), atol=1e-12)


def test_a_split_of_missing_from_all_numbers_has_an_infinite_threshold() -> None:
    """Where only whether a number is there says something."""
    x = np.random.default_rng(0).normal(size=(800, 5))
    x[::3, 2] = np.nan
    model, _ = GBDT.fit(
        x,
        np.isnan(x[:, 2]),
        *NOBODY,
        n_categorical=0,
        seed=0,
        threads=1,
        patience=5,
        on_iteration=lambda _: None,
        **PARAMETERS,
    )
    back = GBDT.from_arrays(load(save(model.to_arrays())))
    assert np.isinf(model.threshold_I).any()
    np.testing.assert_allclose(back.predict(x, 1), [by_hand(model, row) for row in x], rtol=0, atol=1e-12)
    assert ((back.predict(x, 1) > 0) == np.isnan(x[:, 2])).all()


def test_survives_the_disk_as_plain_arrays(tmp_path: Path) -> None:
    model, *_ = boosted()
    save_file(model.to_arrays(), tmp_path / "w.safetensors")
    back = GBDT.from_arrays(load_file(tmp_path / "w.safetensors"))
    x, _ = rows(300, 3)
    np.testing.assert_array_equal(back.predict(x, 1), model.predict(x, 1))


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("left_I", lambda a: a + 10_000, "outside its tree"),
        ("right_I", lambda a: a - 10_000, "outside its tree"),
        ("left_I", lambda a: a * 0, "outside its tree"),  # round and round
        ("split_feature_I", lambda a: a + 5, "feature"),
        ("split_feature_I", lambda a: a - 5, "feature"),
        ("decision_type_I", lambda a: a | 1, "set of categories"),
        ("threshold_I", lambda a: a * np.nan, "threshold"),
        ("leaf_value_L", lambda a: a * np.inf, "value"),
        ("leaf_value_L", lambda a: a[:-1], "size"),
        ("n_leaves_T", lambda a: a + 1, "size"),
        ("n_leaves_T", lambda a: a + 2**61, "size"),
        ("n_sets_T", lambda a: a + 1, "set"),
        ("set_starts", lambda a: a + 1, "set"),
        ("set_starts", lambda a: a * 1000, "set"),
        ("set_bits_W", lambda a: a[:-1], "set"),
        ("n_features", lambda a: a + 10**9, "features"),
        ("split_feature_I", lambda a: a.astype(np.float64), "float64"),
    ],
)
def test_a_damaged_tree_is_refused(name: str, wrong: object, message: str) -> None:
    arrays = boosted()[0].to_arrays()
    with np.errstate(invalid="ignore"):
        arrays[name] = np.ascontiguousarray(wrong(arrays[name]))
    with pytest.raises(ValueError, match=message):
        GBDT.from_arrays(arrays)


def test_whatever_the_numbers_are_nothing_crashes() -> None:
    """Numbers of all arrays drawn anew, a few at a time: refused, or trees that predict something."""
    arrays, draw = boosted()[0].to_arrays(), random.Random(7)
    x, _ = rows(50, 4)
    refused = taken = 0
    for _ in range(300):
        bad = {name: array.copy() for name, array in arrays.items()}
        for name in draw.sample(sorted(set(bad) - {"n_features"}), 2):
            at = draw.randrange(len(bad[name]))
            bad[name][at] = draw.choice([0, 1, 7, draw.choice(bad[name].tolist()), 2**31 - 1])
        try:
            model = GBDT.from_arrays(bad)
        except ValueError:
            refused += 1
            continue
        assert np.isfinite(model.predict(x, 1)).all()
        taken += 1
    assert refused > 50 and taken > 50


def test_trees_of_an_older_trainer_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="of an older trainer"):
        GBDT.from_arrays({"nodes.value": np.zeros(3), "baseline": np.zeros(1)})
