from __future__ import annotations

import csv
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from storage import atomic
from tests.forkserver import of
from trainer.base.errors import TrainerError
from trainer.run.directory import PROMISED, check_free, evaluate_run, fit_run

STAGES = ("00_gbdt", "01_dnn")


def promised(run: Path) -> dict[str, bytes]:
    """The bytes of every file that the same seed must reproduce."""
    return {
        p.relative_to(run).as_posix(): p.read_bytes()
        for p in [*(run / n for n in PROMISED), *sorted((run / "vocab").iterdir())]
    }


@pytest.mark.parametrize("name", STAGES)
def test_a_run_is_whole_reproducible_and_blind_to_row_order(name: str, toy: Any, stage: Any, tmp_path: Path) -> None:
    one = toy().write(tmp_path / "one" / "marts")
    shuffled = toy().write(tmp_path / "shuffled" / "marts", shuffle=9, files=3)
    fit_run(stage(name), one, tmp_path / "a")
    fit_run(stage(name), one, tmp_path / "b")
    fit_run(stage(name), shuffled, tmp_path / "c")
    first = promised(tmp_path / "a")
    assert first == promised(tmp_path / "b") == promised(tmp_path / "c")
    others = {"lineage.json", "timing.json", "report.html", "DONE", "vocab"}
    assert {p.name for p in (tmp_path / "a").iterdir()} == {*PROMISED, *others}
    assert not list(tmp_path.glob("*.partial*"))
    fit_run(stage(name, seed=5), one, tmp_path / "d")
    other = promised(tmp_path / "d")
    assert other["config.yaml"] != first["config.yaml"]
    if name == "01_dnn":
        assert other["weights.safetensors"] != first["weights.safetensors"]


@pytest.mark.parametrize("name", STAGES)
def test_evaluate_equals_the_metrics_and_the_predictions_support_them(
    name: str, toy: Any, stage: Any, tmp_path: Path
) -> None:
    mart = toy()
    marts = mart.write(tmp_path / "marts")
    fit_run(stage(name), marts, tmp_path / "run")
    results, equal = evaluate_run(tmp_path / "run")
    assert equal is True
    saved = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert results == saved
    table = pq.read_table(tmp_path / "run" / "predictions.parquet").to_pydict()
    label_of = dict(
        zip(
            mart.rows["event_id"],
            zip(mart.rows["label"], mart.rows["scene"], mart.rows["split"], strict=True),
            strict=True,
        )
    )
    assert list(zip(table["label"], table["scene"], table["split"], strict=True)) == [
        label_of[e] for e in table["event_id"]
    ]
    assert len(table["event_id"]) == (~mart.split("train")).sum()
    test = np.array(table["split"]) == "test"
    expected = roc_auc_score(np.array(table["label"])[test], np.array(table["probability"])[test])
    assert saved["splits"]["test"]["auc"] == pytest.approx(expected, abs=1e-12)
    with (tmp_path / "run" / "cold_start.csv").open() as file:
        cells = {(c["split"], c["user_level"], c["item_level"], c["scene"]): c for c in csv.DictReader(file)}
    assert float(cells["test", "all", "all", "all"]["auc"]) == saved["splits"]["test"]["auc"]
    assert int(cells["test", "zero", "all", "all"]["n"]) > 0
    assert cells["test", "all", "zero", "all"]["too_small"] == "True"


def test_evaluate_notices_other_weights_and_other_rows(toy: Any, stage: Any, tmp_path: Path) -> None:
    marts = toy().write(tmp_path / "marts")
    fit_run(stage("01_dnn", epochs=1), marts, tmp_path / "run")
    fit_run(stage("01_dnn", epochs=2), marts, tmp_path / "other")
    fresh = toy(2000, seed=8).write(tmp_path / "fresh" / "marts")
    results, equal = evaluate_run(tmp_path / "run", fresh)
    assert equal is None
    assert results["splits"]["test"]["n"] > 0
    (tmp_path / "other" / "weights.safetensors").rename(tmp_path / "run" / "weights.safetensors")
    with pytest.raises(TrainerError, match=r"weights\.safetensors isn't what the fit of this run wrote"):
        evaluate_run(tmp_path / "run")
    (tmp_path / "run" / "DONE").write_text("")  # as older trainers left it
    assert evaluate_run(tmp_path / "run")[1] is False
    (tmp_path / "run" / "weights.safetensors").write_bytes(b"not weights")
    with pytest.raises(TrainerError, match="can't be read as a finished run"):
        evaluate_run(tmp_path / "run")


