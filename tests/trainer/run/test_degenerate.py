"""Logs that a model can learn little from, or nothing: the fit says so, and what is undefined is shown as such."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from trainer.base.errors import TrainerError
from trainer.base.files import read_json
from trainer.cli.common import show
from trainer.evaluation.compare import compare_runs
from trainer.ladder.rungs import Rung
from trainer.ladder.running import make_runs
from trainer.report import write_report
from trainer.run.directory import evaluate_run, fit_run
from trainer.serving.score import score_file
from trainer.training.loop import can_choose

BROKEN = [float("nan"), float("inf"), float("-inf"), 1e300, -1e39]


def strict(path: Path) -> Any:
    """JSON as every reader takes it: without NaN and infinities, which Python alone would write and read."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{path} holds {constant}, which isn't JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def check_whole(run: Path) -> dict[str, Any]:
    """Whatever the log was like: strict JSON, finite predictions, metrics that can be computed again. -> metrics"""
    for path in run.glob("*.json"):
        strict(path)
    for name in ("cold_start.csv", "cold_start_pivot.csv", "drift.csv"):
        assert not re.search(r"\b(nan|inf)\b", (run / name).read_text()), name
    p = pq.read_table(run / "predictions.parquet")["probability"].to_numpy()
    assert ((p > 0) & (p < 1)).all()
    assert evaluate_run(run)[1] is True
    metrics = strict(run / "metrics.json")
    for split in metrics["splits"].values():
        for one in (split, *split["scenes"].values()):
            assert {name for name, value in one.items() if value is None} == set(one["undefined"])
    return metrics


