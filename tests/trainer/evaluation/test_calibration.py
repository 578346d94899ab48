from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from trainer.base.errors import TrainerError
from trainer.evaluation.calibration import Calibration, _fit, fit_calibration
from trainer.metrics import metrics
from trainer.run.directory import evaluate_run, fit_run

SCENES = ("a", "b", "c")


def log(rng: np.random.Generator, n: int, temperature: list[float], shift: list[float]) -> tuple[np.ndarray, ...]:
    """Rows whose true logit is the model's divided by the scene's temperature, and shifted."""
    scene, user = rng.integers(0, 3, n), rng.integers(0, 300, n)
    logits = rng.normal(0, 1.5, n)
    true = logits / np.array(temperature)[scene] + np.array(shift)[scene]
    return logits, (rng.random(n) < 1 / (1 + np.exp(-true))).astype(np.uint8), scene, user


def test_it_finds_what_was_put_in_and_takes_a_shift_only_where_there_is_one() -> None:
    rng = np.random.default_rng(0)
    logits, label, scene, user = log(rng, 60_000, [2.0, 0.5, 1.0], [0, 0, 0])
    found = fit_calibration(logits, label, scene, user, SCENES)
    assert found.chosen == "temperature" and found.shift == {}
    as_it_is = metrics.log_loss(label, 1 / (1 + np.exp(-logits)))
    assert found.cross_validated_log_loss["none"] == pytest.approx(as_it_is)
    assert list(found.temperature.values()) == pytest.approx([2.0, 0.5, 1.0], rel=0.08)
    logits, label, scene, user = log(rng, 60_000, [2.0, 0.5, 1.0], [0.4, -0.3, 0])
    found = fit_calibration(logits, label, scene, user, SCENES)
    assert found.chosen == "temperature and shift"
    assert [found.shift[s] for s in SCENES] == pytest.approx([0.4, -0.3, 0], abs=0.08)
    fresh = log(rng, 30_000, [2.0, 0.5, 1.0], [0.4, -0.3, 0])
    before, after = (1 / (1 + np.exp(-z)) for z in (fresh[0], found(fresh[0], fresh[2], SCENES)))
    assert metrics.ece(fresh[1], after) < 0.6 * metrics.ece(fresh[1], before)
    for s in range(3):
        own = fresh[2] == s
        assert metrics.auc(fresh[1][own], before[own]) == metrics.auc(fresh[1][own], after[own])


def test_a_scene_that_cannot_tell_is_left_as_it_is() -> None:
    rng = np.random.default_rng(1)
    logits, label, scene, user = log(rng, 9000, [2.0, 2.0, 2.0], [0, 0, 0])
    label[scene == 0] = logits[scene == 0] < 0  # ordered the wrong way round
    label[scene == 1] = 0
    found = fit_calibration(logits, label, scene, user, SCENES)
    assert found.temperature.keys() == {"c"}
    np.testing.assert_array_equal(found(logits, scene, SCENES)[scene != 2], logits[scene != 2])
    orderless = fit_calibration(np.where(scene == 2, 0, logits), label, scene, user, SCENES)
    assert orderless.temperature == {}, "one logit for all says nothing of a slope"
    empty = fit_calibration(np.empty(0), np.empty(0), np.empty(0, int), np.empty(0, int), SCENES)
    assert empty.temperature == {}


def test_a_calibrated_run_keeps_its_order_within_scenes_and_evaluates_to_itself(
    toy: Any, stage: Any, tmp_path: Path
) -> None:
    marts = toy(3000).write(tmp_path / "marts")  # a few trees say too little: their logits are too small
    fit_run(stage("00_gbdt", max_iter=5), marts, tmp_path / "plain")
    results = fit_run(stage("00_gbdt", max_iter=5, calibration="temperature"), marts, tmp_path / "calibrated")
    saved = Calibration.load(tmp_path / "calibrated")
    assert saved is not None and saved.temperature
    assert Calibration.load(tmp_path / "plain") is None
    assert evaluate_run(tmp_path / "calibrated")[1] is True
    tables = [pq.read_table(tmp_path / name / "predictions.parquet").to_pandas() for name in ("plain", "calibrated")]
    assert (tables[0].probability != tables[1].probability).any()
    plain = json.loads((tmp_path / "plain" / "metrics.json").read_text())["splits"]
    for split in ("val", "test"):
        before = results["splits"][split]["uncalibrated"]
        assert before["ece"] == plain[split]["ece"]
        for scene, one in results["splits"][split]["scenes"].items():
            assert one["auc"] == pytest.approx(plain[split]["scenes"][scene]["auc"], abs=1e-12)
            assert before["scenes"][scene]["log_loss"] == plain[split]["scenes"][scene]["log_loss"]
        assert results["splits"][split]["log_loss"] < plain[split]["log_loss"]
    assert (
        "before and after calibration by scene on validation" in (tmp_path / "calibrated" / "report.html").read_text()
    )


def test_a_scene_counts_from_thirty_of_either_class_and_one_that_does_not_stops_no_other() -> None:
    rng = np.random.default_rng(3)
    logits, _, _, user = log(rng, 3000, [1.0] * 3, [0] * 3)
    scene = np.repeat([0, 1, 2], 1000)
    label = (rng.random(3000) < 1 / (1 + np.exp(-2 * logits))).astype(np.uint8)  # overall too cold: 1/T is 2
    for few in (0, 1):  # of the first scene only 29, then 30 rows of this class are left
        for kept, known in ((29, set("bc")), (30, set("abc"))):
            rare = label.copy()
            rare[np.flatnonzero((scene == 0) & (label == few))[kept:]] = 1 - few
            found = fit_calibration(logits, rare, scene, user, SCENES)
            assert found.temperature.keys() == known
    # An independent optimum: the temperature has the least log loss of a grid.
    found = fit_calibration(logits, label, np.zeros(3000, int), user, ("a",))
    assert found.chosen == "temperature"
    assert found.temperature["a"] == pytest.approx(best_temperature(logits, label), abs=1e-3)
    shifted = (rng.random(3000) < 1 / (1 + np.exp(-2 * logits - 1))).astype(np.uint8)
    alone = _fit(logits, shifted, np.zeros(3000, int), ("a",), with_shift=False)
    assert alone.temperature["a"] == pytest.approx(best_temperature(logits, shifted), abs=1e-3)


def best_temperature(logits: np.ndarray, label: np.ndarray) -> float:
    grid = np.linspace(0.4, 0.7, 601)
    return float(min(grid, key=lambda t: metrics.log_loss(label, 1 / (1 + np.exp(-logits / t)))))


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    assert Calibration.load(tmp_path) is None
    one = Calibration({"a": 2.0}, {"a": 0.5}, "temperature and shift", {"none": 0.4, "temperature": None})
    one.save(tmp_path)
    assert Calibration.load(tmp_path) == one
    (tmp_path / "calibration.json").write_text("{")
    with pytest.raises(TrainerError, match=f"{tmp_path} can't be read as a finished run"):
        Calibration.load(tmp_path)
