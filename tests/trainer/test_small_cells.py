"""A scene with one positive: no AUC of it is shown, averaged or compared, wherever one looks."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.base.errors import TrainerError
from trainer.cli.common import show
from trainer.cli.comparing import _add_part
from trainer.evaluation.compare import compare_runs
from trainer.ladder.rungs import Rung
from trainer.ladder.running import make_runs
from trainer.ladder.table import build_table
from trainer.report import write_report
from trainer.report.ladder_table import markdown
from trainer.run.directory import fit_run
from trainer.run.importance import run_importance

SMALL = "video"


def one_positive(mart: Any, splits: tuple[str, ...], scenes: tuple[str, ...] = (SMALL,)) -> Any:
    """The mart with one positive left in the scenes of each of the splits."""
    of_scene = np.isin(mart.rows["scene"], scenes)
    for split in splits:
        for k, at in enumerate(np.flatnonzero(mart.split(split) & of_scene)):
            mart.rows["label"][at] = int(k == 3)
    return mart


@pytest.fixture
def run(toy: Any, stage: Any, tmp_path: Path) -> Path:
    marts = one_positive(toy(1500), ("val", "test")).write(tmp_path / "marts")
    fit_run(stage("00_gbdt", max_iter=20), marts, tmp_path / "run")
    return tmp_path / "run"


def with_old_aucs(run: Path) -> None:
    """What an older trainer wrote: an AUC of every two rows."""
    saved = json.loads((run / "metrics.json").read_text())
    for split in saved["splits"].values():
        one = split["scenes"][SMALL]
        one |= {"auc": 0.1357, "auc_low": 0.1246, "auc_high": 0.1468, "gauc": 0.1579, "pr_auc": 0.1680, "undefined": {}}
        split |= {"macro_auc": 0.4321, "macro_auc_scenes": 3}
    (run / "metrics.json").write_text(json.dumps(saved))
    with (run / "cold_start.csv").open(newline="") as file:
        cells = list(csv.DictReader(file))
    for cell in cells:
        if cell["scene"] == SMALL:
            cell |= {"auc": 0.1357, "auc_low": 0.1246, "auc_high": 0.1468, "too_small": False}
    with (run / "cold_start.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, cells[0].keys())
        writer.writeheader()
        writer.writerows(cells)


def test_metrics_cells_and_the_table_of_fit(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = json.loads((run / "metrics.json").read_text())
    for split in saved["splits"].values():
        small, others = split["scenes"][SMALL], [one for name, one in split["scenes"].items() if name != SMALL]
        assert small["positives"] == 1
        assert [small[name] for name in ("auc", "auc_low", "auc_high", "gauc", "pr_auc")] == [None] * 5
        assert split["macro_auc"] == pytest.approx(np.mean([one["auc"] for one in others]))
        assert split["macro_auc_scenes"] == 2
    with (run / "cold_start.csv").open(newline="") as file:
        cells = [cell for cell in csv.DictReader(file) if cell["scene"] == SMALL]
    assert len(cells) > 2 and {cell["auc"] for cell in cells} == {""}
    with (run / "cold_start_pivot.csv").open(newline="") as file:
        assert {row[f"auc {SMALL}"] for row in csv.DictReader(file)} == {""}
    show(saved, as_json=False)
    shown = capsys.readouterr().out
    assert f"Macro AUC of test: {saved['splits']['test']['macro_auc']:.4f} (2 of 3 scenes)." in shown
    line = next(line for line in shown.splitlines() if SMALL in line)
    assert "0." not in line.split("│")[3], line
    assert f"AUC of test, scene {SMALL}: undefined, fewer than 30 positives or negatives (1 and " in " ".join(
        shown.split()
    )


def test_the_report_of_a_run_new_or_old(run: Path, tmp_path: Path) -> None:
    for old in (False, True):
        if old:
            with_old_aucs(run)
        write_report([run], tmp_path / "report.html")
        page = (tmp_path / "report.html").read_text()
        assert "2 of 3 scenes" in page
        assert 'title="fewer than 30 positives or negatives (1 and ' in page
        assert not [value for value in ("0.1357", "0.1246", "0.1468", "0.4321") if value in page]


def test_compare(run: Path, stage: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit_run(stage("00_gbdt", max_iter=1), tmp_path / "marts", tmp_path / "poor")
    found = compare_runs(tmp_path / "poor", run, resamples=30)
    small = next(part for part in found["parts"] if part["name"] == SMALL)
    assert small["too_small"] and small["metrics"] == {}
    macro = found["parts"][0]["metrics"]["macro_auc"]
    assert (macro["scenes"], macro["of_scenes"]) == (2, 3)
    assert macro["b"] == json.loads((run / "metrics.json").read_text())["splits"]["test"]["macro_auc"]
    rows: list[tuple[Any, ...]] = []
    table = type("Table", (), {"add_row": lambda _, *cells, **__: rows.append(cells)})()
    _add_part(table, found["parts"][0])
    assert "macro AUC (2 of 3 scenes)" in {cells[1] for cells in rows}


def test_no_scene_has_an_auc(toy: Any, stage: Any, tmp_path: Path) -> None:
    mart = toy(700)
    for name in ("home", "search", "video"):
        one_positive(mart, ("test",), (name,))
    fit_run(stage("00_gbdt", max_iter=2), mart.write(tmp_path / "marts"), tmp_path / "run")
    test = json.loads((tmp_path / "run" / "metrics.json").read_text())["splits"]["test"]
    assert (test["positives"], test["auc"], test["macro_auc"], test["macro_auc_scenes"]) == (3, None, None, 0)
    assert test["undefined"]["macro_auc"] == "no scene has 30 positives and 30 negatives"
    found = compare_runs(tmp_path / "run", tmp_path / "run", resamples=20)
    assert all(part["too_small"] and not part["metrics"] for part in found["parts"])
    with pytest.raises(TrainerError, match="fewer than 30 positives or negatives: there is no AUC"):
        make_runs([Rung("00_gbdt", stage("00_gbdt"), None)], [1], tmp_path / "marts", tmp_path / "ladder")


def test_the_ladder(run: Path, stage: Any, tmp_path: Path) -> None:
    rung = Rung("00_gbdt", stage("00_gbdt", max_iter=20), None)
    (tmp_path / "00_gbdt").mkdir()
    run.rename(rung.run(tmp_path, 1))
    found = build_table([rung], [1], tmp_path, resamples=20, min_class=30, truth=None)
    assert f"scene {SMALL}" in found["too_small"] and f"scene {SMALL}" not in found["parts"]
    assert found["rungs"][0]["macro_auc_scenes"] == [2, 3]
    assert "(2 of 3 scenes)" in markdown(found | {"dataset": "toy", "mart": "v1", "failed": {}})


def test_validation_with_one_positive_chooses_by_log_loss_and_has_no_importance(
    toy: Any, stage: Any, tmp_path: Path
) -> None:
    mart = one_positive(toy(900), ("val",), ("home", "search", "video"))
    fit_run(stage("01_dnn", epochs=2, metric="auc"), mart.write(tmp_path / "marts"), tmp_path / "run")
    training = json.loads((tmp_path / "run" / "training.json").read_text())
    assert {one["val_auc"] for one in training["evaluations"]} == {None}
    best = min(training["evaluations"], key=lambda one: one["val_log_loss"])
    assert training["best_step"] == best["step"]
    with pytest.raises(TrainerError, match=r"no AUC that could drop: fewer than 30 positives or negatives \(1 and "):
        run_importance(tmp_path / "run")


def test_a_stage_may_ask_for_more_than_30_and_not_for_fewer(stage: Any) -> None:
    assert stage("00_gbdt", min_class=100).evaluation.min_class == 100
    with pytest.raises(TrainerError, match=r"evaluation.min_class is 5. Input should be greater than or equal to 30"):
        stage("00_gbdt", min_class=5)