@pytest.mark.parametrize("name", ["00_gbdt", "01_dnn"])
def test_numbers_that_are_none_count_as_missing_and_are_told(
    name: str, toy: Any, stage: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mart = toy(1000)
    for k, value in enumerate(BROKEN):
        mart.rows["item_rate"][k * 100] = value
        mart.rows["ctx_dense"][k * 100 + 1] = [value]
    mart.rows["scene_counts"][7] = [1.0, None, float("inf")]
    marts = mart.write(tmp_path / "marts")
    fit_run(stage(name, **({"epochs": 1} if name == "01_dnn" else {})), marts, tmp_path / "run")
    check_whole(tmp_path / "run")
    told = read_json(tmp_path / "run" / "dataset.json")["not_finite"]
    assert told == {"item_rate": 5, "ctx_dense.price": 5, "scene_counts.video": 1}
    said = "Input item_rate: 5 values are NaN, infinite or beyond 1e38; they count as missing."
    assert said in capsys.readouterr().err
    assert said in (tmp_path / "run" / "report.html").read_text()
    score_file(tmp_path / "run", marts / "training_examples_v1", tmp_path / "scored.parquet")
    scored = pq.read_table(tmp_path / "scored.parquet").to_pydict()
    scored = dict(zip(scored["event_id"], scored["probability"], strict=True))
    held_out = pq.read_table(tmp_path / "run" / "predictions.parquet").to_pydict()
    expected = [scored[e] for e in held_out["event_id"]]
    np.testing.assert_allclose(held_out["probability"], expected, rtol=1e-5)


def test_numbers_at_the_edge_of_what_is_held(toy: Any, stage: Any, tmp_path: Path) -> None:
    """Standardising 1e38 beside -1e38, and the largest integers, overflows nowhere (a warning would fail this)."""
    mart = toy(800)
    mart.set("item_rate", [1e38 if k % 5 == 0 else -1e38 if k % 7 == 0 else 0.0 for k in range(800)])
    mart.set("user_count", [2**63 - 1 if k % 3 == 0 else -(2**63) for k in range(800)])
    same = [s == "train" for s in mart.rows["split"]]
    mart.set("ctx_dense", [[1e-3 * (k % 3)] if train else [1e38] for k, train in enumerate(same)])
    fit_run(stage("01_dnn", epochs=1), mart.write(tmp_path / "marts"), tmp_path / "run")
    check_whole(tmp_path / "run")
    assert read_json(tmp_path / "run" / "dataset.json")["not_finite"] == {}


def alone(name: str, value: Any) -> Callable[[Any], None]:
    return lambda mart: mart.set(name, [value] * len(mart.rows[name]))


def without_lists(mart: Any) -> None:
    n = len(mart.rows["label"])
    for name in ("past_items", "past_titles", "past_labels", "tags"):
        mart.set(name, [None if k % 2 else [] for k in range(n)])
    for name in ("scene_counts", "ctx_ids"):  # of fixed length: NULL is as empty as they get
        mart.set(name, [None] * n)


STRANGE: dict[str, Callable[[Any], Any]] = {
    "one user": alone("user_id", "u0"),
    "one item": alone("item_id", "i0"),
    "a constant": alone("item_rate", 0.5),
    "columns of NULL": lambda mart: [alone(name, None)(mart) for name in ("item_rate", "device", "ctx_dense")],
    "empty lists": without_lists,
    "users of one class": lambda mart: mart.set("user_id", [f"u{label}" for label in mart.rows["label"]]),
    "a scene in train alone": lambda mart: mart.where(mart.split("train") | (np.array(mart.rows["scene"]) != "video")),
    "a scene in test alone": lambda mart: mart.where(mart.split("test") | (np.array(mart.rows["scene"]) != "video")),
}


@pytest.mark.parametrize("what", STRANGE)
@pytest.mark.parametrize("name", ["00_gbdt", "09_interest"])
def test_strange_logs_make_whole_runs(
    name: str, what: str, rich: Any, vectors: Any, stage: Any, tmp_path: Path
) -> None:
    mart = rich(700)
    STRANGE[what](mart)
    small = {"epochs": 1, "min_steps": 1} if name == "09_interest" else {"max_iter": 20}
    marts = mart.write(tmp_path / "marts")
    fit_run(stage(name, calibration="temperature", **small), marts, tmp_path / "run", vectors=vectors(tmp_path / "v"))
    metrics = check_whole(tmp_path / "run")["splits"]["test"]
    if what == "users of one class":
        assert (metrics["gauc"], metrics["gauc_coverage"]) == (None, 0.0)
        assert metrics["undefined"]["gauc"] == "no user has both classes"
    if what == "one user":
        assert metrics["gauc"] == pytest.approx(metrics["auc"])
        assert metrics["auc_low"] == metrics["auc_high"] == pytest.approx(metrics["auc"])
    if what == "a scene in train alone":
        assert metrics["scenes"]["video"]["undefined"]["auc"] == "no rows"


def test_what_is_undefined_is_a_dash_with_a_reason_everywhere(
    toy: Any, stage: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mart = toy(900)
    for k in np.flatnonzero(~mart.split("train")):
        if mart.rows["split"][k] == "val" or mart.rows["scene"][k] == "search":
            mart.rows["label"][k] = 1
    run = tmp_path / "run"
    results = fit_run(stage("01_dnn", epochs=1, calibration="temperature"), mart.write(tmp_path / "marts"), run)
    err = capsys.readouterr().err
    assert "validation could not choose (no rows, or one class only): the last weights are kept." in err
    metrics = check_whole(run)["splits"]
    for one in (metrics["val"], metrics["test"]["scenes"]["search"]):
        assert [one[key] for key in ("auc", "auc_low", "auc_high", "gauc", "pr_auc", "ne")] == [None] * 6
        assert one["undefined"]["auc"] == "one class only"
    assert metrics["val"]["undefined"]["macro_auc"] == "no scene has 30 positives and 30 negatives"
    rows = [(mart.rows["scene"][k], mart.rows["label"][k]) for k in np.flatnonzero(mart.split("test"))]
    large = [s for s in {scene for scene, _ in rows} if min(rows.count((s, 0)), rows.count((s, 1))) >= 30]
    assert metrics["test"]["macro_auc_scenes"] == len(large) > 0
    show(results, as_json=False)
    shown = capsys.readouterr().out
    line = next(line for line in shown.splitlines() if line.startswith("│ val "))
    assert line.count("–") == 3, "AUC, GAUC and NE"
    assert "AUC of val: undefined, one class only." in shown
    assert "AUC of test, scene search: undefined, one class only." in shown
    assert not re.search(r"^AUC of test:", shown, re.M)
    write_report([run], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert '<td title="one class only">–' in page
    assert not re.search(r">\s*(nan|None|inf)\s*<", page)
    found = compare_runs(run, run, resamples=20)
    search = next(part for part in found["parts"] if part["name"] == "search")
    assert search["too_small"] and search["metrics"] == {}
    json.dumps(found, allow_nan=False)


def test_a_ladder_needs_both_classes_on_test_and_says_so_before_it_fits(toy: Any, stage: Any, tmp_path: Path) -> None:
    mart = toy(600)
    for k in np.flatnonzero(mart.split("test")):
        mart.rows["label"][k] = 0
    rungs = [Rung("00_gbdt", stage("00_gbdt"), None)]
    with pytest.raises(TrainerError, match="test rows hold one class only"):
        make_runs(rungs, [1], mart.write(tmp_path / "marts"), tmp_path / "ladder")
    assert not (tmp_path / "ladder").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"learning_rate": 1e30, "epochs": 2}, r"The training loss is (nan|[\d.e+]+) after step \d+ of \d+"),
        ({"embedding_learning_rate": 1e6, "epochs": 2}, r"The training loss is [\d.e+]+ after step \d+ of \d+"),
        # One step: its loss is that of the first weights, and it is the weights that show it.
        (
            {"learning_rate": 1e30, "epochs": 1, "min_steps": 1, "batch_size": 2000},
            r"\d+ of \d+ predictions are no number",
        ),
    ],
)
def test_a_loss_that_explodes_ends_the_fit(
    changes: dict[str, Any], said: str, toy: Any, stage: Any, tmp_path: Path
) -> None:
    with pytest.raises(TrainerError, match=said) as caught:
        fit_run(stage("01_dnn", warmup_steps=0, **changes), toy(900).write(tmp_path / "marts"), tmp_path / "run")
    assert "embedding_learning_rate" in str(caught.value)
    if "epochs" in changes and changes["epochs"] == 2:
        rate = changes.get("learning_rate") or changes["embedding_learning_rate"]
        assert f"learning_rate {rate:g}" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_trees_that_would_explode_are_refused(stage: Any) -> None:
    """Above 1 each tree overshoots; without validation nothing would take it back."""
    with pytest.raises(TrainerError, match=r"model.learning_rate is 1.5. Input should be less than or equal to 1"):
        stage("00_gbdt", learning_rate=1.5)


