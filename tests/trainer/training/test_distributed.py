"""Several processes, each with its own days of the mart, fit what one fits; where one fails, all end, and say why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.trainer.toys import Mart
from tests.trainer.training.processes import free_port, together
from trainer.base.errors import TrainerError
from trainer.base.team import Team
from trainer.columns.shares import shares
from trainer.run.directory import PROMISED, evaluate_run, fit_run
from trainer.training.distributed import check_divisible, team
from trainer.training.placebo import as_placebo

ROOT = Path(__file__).parents[3]
# Every batch is all of train, and nothing is drawn: what processes come to differs by the order of sums alone.
WHOLE = {"epochs": 30, "min_steps": 30, "batch_size": 10**6, "threads": 1, "id_dropout": 0.0}
QUICK = {"epochs": 3, "min_steps": 60, "batch_size": 128, "threads": 1}


def without_dropout(name: str, stage: Any) -> Any:
    rates = [key for key in stage(name).model_dump()["model"] if key.endswith("dropout")]
    return stage(name, **WHOLE, **dict.fromkeys(rates, 0.0))


def fitting(stage: Any, marts: Path, run: str, *more: object) -> list[object]:
    path = Path(f"{stage.stage}-{stage.seed}.yaml")
    path.write_text(json.dumps(stage.model_dump(exclude_none=True)))
    return ["fit", "--stage", path, "--marts", marts, "--run", run, *more]


def one_train_day(mart: Mart) -> Mart:
    """Train is the first day alone, so a process has no train row."""
    first = np.array([day == mart.rows["event_date"][0] for day in mart.rows["event_date"]])
    return mart.where(first | ~mart.split("train"))


@pytest.mark.parametrize("kind", ["texts and histories", "a process without train rows"])
def test_two_processes_fit_what_one_fits(
    kind: str, rich: Any, stage: Any, texts: Any, vectors: Any, tmp_path: Path
) -> None:
    mart = rich(2000) if kind == "texts and histories" else one_train_day(rich(2000))
    marts, root = mart.write(tmp_path / "marts"), vectors(tmp_path / "vectors")
    texts(marts)
    one = without_dropout("09_interest" if kind == "texts and histories" else "02_mmoe", stage)
    whole = fit_run(one, marts, tmp_path / "whole", vectors=root)
    before = set((tmp_path / "cache" / "columns").iterdir())
    leader, other = together([fitting(one, marts, "shared", "--vectors", root, "--json")] * 2)
    assert (leader.returncode, other.returncode) == (0, 0), leader.stderr + other.stderr
    assert not other.stdout  # the first process alone writes
    shared = json.loads(leader.stdout)
    for split in ("val", "test"):
        for metric in ("auc", "log_loss"):
            assert shared["splits"][split][metric] == pytest.approx(whole["splits"][split][metric], abs=1e-4)
    names = ["dataset.json", "drift.csv", *(["texts.json"] if one.inputs.texts else [])]
    for name in names:
        files = [(tmp_path / run / name).read_text() for run in ("whole", "shared")]
        assert files[0] == files[1], name
    of_whole, of_shared = (json.loads((tmp_path / run / "lineage.json").read_text()) for run in ("whole", "shared"))
    differ = {key for key, value in of_whole.items() if value != of_shared[key]}
    assert differ == {"command", "processes"}  # content_hash, data_hash, hashes of vectors: those of the whole mart
    ids = [pq.read_table(tmp_path / run / "predictions.parquet")["event_id"] for run in ("whole", "shared")]
    assert ids[0] == ids[1]
    # Each process has read its own days, and the first one afterwards those that the report is about.
    stores = set((tmp_path / "cache" / "columns").iterdir()) - before
    read = [set(json.loads((store / "columns.json").read_text())["days"]) for store in stores]
    every = {f"event_date={day}" for day in mart.rows["event_date"]}
    measured = {
        f"event_date={day}"
        for day, split in zip(mart.rows["event_date"], mart.rows["split"], strict=True)
        if split in ("val", "test")
    }
    read.remove(measured)
    assert len(read) == 2 and read[0] | read[1] == every and not read[0] & read[1]
    assert len(json.loads((tmp_path / "shared" / "timing.json").read_text())["peak_rss_mib_of_processes"]) == 2
    assert evaluate_run(tmp_path / "shared", vectors=root)[1] is True


def test_a_killed_process_ends_the_others_and_resume_goes_on(toy: Any, stage: Any, tmp_path: Path) -> None:
    marts, one = toy(2000).write(tmp_path / "marts"), stage("01_dnn", **QUICK)
    whole = together([fitting(one, marts, "whole")] * 2)
    assert [each.returncode for each in whole] == [0, 0]
    leader, gone = together([fitting(one, marts, "run")] * 2, kill=(1, 25), eager=True)
    assert (leader.returncode, gone.returncode) == (2, -9)
    said = " ".join(leader.stderr.split())
    assert "Another process of this fit is gone" in said and "with --resume" in said and "Traceback" not in said
    assert not (tmp_path / "run").exists() and not list(tmp_path.glob(".run*"))
    resumed = together([fitting(one, marts, "run", "--resume")] * 2, eager=True)
    assert [each.returncode for each in resumed] == [0, 0]
    for name in PROMISED:
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert not (tmp_path / "run.checkpoint").exists()


def test_torchrun_starts_them(toy: Any, stage: Any, tmp_path: Path) -> None:
    """The documented command."""
    marts, one = toy(600).write(tmp_path / "marts"), stage("01_dnn", epochs=1)
    arguments = [str(word) for word in fitting(one, marts, "run", "--json")]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node=2",
            "-m",
            "--",
            "trainer",
            *arguments,
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert json.loads((tmp_path / "run" / "lineage.json").read_text())["processes"] == 2


def test_processes_that_differ_stop_and_say_in_what(toy: Any, stage: Any, tmp_path: Path) -> None:
    marts = toy(600).write(tmp_path / "marts")
    other = toy(600).set("device", ["d0"] * 600).write(tmp_path / "other")
    one, two = stage("01_dnn", epochs=1), stage("01_dnn", seed=2, epochs=1)

    def said_by(*commands: list[object]) -> list[str]:
        ended = together(commands)
        assert [each.returncode for each in ended] == [2, 2]
        return [" ".join(each.stderr.split()) for each in ended]

    for text in said_by(fitting(one, marts, "run"), fitting(two, marts, "run")):
        assert "Process 1 of this fit has another stage than process 0: 'seed: 2' in place of 'seed: 1'" in text
    for text in said_by(fitting(one, marts, "run"), fitting(one, other, "run")):
        assert "Process 1 of this fit has another mart than process 0" in text and "bytes" in text
    first, second = said_by(fitting(one, marts, "run"), fitting(one, tmp_path / "nowhere", "run"))
    assert "No folder" in second and "Process 1 of this fit stopped, on" in first and "No folder" in first
    assert not (tmp_path / "run").exists()


def test_shares_are_as_even_as_the_days_allow() -> None:
    sizes = {"a": 50, "b": 10, "c": 20, "d": 30, "e": 0, "f": 0}
    days = {name: np.array([n, 0 if n else 7, 0]) for name, n in sizes.items()}
    assert shares(days, 2) == [["a", "b"], ["c", "d", "e", "f"]]
    assert sorted(name for own in shares(days, 6) for name in own) == sorted(sizes)
    with pytest.raises(TrainerError, match=r"The mart has 6 days, and this fit has 7 processes: .* Start 6 "):
        shares(days, 7)


def test_stages_that_processes_cannot_share(stage: Any) -> None:
    for one, why in (
        (stage("00_gbdt"), "has trees"),
        (stage("11_sequence"), "reads all outcomes of a user"),
        (as_placebo(stage("05_content_tower")), "is a placebo"),
    ):
        check_divisible(one, Team())
        with pytest.raises(TrainerError, match=f"{one.stage} {why}.*2 processes can't share it.*without torchrun"):
            check_divisible(one, Team(1, 2))


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "WORLD_SIZE is 2, but not set: MASTER_ADDR, MASTER_PORT. Start the processes with torchrun"),
        ({"RANK": "2"}, "RANK is 2 and WORLD_SIZE 2: expected a rank from 0 to 1"),
        ({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "http"}, "is no number"),
        ({"RANK": ""}, "RANK, MASTER"),
        ({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1", "RANK": "1"}, "doesn't reach the others at 127.0.0.1:1"),
    ],
)
def test_an_environment_of_no_process_among_several(
    environment: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"RANK": "0", "WORLD_SIZE": "2"} | environment
    if "RANK" in environment and environment["RANK"] == "2":
        given |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("trainer.training.distributed.JOIN", timedelta(seconds=2))
    with pytest.raises(TrainerError, match=message), team():
        raise AssertionError("a team")