def test_evaluate_names_the_input_that_is_gone(toy: Any, stage: Any, tmp_path: Path) -> None:
    fit_run(stage("01_dnn", epochs=1), toy(600).write(tmp_path / "marts"), tmp_path / "run")
    mart = toy(600)
    mart.columns = [c for c in mart.columns if c["name"] != "device"]
    with pytest.raises(TrainerError, match="trained with the input device"):
        evaluate_run(tmp_path / "run", mart.write(tmp_path / "less" / "marts"))


@pytest.mark.parametrize("name", STAGES)
def test_logs_with_holes(name: str, toy: Any, stage: Any, tmp_path: Path) -> None:
    """A scene that train never saw, one with one class in test, unseen users and categories, NaN among the numbers."""
    mart = toy()
    scene = np.array(mart.rows["scene"])
    mart.where(~(mart.split("train") & (scene == "video")))
    scene, test = np.array(mart.rows["scene"]), mart.split("test")
    for k in range(len(scene)):
        if test[k]:
            mart.rows["user_id"][k] = f"stranger{k}"
            mart.rows["device"][k] = "unheard of"
            if scene[k] == "search":
                mart.rows["label"][k] = 1
        if k % 9 == 0:
            mart.rows["item_rate"][k] = float("nan")
    results = fit_run(stage(name), mart.write(tmp_path / "marts"), tmp_path / "run")
    found = results["splits"]["test"]["scenes"]
    assert found["search"]["auc"] is None
    assert found["search"]["undefined"]["auc"] == "one class only"
    assert found["video"]["auc"] is not None
    assert json.loads((tmp_path / "run" / "dataset.json").read_text())["stand_ins"] == {"video": "home"}
    p = pq.read_table(tmp_path / "run" / "predictions.parquet")["probability"].to_numpy()
    assert np.isfinite(p).all() and (p > 0).all() and (p < 1).all()
    assert "predicted as home" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("hole", ["no validation rows", "one class in validation", "no held-out rows"])
def test_validation_that_cannot_choose(name: str, hole: str, toy: Any, stage: Any, tmp_path: Path) -> None:
    mart = toy(1500)
    if hole == "one class in validation":
        for k in np.flatnonzero(mart.split("val")):
            mart.rows["label"][k] = 0
    else:
        mart.where(mart.split("train") | (mart.split("test") & (hole == "no validation rows")))
    results = fit_run(stage(name), mart.write(tmp_path / "marts"), tmp_path / "run")
    assert results["splits"]["val"]["auc"] is None
    assert results["splits"]["val"]["undefined"]["auc"] in ("one class only", "no rows")
    assert "could not choose" in json.loads((tmp_path / "run" / "training.json").read_text())["stopped"]
    assert evaluate_run(tmp_path / "run")[1] is True