def test_exploded_weights_are_found_where_nothing_is_held_out(toy: Any, stage: Any, tmp_path: Path) -> None:
    """No validation, no test: no prediction would ever show it."""
    mart = toy(900)
    marts = mart.where(mart.split("train")).write(tmp_path / "marts")
    wild = stage("01_dnn", learning_rate=3e38, epochs=1, min_steps=1, batch_size=2000, warmup_steps=0)
    with pytest.raises(TrainerError, match=r"^Some weights are NaN or infinite after step 1 of 1"):
        fit_run(wild, marts, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("metric", ["auc", "log_loss"])
def test_one_class_on_validation_chooses_nothing_by_either_metric(
    metric: str, toy: Any, stage: Any, tmp_path: Path
) -> None:
    """By log loss the sparsest model would win, whatever it knows; trees and networks decide alike."""
    mart = toy(900)
    for k in np.flatnonzero(mart.split("val")):
        mart.rows["label"][k] = 0
    fit_run(stage("01_dnn", metric=metric, epochs=2, patience=1), mart.write(tmp_path / "marts"), tmp_path / "run")
    training = read_json(tmp_path / "run" / "training.json")
    assert "could not choose" in training["stopped"]
    assert training["best_step"] == training["evaluations"][-1]["step"]
    assert [can_choose(np.array(labels)) for labels in ([], [0, 0], [1], [0, 1])] == [False, False, False, True]


def test_a_sample_of_train_with_one_class_is_refused(toy: Any, stage: Any, tmp_path: Path) -> None:
    mart = toy(600)
    with pytest.raises(TrainerError, match=r"All 1 train rows that max_train_rows \(1\) leaves have the label"):
        fit_run(stage("00_gbdt", max_train_rows=1), mart.write(tmp_path / "marts"), tmp_path / "run")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 0.5, 1e300])
def test_a_label_that_is_neither_0_nor_1_is_named(value: float, toy: Any, stage: Any, tmp_path: Path) -> None:
    mart = toy(300)
    next(c for c in mart.columns if c["name"] == "label")["data_type"] = "double"
    mart.set("label", [float(label) for label in mart.rows["label"]])
    mart.rows["label"][9] = value
    with pytest.raises(TrainerError, match=re.escape(f"Column label: {value:g} in event_date=")):
        fit_run(stage("00_gbdt"), mart.write(tmp_path / "marts"), tmp_path / "run")
