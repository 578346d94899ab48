from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from trainer.base.errors import TrainerError
from trainer.evaluation.compare import compare_runs
from trainer.evaluation.held_out import read_held_out
from trainer.metrics import metrics
from trainer.run.directory import fit_run


@pytest.fixture
def runs(toy: Any, stage: Any, tmp_path: Path) -> tuple[Path, Path]:
    marts = toy(2500).write(tmp_path / "marts")
    fit_run(stage("00_gbdt", max_iter=1, max_leaf_nodes=2), marts, tmp_path / "poor")
    fit_run(stage("00_gbdt"), marts, tmp_path / "good")
    return tmp_path / "poor", tmp_path / "good"


def test_every_metric_overall_by_scene_and_by_level(runs: tuple[Path, Path]) -> None:
    found = compare_runs(*runs, resamples=60)
    table = pq.read_table(runs[1] / "predictions.parquet").to_pandas()
    test = table[table.split == "test"]
    assert (found["users"], found["items"]) == (test.user_id.nunique(), test.item_id.nunique())
    parts = {(p["kind"], p["name"]): p for p in found["parts"]}
    expected = {("all", "all"), ("item level", "warm"), *(("scene", s) for s in test.scene.unique())}
    assert parts.keys() == expected | {("user level", level) for level in test.user_level.unique()}
    whole = parts["all", "all"]["metrics"]
    assert whole.keys() == {"auc", "macro_auc", "gauc", "pr_auc", "log_loss", "ne", "ece"}
    for name, one in whole.items():
        assert one["difference"] == pytest.approx(one["b"] - one["a"]), name
        assert one["low"] < one["difference"] < one["high"], name
    assert (whole["auc"]["verdict"], whole["log_loss"]["verdict"]) == ("higher", "lower")
    home = test[test.scene == "home"]
    assert parts["scene", "home"]["metrics"]["auc"]["b"] == pytest.approx(
        metrics.auc(home.label.to_numpy(), home.probability.to_numpy())
    )
    by_scene = [metrics.auc(g.label.to_numpy(), g.probability.to_numpy()) for _, g in test.groupby("scene")]
    assert whole["macro_auc"]["b"] == pytest.approx(np.mean(by_scene))
    assert compare_runs(*runs, resamples=60) == found, "one seed, one answer"


def test_a_run_equals_itself_and_small_parts_are_marked(runs: tuple[Path, Path]) -> None:
    found = compare_runs(runs[0], runs[0], resamples=20, min_class=100)
    whole = found["parts"][0]["metrics"]
    macro = whole.pop("macro_auc")
    assert (macro["difference"], macro["verdict"], macro["of_scenes"]) == (None, "undefined", 3)
    assert macro["scenes"] == 0, "no scene has 100 of each class"
    assert all((m["difference"], m["low"], m["verdict"]) == (0, 0, "not shown") for m in whole.values())
    small = [p for p in found["parts"] if p["too_small"]]
    assert small
    assert all(min(p["positives"], p["n"] - p["positives"]) < 100 and not p["metrics"] for p in small)


def test_runs_held_to_other_rows_are_refused(runs: tuple[Path, Path], toy: Any, stage: Any, tmp_path: Path) -> None:
    fit_run(stage("00_gbdt", max_iter=2), toy(1000, seed=5).write(tmp_path / "other" / "marts"), tmp_path / "other_run")
    with pytest.raises(TrainerError, match=r"different test rows: \d+ and \d+, \d+ in common"):
        compare_runs(runs[0], tmp_path / "other_run")
    mart = toy(2500)
    k = int(np.flatnonzero(mart.split("test"))[0])
    mart.rows["label"][k] = 1 - mart.rows["label"][k]
    fit_run(stage("00_gbdt", max_iter=2), mart.write(tmp_path / "flipped" / "marts"), tmp_path / "flipped_run")
    with pytest.raises(TrainerError, match="1 labels differ"):
        compare_runs(runs[0], tmp_path / "flipped_run")


def test_predictions_of_an_older_trainer_are_named(runs: tuple[Path, Path]) -> None:
    path = runs[0] / "predictions.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["user_id"]), path)
    with pytest.raises(TrainerError, match="no column user_id: an older trainer"):
        read_held_out(runs[0])
    path.write_bytes(b"PAR1 nothing")
    with pytest.raises(TrainerError, match="can't be read"):
        read_held_out(runs[0])