@pytest.mark.parametrize("name", STAGES)
def test_train_with_one_class_is_refused(name: str, toy: Any, stage: Any, tmp_path: Path) -> None:
    mart = toy(600).set("label", [1] * 600)
    with pytest.raises(TrainerError, match="train rows have the label 1; expected both"):
        fit_run(stage(name), mart.write(tmp_path / "marts"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert not list(tmp_path.glob(".run.partial*"))


def test_a_finished_run_is_replaced_by_force_alone(toy: Any, stage: Any, tmp_path: Path) -> None:
    marts, run = toy(600).write(tmp_path / "marts"), tmp_path / "run"
    fit_run(stage("00_gbdt"), marts, run)
    before = (run / "config.yaml").read_text()
    with pytest.raises(TrainerError, match=r"is a finished run.*--force"):
        fit_run(stage("00_gbdt", seed=2), marts, run)
    assert (run / "config.yaml").read_text() == before
    fit_run(stage("00_gbdt", seed=2), marts, run, force=True)
    assert "seed: 2" in (run / "config.yaml").read_text()


def test_a_folder_that_is_no_run_is_never_touched(toy: Any, stage: Any, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years of work")
    with pytest.raises(TrainerError, match="isn't a finished run"):
        fit_run(stage("00_gbdt"), toy(600).write(tmp_path / "marts"), tmp_path / "precious", force=True)
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "years of work"


def test_a_killed_run_leaves_no_done_and_the_next_one_cleans_up(toy: Any, stage: Any, tmp_path: Path) -> None:
    marts, run = toy().write(tmp_path / "marts"), tmp_path / "run"
    long = stage("01_dnn", epochs=100_000, patience=1_000_000)
    (tmp_path / "long.yaml").write_text(json.dumps(long.model_dump()))
    command = ("trainer", "fit", "--stage", "long.yaml", "--marts", str(marts), "--run", str(run))
    with of("trainer").running(*command, cwd=tmp_path) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".run.partial*")) and process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
    assert process.code == -signal.SIGKILL, process.said
    assert not run.exists()
    assert len(list(tmp_path.glob(".run.partial*"))) == 1
    fit_run(stage("01_dnn", epochs=1), marts, run)
    assert (run / "DONE").exists()
    assert not list(tmp_path.glob(".run.partial*"))


def test_leftovers_of_the_living_are_left_alone(tmp_path: Path) -> None:
    living, dead = tmp_path / f".run.partial-{os.getpid()}", tmp_path / ".run.partial-999999999"
    living.mkdir()
    dead.mkdir()
    atomic.remove_leftovers(tmp_path / "run")
    assert living.exists() and not dead.exists()


def test_lineage_says_where_it_came_from(toy: Any, stage: Any, tmp_path: Path) -> None:
    mart = toy(600)
    marts = mart.write(tmp_path / "marts")
    manifest = mart.manifest(tmp_path / "manifest.json")
    fit_run(stage("00_gbdt"), marts, tmp_path / "run", manifest=manifest, command="trainer fit ...")
    lineage = json.loads((tmp_path / "run" / "lineage.json").read_text())
    assert lineage["dbt"]["invocation_id"] == "invocation-1"
    assert lineage["dbt"]["manifest"]["invocation_id"] == "invocation-2"
    assert lineage["dbt"]["node_checksums"]["model.first_impression.stg_events"] == "bbbb"
    assert len(lineage["data_hash"]) == len(lineage["content_hash"]) == 64
    assert (lineage["seed"], lineage["command"], lineage["manifest_note"]) == (1, "trainer fit ...", None)
    fit_run(stage("00_gbdt"), marts, tmp_path / "bare")
    bare = json.loads((tmp_path / "bare" / "lineage.json").read_text())
    assert "no manifest" in bare["manifest_note"]


def test_a_run_that_was_moved_away_for_its_successor_comes_back(tmp_path: Path) -> None:
    """kill -9 between the two renames of a fit with --force."""
    (tmp_path / ".run.partial-999999999").mkdir()
    (tmp_path / ".run.partial-999999999-old").mkdir()
    (tmp_path / ".run.partial-999999999-old" / "DONE").touch()
    with pytest.raises(TrainerError, match="is a finished run"):
        check_free(tmp_path / "run", force=False)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_files_left_half_written_by_the_dead_go(tmp_path: Path) -> None:
    living, dead = tmp_path / f".run.html.partial-{os.getppid()}", tmp_path / ".run.html.partial-999999999"
    living.touch()
    dead.touch()
    atomic.text(tmp_path / "run.html", "new")
    assert living.exists() and not dead.exists()


def test_of_two_that_write_the_same_the_first_stays(tmp_path: Path) -> None:
    with atomic.folder(tmp_path / "cache", keep=True) as aside:
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache" / "of the other").touch()
        (aside / "mine").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["cache", "of the other"]


def test_a_fit_outlives_a_page_that_cannot_be_drawn(
    toy: Any, stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Code that isn't installed doesn't know which packages a report needs, and finds out when it draws one."""

    def without_the_package(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'vl_convert'", name="vl_convert")

    monkeypatch.setattr("trainer.report.write_report", without_the_package)
    fit_run(stage("00_gbdt"), toy().write(tmp_path / "marts"), tmp_path / "run")
    assert (tmp_path / "run" / "DONE").exists() and not (tmp_path / "run" / "report.html").exists()
    said = capsys.readouterr().err
    assert "The Python package vl_convert isn't installed" in said and "trainer report --runs" in said
