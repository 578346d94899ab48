"""Where the columns lie and how a step is made decide how fast a fit is, and nothing of what comes out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from trainer.base.errors import TrainerError
from trainer.base.files import read_json
from trainer.columns.build import open_columns
from trainer.columns.store import Columns
from trainer.columns.tensors import Reads
from trainer.config import STAGES
from trainer.contract.read import read_contract
from trainer.inputs.batcher import Batcher
from trainer.inputs.features import fit_inputs
from trainer.run.directory import fit_run
from trainer.training import feed
from trainer.training import fit as fitting
from trainer.training.fit import Execution, fit
from trainer.training.optimizers import RowAdam
from trainer.training.schedule import Schedule, for_batch_size
from trainer.training.step import RecordedStep

QUICK: dict[str, Any] = {"epochs": 1, "min_steps": 12}
NETWORKS = sorted(path.stem for path in STAGES.glob("*.yaml") if path.stem[:2] != "00")
ON_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="a GPU records steps; there is none here")


def weights(stage: Any, marts: Path, root: Path, columns_on: feed.Place) -> dict[str, torch.Tensor]:
    contract = read_contract(marts)
    fitted, history = fit(stage, contract, open_columns(contract), root, Execution(columns_on=columns_on))
    assert history.columns_on == columns_on
    return fitted.network.state_dict()


@pytest.mark.parametrize("name", ["02_mmoe", "09_interest", "11_sequence"])
def test_columns_on_the_host_give_the_same_weights(
    name: str, rich: Any, vectors: Any, stage: Any, tmp_path: Path
) -> None:
    marts, root = rich(900).write(tmp_path / "marts"), vectors(tmp_path / "vectors")
    one, other = (weights(stage(name, **QUICK), marts, root, place) for place in ("device", "host"))
    assert all(torch.equal(one[key], other[key]) for key in one)


@ON_GPU
@pytest.mark.parametrize("name", NETWORKS)
def test_a_recorded_step_gives_the_same_weights(
    name: str, rich: Any, vectors: Any, stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marts, root = rich(2000).write(tmp_path / "marts"), vectors(vectors(tmp_path / "vectors"), "smollm2")
    one = weights(stage(name, **QUICK), marts, root, "device")
    monkeypatch.setattr(RecordedStep, "__call__", lambda self, batch, part: self.step(batch, part))
    other = weights(stage(name, **QUICK), marts, root, "device")
    assert all(torch.equal(one[key], other[key]) for key in one)


def columns_of(toy: Any, tmp_path: Path) -> Batcher:
    contract = read_contract(toy(300).write(tmp_path / "marts"))
    columns = open_columns(contract)
    inputs = fit_inputs(columns, contract.inputs, columns.rows("train"), min_count=1, clip=8.0)
    return Batcher(inputs, columns, resident=False)


def test_an_error_while_rows_are_gathered_comes_where_they_were_wanted(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batcher, seen, raw = columns_of(toy, tmp_path), [], Batcher.raw

    def damaged(self: Batcher, rows_B: np.ndarray) -> Any:
        if 7 in rows_B:
            raise TrainerError("row 7 is damaged")
        return raw(self, rows_B)

    monkeypatch.setattr(Batcher, "raw", damaged)
    with pytest.raises(TrainerError, match="row 7"):
        for block in feed.fed(batcher, [np.arange(s, s + 2) for s in range(0, 20, 2)]):
            seen.append(len(block["label_B"]))
    assert seen == [2, 2, 2]


def test_only_a_few_batches_are_gathered_ahead(toy: Any, tmp_path: Path) -> None:
    asked = []

    def rows() -> Any:
        for s in range(50):
            asked.append(s)
            yield np.array([s])

    reading = feed.fed(columns_of(toy, tmp_path), rows())
    next(reading)
    assert len(asked) == feed.AHEAD + 1
    reading.close()
    assert len(asked) == feed.AHEAD + 1


def test_columns_lie_on_a_gpu_if_they_fit(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns: Columns = columns_of(toy, tmp_path).columns
    gpu, needed = torch.device("cuda"), Reads().n_bytes(columns)
    assert needed >= columns.dense_ND.nbytes + columns.codes_NC.nbytes
    for free, fits in ((needed / feed.SHARE + 1, True), (needed / feed.SHARE - 1, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, free=free: (free, 10 * free))
        assert feed.lie_on_device("auto", columns, Reads(), gpu) == fits
    assert feed.lie_on_device("device", columns, Reads(), gpu)
    assert not feed.lie_on_device("host", columns, Reads(), gpu)
    assert feed.lie_on_device("auto", columns, Reads(), torch.device("cpu"))


def test_the_run_says_where_the_columns_lay(toy: Any, stage: Any, tmp_path: Path) -> None:
    fit_run(stage("01_dnn", **QUICK), toy(600).write(tmp_path / "marts"), tmp_path / "run", columns_on="host")
    timing = read_json(tmp_path / "run" / "timing.json")
    assert (timing["device"], timing["columns_on"]) == (fitting.device().type, "host")


def test_adam_by_row_is_sparse_adam() -> None:
    """Rows are met in turns, some never; a row that isn't met keeps its moments."""
    torch.manual_seed(0)
    start = torch.randn(20, 4)
    dense, sparse = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizers = RowAdam([dense], lr=0.1), torch.optim.SparseAdam([sparse], lr=0.1)
    for step in range(12):
        rows = torch.randint(0, 15 - step, (6,))
        for weight, is_sparse in ((dense, False), (sparse, True)):
            weight.grad = None
            found = nn.functional.embedding(rows, weight, sparse=is_sparse)
            (found * torch.arange(1.0, 5)).square().sum().backward()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(dense, sparse)
    assert torch.equal(dense[15:], start[15:])


def test_a_larger_batch_gets_larger_rates(stage: Any) -> None:
    config = stage("02_mmoe", epochs=2, batch_size=100, min_steps=10).training
    larger = for_batch_size(config, 1600, 100_000)
    assert larger.batch_size == Schedule.of(larger, 100_000).batch_size == 1600
    assert larger.learning_rate == pytest.approx(4 * config.learning_rate)
    assert larger.embedding_learning_rate == pytest.approx(4 * config.embedding_learning_rate)
    assert larger.warmup_steps == config.warmup_steps
    # On a small log min_steps keeps batches small, and the rates with them.
    assert for_batch_size(config, 1600, 2_000).learning_rate == pytest.approx(2 * config.learning_rate)


def test_trees_have_no_batch_size(toy: Any, stage: Any, tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match=r"00_gbdt has trees.*Leave --batch-size out"):
        fit_run(stage("00_gbdt"), toy(300).write(tmp_path / "marts"), tmp_path / "run", batch_size=100)


def test_the_batch_size_is_what_the_run_says(toy: Any, stage: Any, tmp_path: Path) -> None:
    one = stage("01_dnn", epochs=1, min_steps=1, batch_size=64)
    fit_run(one, toy(600).write(tmp_path / "marts"), tmp_path / "run", batch_size=256)
    text = (tmp_path / "run" / "config.yaml").read_text()
    assert "batch_size: 256" in text
    assert f"\n  learning_rate: {2 * one.training.learning_rate}" in text
