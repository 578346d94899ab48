from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.report.markup import drawing
from trainer.base.errors import TrainerError
from trainer.report import write_report
from trainer.report.related import runs_of


def ladder(folder: Path, content_hash: str, **more: Any) -> Path:
    """A ladder of two rungs, the second one above the first."""

    def spread(mean: float) -> dict[str, float]:
        return {"mean": mean, "sd": 0.001}

    def line(name: str, auc: float, step: dict[str, Any] | None) -> dict[str, Any]:
        means = dict.fromkeys(("macro_auc", "gauc", "log_loss", "ne", "ece"), 0.5)
        return means | {
            "name": name,
            "previous": step and "00_gbdt",
            "val_auc": spread(auc),
            "test_auc": spread(auc),
            "auc_low_high": [auc - 0.01, auc + 0.01],
            "to_previous": step and {"all": step},
            "to_gbdt": step and {"all": step},
            "parameters": 1234,
            "rows_per_second": None,
            "gap_closed": None,
        }

    step = {"difference": 0.0213, "low": 0.01, "high": 0.03, "verdict": "higher"}
    found = {
        "dataset": "toy",
        "mart": "training_examples_v1",
        "content_hash": content_hash,
        "seeds": [1, 2],
        "test_rows": 300,
        "users": 60,
        "definition": "Over seeds.",
        "bayes": {"auc": {"all": 0.9111}},
        "rungs": [line("00_gbdt", 0.7, None), line("01_dnn", 0.7213, step)],
    }
    (folder / "ladder.json").write_text(json.dumps(found | more))
    return folder / "ladder.json"


def test_a_ladders_folder_stands_for_its_runs(tmp_path: Path) -> None:
    assert runs_of(tmp_path / "run") == [tmp_path / "run"]
    path = ladder(tmp_path, "")
    assert runs_of(tmp_path) == [tmp_path], "an older ladder doesn't name its runs"
    found = json.loads(path.read_text())
    for line in found["rungs"]:
        line["runs"] = [f"{line['name']}/seed_1", f"{line['name']}/seed_2"]
    path.write_text(json.dumps(found))
    names = [run.relative_to(tmp_path).as_posix() for run in runs_of(tmp_path)]
    assert names == ["00_gbdt/seed_1", "00_gbdt/seed_2", "01_dnn/seed_1", "01_dnn/seed_2"]
    path.write_text("{}")
    with pytest.raises(TrainerError, match="is no ladder: it lacks dataset"):
        runs_of(tmp_path)


def test_the_ladder_beside_or_above_the_runs(runs: list[Path], tmp_path: Path) -> None:
    own = json.loads((runs[0] / "lineage.json").read_text())["content_hash"]
    (tmp_path / "rung").mkdir()
    below = runs[0].rename(tmp_path / "rung" / "seed_1")
    ladder(tmp_path, own)
    for run in (runs[1], below):
        write_report([run], tmp_path / "report.html")
        html = (tmp_path / "report.html").read_text().replace("\u00a0", " ")
        assert "01_dnn" in drawing(html, "The ladder on toy")
        assert "<td>+.0213<small>(+.0100 – +.0300) [00_gbdt]</small></td>" in html
        assert "0.9111" in html
        assert "gap to Bayes" not in html, "no rung has a share of it"
    (below / "DONE").unlink()
    write_report([below], tmp_path / "report.html")
    assert "The ladder" not in (tmp_path / "report.html").read_text(), "an old ladder in a new run's own report"
    (below / "DONE").touch()
    ladder(tmp_path, "of other rows")
    write_report([below], tmp_path / "report.html")
    assert "The ladder" not in (tmp_path / "report.html").read_text()
    write_report([below], tmp_path / "report.html", ladder=tmp_path)
    assert "The ladder on toy" in (tmp_path / "report.html").read_text()
    with pytest.raises(TrainerError, match=r"gone\.json can't be read .*trainer ladder"):
        write_report([below], tmp_path / "report.html", ladder=tmp_path / "gone.json")
    (tmp_path / "ladder.json").write_text("{}")
    with pytest.raises(TrainerError, match="is no ladder: it lacks dataset"):
        write_report([below], tmp_path / "report.html", ladder=tmp_path / "ladder.json")
    write_report([below], tmp_path / "report.html")
    assert "The ladder" not in (tmp_path / "report.html").read_text()
