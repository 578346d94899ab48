from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.forkserver import of


def trainer(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return of("trainer").run("trainer", *map(str, arguments), cwd=Path.cwd())


def small(stage: Any, name: str, tmp_path: Path) -> Path:
    path = tmp_path / f"{name}.yaml"
    path.write_text(json.dumps(stage(name, **({"epochs": 1} if name == "01_dnn" else {})).model_dump()))
    return path


def test_fit_evaluate_report(toy: Any, stage: Any, tmp_path: Path) -> None:
    marts = toy(1000).write(tmp_path / "marts")
    fitted = trainer(
        "fit", "--stage", small(stage, "01_dnn", tmp_path), "--marts", marts, "--run", "runs/x", "--seed", "3", "--json"
    )
    assert fitted.returncode == 0, fitted.stderr
    saved = json.loads((tmp_path / "runs" / "x" / "metrics.json").read_text())
    assert json.loads(fitted.stdout) == saved
    assert saved["seed"] == 3
    lineage = json.loads((tmp_path / "runs" / "x" / "lineage.json").read_text())
    assert lineage["command"].startswith("trainer fit --stage")
    evaluated = trainer("evaluate", "--run", "runs/x")
    assert evaluated.returncode == 0, evaluated.stderr
    assert "Equal to" in evaluated.stderr
    assert f"{saved['splits']['test']['auc']:.4f}" in evaluated.stdout
    saved["splits"]["test"]["auc"] = 0.99
    (tmp_path / "runs" / "x" / "metrics.json").write_text(json.dumps(saved))
    changed = trainer("evaluate", "--run", "runs/x")
    assert changed.returncode == 2
    assert "metrics.json isn't what the fit of this run wrote" in changed.stderr
    (tmp_path / "runs" / "x" / "DONE").write_text("")  # an older trainer's: no hashes
    assert trainer("evaluate", "--run", "runs/x").returncode == 1
    reported = trainer("report", "--runs", "runs/x", "--output", "runs/report.html")
    assert reported.returncode == 0, reported.stderr
    assert (tmp_path / "runs" / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "--stage", "01_dnn", "--marts", "nowhere", "--run", "r"], "No folder nowhere"),
        (["fit", "--stage", "02_dnn", "--marts", ".", "--run", "r"], "did you mean '01_dnn'"),
        (["evaluate", "--run", "nowhere"], "nowhere doesn't exist"),
        (["report", "--runs", "nowhere", "--output", "r.html"], "nowhere doesn't exist"),
        (["compare", "nowhere", "there"], "nowhere doesn't exist"),
        (["importance", "--run", "nowhere"], "nowhere doesn't exist"),
        (["score", "--run", "nowhere", "--input", ".", "--output", "o.parquet"], "holds no .parquet files"),
        (["export", "--run", "nowhere", "--output", "m.onnx"], "nowhere doesn't exist"),
        (["ladder", "--dataset", "nowhere"], "No folder data/marts/nowhere"),
    ],
)
def test_bad_input_is_a_message_and_exit_code_2(arguments: list[str], message: str) -> None:
    found = trainer(*arguments)
    assert found.returncode == 2
    assert message in found.stderr
    assert "Traceback" not in found.stderr
    assert found.stdout == ""


def test_version_and_help() -> None:
    assert trainer("--version").stdout.startswith("trainer 0.")
    commands = re.findall(r"^│ (\w+) ", trainer("--help").stdout.split("Commands")[1], re.MULTILINE)
    own = {
        "fit",
        "ladder",
        "evaluate",
        "compare",
        "importance",
        "score",
        "export",
        "replay",
        "report",
        "serve",
        "state",
    }
    assert own == set(commands)
    for command in commands:
        assert f"Example: trainer {command} " in " ".join(trainer(command, "--help").stdout.split()), command
