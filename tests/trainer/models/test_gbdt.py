from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sklearn.ensemble import HistGradientBoostingClassifier

from trainer.models.gbdt import GBDT

PARAMETERS = {"learning_rate": 0.2, "max_iter": 40, "max_leaf_nodes": 8, "min_samples_leaf": 5}


def rows(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two categorical features (the second with NaN), three numbers (the first with NaN)."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([rng.integers(0, 4, n), rng.integers(0, 60, n), rng.normal(size=(n, 3))])
    y = rng.random(n) < 1 / (1 + np.exp(-(x[:, 2] + np.sin(x[:, 1]) * 2 + (x[:, 0] == 2) * x[:, 3])))
    x[rng.random(n) < 0.1, 1] = np.nan
    x[rng.random(n) < 0.1, 2] = np.nan
    return x, y.astype(np.uint8)


def boosted(seed: int = 0, patience: int = 5) -> tuple[GBDT, list[int]]:
    heard: list[int] = []
    model = GBDT.fit(
        *rows(1500, 0), *rows(600, 1), n_categorical=2, seed=seed, threads=1, patience=patience,
        on_iteration=heard.append,
        **PARAMETERS,
    )  # fmt: skip
    return model, heard


def test_predicts_as_scikit_learn_does() -> None:
    x, y = rows(1500, 0)
    nobody = np.empty((0, 5)), np.empty(0, np.uint8)
    ours = GBDT.fit(
        x, y, *nobody, n_categorical=2, seed=0, threads=1, patience=5, on_iteration=lambda _: None, **PARAMETERS
    )
    theirs = HistGradientBoostingClassifier(
        categorical_features=[0, 1], random_state=0, early_stopping=False, **PARAMETERS
    )
    theirs.fit(x, y)
    new, _ = rows(400, 2)
    new[:5, 1] = 200  # a category that training never saw: missing
    assert ours.n_trees == 40
    known = np.where(new == 200, np.nan, new)
    np.testing.assert_allclose(ours.predict(known, 1), theirs.decision_function(new), rtol=0, atol=1e-12)


def test_keeps_the_iterations_that_were_best_on_validation() -> None:
    model, heard = boosted()
    x, y = rows(600, 1)
    p = 1 / (1 + np.exp(-model.predict(x, 1)))
    loss = -np.where(y, np.log(p), np.log(1 - p)).mean()
    assert loss == pytest.approx(model.loss[1].min(), abs=1e-9)
    assert model.n_trees == model.loss[1].argmin() < len(model.loss[1]) - 1
    assert heard == list(range(1, model.loss.shape[1]))


def test_survives_the_disk_as_plain_arrays(tmp_path: Path) -> None:
    model, _ = boosted()
    save_file(model.to_arrays(), tmp_path / "w.safetensors")
    back = GBDT.from_arrays(load_file(tmp_path / "w.safetensors"))
    x, _ = rows(300, 3)
    np.testing.assert_array_equal(back.predict(x, 1), model.predict(x, 1))
    assert back.nodes.dtype == model.nodes.dtype


def test_a_damaged_tree_is_refused() -> None:
    arrays = boosted()[0].to_arrays()
    arrays["nodes.left"] = arrays["nodes.left"] + 10_000
    with pytest.raises(ValueError, match="outside"):
        GBDT.from_arrays(arrays)
