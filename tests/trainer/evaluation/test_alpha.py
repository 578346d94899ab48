from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from trainer.inputs.batch import Batch
from trainer.models.dnn import DNN
from trainer.run.directory import evaluate_run, fit_run


def test_alpha_by_row_and_by_cell(toy: Any, stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate that tells the scene: .1 at home, .2 in search, .3 on video."""

    def gate(_: DNN, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        return 0.1 + 0.1 * batch.scene_B.to(torch.float32), torch.zeros_like(batch.label_B)

    monkeypatch.setattr(DNN, "alpha_and_content", gate, raising=False)
    fit_run(stage("01_dnn", epochs=1), toy(1200).write(tmp_path / "marts"), tmp_path / "run")
    table = pq.read_table(tmp_path / "run" / "predictions.parquet").to_pandas()
    expected = table.scene.map({"home": 0.1, "search": 0.2, "video": 0.3})
    np.testing.assert_allclose(table.alpha, expected, atol=1e-6)
    with (tmp_path / "run" / "cold_start.csv").open() as file:
        cells = list(csv.DictReader(file))
    for cell in cells:
        own = table[table.split == cell["split"]]
        for key in ("user_level", "item_level", "scene"):
            own = own if cell[key] == "all" else own[own[key] == cell[key]]
        assert (cell["alpha"] == "") == (len(own) == 0)
        if len(own):
            assert float(cell["alpha"]) == pytest.approx(own.alpha.mean())
    with (tmp_path / "run" / "cold_start_pivot.csv").open() as file:
        assert "alpha video" in next(csv.reader(file))
    assert "mean alpha of run by levels" in (tmp_path / "run" / "report.html").read_text()
    assert evaluate_run(tmp_path / "run")[1] is True


def test_a_model_without_a_gate_has_no_alpha(toy: Any, stage: Any, tmp_path: Path) -> None:
    fit_run(stage("00_gbdt", max_iter=2), toy(900).write(tmp_path / "marts"), tmp_path / "run")
    assert "alpha" not in pq.read_table(tmp_path / "run" / "predictions.parquet").column_names
    with (tmp_path / "run" / "cold_start.csv").open() as file:
        assert all(cell["alpha"] == "" for cell in csv.DictReader(file))
    assert "mean alpha of run" not in (tmp_path / "run" / "report.html").read_text()
