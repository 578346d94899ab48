from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.forkserver import of
from trainer.ladder.running import _fit
from trainer.run.directory import fit_run
from trainer.training.checkpoint import Checkpoint
from trainer.training.step import Step


def ladder(*arguments: str) -> subprocess.CompletedProcess:
    return of("trainer").run("trainer", "ladder", *arguments, cwd=Path.cwd())


def write(stage: Any, tmp_path: Path, name: str, kind: str, **replaced: Any) -> str:
    raw = stage(kind, **replaced).model_dump() | {"stage": name}
    (tmp_path / f"{name}.yaml").write_text(json.dumps(raw))
    return f"{name}.yaml"


def test_a_ladder_that_is_killed_goes_on_where_it_stopped(toy: Any, stage: Any, tmp_path: Path) -> None:
    toy(900).write(tmp_path / "data" / "marts" / "toy")
    quick = write(stage, tmp_path, "00_quick", "00_gbdt", max_iter=2)
    slow = write(stage, tmp_path, "01_slow", "01_dnn", epochs=100_000, patience=1_000_000)
    folder = tmp_path / "runs" / "ladder" / "toy"
    words = ("trainer", "ladder", "--dataset", "toy", "--stages", f"{quick},{slow}")
    with of("trainer").running(*words, cwd=tmp_path) as process:
        deadline = time.monotonic() + 120
        while not list(folder.glob("01_slow/.seed_1.partial*")) and process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
    assert process.code == -signal.SIGKILL, process.said
    finished = (folder / "00_quick" / "seed_1" / "DONE").stat().st_mtime_ns
    child = int(next(folder.glob("01_slow/.seed_1.partial*")).name.split("-")[-1])
    deadline = time.monotonic() + 20
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{child}").exists(), "the child outlived its parent"
    assert not (folder / "ladder.json").exists()
    write(stage, tmp_path, "01_slow", "01_dnn", epochs=1)
    again = ladder("--dataset", "toy", "--stages", quick, "--stages", slow, "--json")
    assert again.returncode == 0, again.stderr
    assert "1 finished runs are kept, 1 are to be made" in again.stderr
    assert (folder / "00_quick" / "seed_1" / "DONE").stat().st_mtime_ns == finished
    assert json.loads(again.stdout) == json.loads((folder / "ladder.json").read_text())
    assert [line["name"] for line in json.loads(again.stdout)["rungs"]] == ["00_quick", "01_slow"]
    assert not list(folder.rglob("*.partial*"))


def test_a_fit_that_was_killed_goes_on_from_its_checkpoint_if_it_is_the_same_fit(
    toy: Any, stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mart, one = toy(900).write(tmp_path / "marts") / "training_examples_v1", stage("01_dnn", epochs=3, min_steps=40)
    step, steps = Step.__call__, []

    def counted(*arguments: Any, **named: Any) -> float:
        steps.append(1)
        if len(steps) == 30:
            raise KeyboardInterrupt
        return step(*arguments, **named)

    def fit(name: str) -> int:
        steps.clear()
        _fit(one.model_dump(), mart, tmp_path / name / "seed_1", None, None, "")
        return len(steps)

    monkeypatch.setattr(Step, "__call__", counted)
    with pytest.raises(KeyboardInterrupt):
        fit_run(one, mart.parent, tmp_path / "a" / "seed_1", checkpoint_seconds=0)
    monkeypatch.setattr(Step, "__call__", lambda *a, **n: steps.append(1) or step(*a, **n))
    whole = fit("whole")
    assert fit("a") == whole - 29
    (tmp_path / "b").mkdir()
    Checkpoint(tmp_path / "b" / "seed_1.checkpoint", "another").save({"progress": {}})
    assert fit("b") == whole
    weights = {(tmp_path / name / "seed_1" / "weights.safetensors").read_bytes() for name in ("whole", "a", "b")}
    assert len(weights) == 1


def test_a_rung_that_fails_is_named_and_the_others_are_made(toy: Any, stage: Any, tmp_path: Path) -> None:
    toy(900).write(tmp_path / "marts")
    good = write(stage, tmp_path, "00_good", "00_gbdt", max_iter=2)
    bad = write(stage, tmp_path, "01_bad", "01_dnn", epochs=1, learning_rate=1e30)
    found = ladder("--marts", "marts", "--stages", f"{bad},{good}", "--jobs", "2", "--output", "out")
    assert found.returncode == 2
    assert "Not all rungs were fitted. 01_bad, seed" in found.stderr
    assert "Traceback" not in found.stderr
    page = json.loads((tmp_path / "out" / "ladder.json").read_text())
    assert [line["name"] for line in page["rungs"]] == ["00_good"]
    assert page["seeds"] == [1]
    assert page["failed"].keys() == {"01_bad"}


def test_it_asks_for_one_log(tmp_path: Path) -> None:
    for arguments in ((), ("--dataset", "toy", "--marts", "x")):
        found = ladder(*arguments)
        assert found.returncode == 2
        assert "Say which log" in found.stderr
