"""A fit that is killed and resumed ends as one that wasn't."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from tests.forkserver import of
from trainer.base.errors import TrainerError
from trainer.run.directory import PROMISED, fit_run
from trainer.training.checkpoint import Checkpoint
from trainer.training.schedule import Schedule
from trainer.training.step import Step

QUICK = {"epochs": 3, "min_steps": 60, "batch_size": 128, "threads": 1}


def contents(run: Path) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in PROMISED}


@pytest.mark.parametrize("name", ["09_interest", "11_sequence"])
def test_killed_in_mid_epoch_and_resumed_gives_the_same_bytes(
    name: str, rich: Any, stage: Any, vectors: Any, tmp_path: Path
) -> None:
    """kill -9 at some moment after the ninth checkpoint, then on from whatever checkpoint there is."""
    marts, root = rich(2000).write(tmp_path / "marts"), vectors(tmp_path / "vectors")
    one = stage(name, **QUICK)
    fit_run(one, marts, tmp_path / "whole", vectors=root)
    (tmp_path / "one.yaml").write_text(json.dumps(one.model_dump(exclude_none=True)))
    inputs = ("--marts", str(marts), "--vectors", str(root))
    words = ("eager_trainer", "fit", "--stage", "one.yaml", *inputs, "--run", "run")
    kept, kills = tmp_path / "run.checkpoint", 0
    for after in (9, 10**6):
        with of("trainer").running(*words, "--resume", cwd=tmp_path) as fit:
            seen, saved = 0, None
            while fit.is_alive() and seen < after:
                try:
                    found = kept.stat().st_mtime_ns
                except FileNotFoundError:
                    found = None  # not written yet, or the run is finished
                seen += found != saved
                saved = found
                time.sleep(0.001)
            if fit.is_alive():
                fit.kill()
                kills += 1
        assert fit.code in (0, -signal.SIGKILL), fit.said
    assert kills == 1
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")
    assert not list(tmp_path.glob("run.checkpoint*"))


def test_resumed_at_a_known_step(toy: Any, stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped between two evaluations, in the second epoch; the steps before it are not done again."""
    marts, one = toy(2000).write(tmp_path / "marts"), stage("01_dnn", **QUICK)
    fit_run(one, marts, tmp_path / "whole")
    step, steps = Step.__call__, []

    def counted(*arguments: Any, **named: Any) -> float:
        steps.append(1)
        if len(steps) == 25:
            raise KeyboardInterrupt
        return step(*arguments, **named)

    monkeypatch.setattr(Step, "__call__", counted)
    with pytest.raises(KeyboardInterrupt):
        fit_run(one, marts, tmp_path / "run", checkpoint_seconds=0)
    assert (tmp_path / "run.checkpoint").exists()
    before = len(steps)
    fit_run(one, marts, tmp_path / "run", resume=True, checkpoint_seconds=0)
    total = Schedule.of(one.training, sum(s == "train" for s in toy(2000).rows["split"])).n_steps
    assert len(steps) - before == total - 24
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_a_fit_that_had_stopped_is_not_trained_on(
    toy: Any, stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the last evaluation, which found that validation had had enough, and the end of the run."""
    marts = toy(2000).write(tmp_path / "marts")
    one = stage("01_dnn", **QUICK | {"epochs": 30}, learning_rate=0.05, patience=1)
    fit_run(one, marts, tmp_path / "whole")
    assert "did not improve" in (tmp_path / "whole" / "training.json").read_text()
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr("trainer.run.directory.predict_held_out", Mock(side_effect=KeyboardInterrupt))
        fit_run(one, marts, tmp_path / "run", checkpoint_seconds=0)
    monkeypatch.setattr(Step, "__call__", Mock(side_effect=AssertionError("a step more")))
    fit_run(one, marts, tmp_path / "run", resume=True)
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_a_checkpoint_of_another_fit_is_refused(toy: Any, stage: Any, tmp_path: Path) -> None:
    marts = toy(600).write(tmp_path / "marts")
    Checkpoint(tmp_path / "run.checkpoint", "another").save({"progress": {}})
    with pytest.raises(TrainerError, match=r"is of another fit.*leave --resume out"):
        fit_run(stage("01_dnn", **QUICK), marts, tmp_path / "run", resume=True)
    (tmp_path / "run.checkpoint").write_bytes(b"torn")
    with pytest.raises(TrainerError, match="can't be read as a checkpoint"):
        fit_run(stage("01_dnn", **QUICK), marts, tmp_path / "run", resume=True)
    fit_run(stage("01_dnn", epochs=1), marts, tmp_path / "run")  # without --resume it is written over


def test_bfloat16_learns_as_much(toy: Any, stage: Any, tmp_path: Path) -> None:
    marts, one = toy().write(tmp_path / "marts"), stage("02_mmoe")
    plain, amp = (fit_run(one, marts, tmp_path / str(a), amp=a)["splits"]["test"]["auc"] for a in (False, True))
    assert plain != amp
    assert amp == pytest.approx(plain, abs=0.02) and amp > 0.6
    assert json.loads((tmp_path / "True" / "lineage.json").read_text())["amp"] is True
