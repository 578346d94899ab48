"""Every stage of the trainer's own: builds, trains, and comes back from disk as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.columns.build import open_columns
from trainer.config import STAGES
from trainer.contract.read import read_contract
from trainer.run.directory import evaluate_run, fit_run
from trainer.training.fit import fit
from trainer.training.fitted import Fitted

NETWORKS = sorted(p.stem for p in STAGES.glob("*.yaml") if p.stem != "00_gbdt")
QUICK = {"epochs": 1, "min_steps": 4, "batch_size": 512, "evaluations_per_epoch": 1}


@pytest.fixture
def root(vectors: Any, tmp_path: Path) -> Path:
    return vectors(vectors(tmp_path / "vectors"), "smollm2")


@pytest.mark.parametrize("name", NETWORKS)
def test_trains_and_comes_back(name: str, rich: Any, rates: Any, stage: Any, root: Path, tmp_path: Path) -> None:
    marts = rates(rich(1500)).write(tmp_path / "marts")
    one = stage(name, **QUICK)
    fit_run(one, marts, tmp_path / "run", vectors=root)
    assert evaluate_run(tmp_path / "run")[1] is True
    columns = open_columns(read_contract(marts))
    loaded = Fitted.load(tmp_path / "run", one, root)
    again, _ = fit(one, read_contract(marts), columns, root)
    rows = columns.rows("test")
    np.testing.assert_array_equal(loaded.logits(columns, rows), again.logits(columns, rows))
    # A row's logit is its own: neighbours in the batch don't move it (but for rounding).
    np.testing.assert_allclose(loaded.logits(columns, rows[5:9]), loaded.logits(columns, rows)[5:9], atol=1e-5)
    saved = json.loads((tmp_path / "run" / "dataset.json").read_text())
    assert saved["text_coverage"] == {t.encoder: 1.0 for t in (one.inputs.texts, one.inputs.llm) if t}


def test_one_scene_is_enough(rich: Any, stage: Any, root: Path, tmp_path: Path) -> None:
    mart = rich(900)
    mart.set("scene", ["home"] * 900)
    mart.record = {"vars": mart.build_record()["vars"] | {"scenes": ["home"]}}
    mart.set("scene_counts", [None if c is None else c[:1] for c in mart.rows["scene_counts"]])
    contract = read_contract(mart.write(tmp_path / "marts"))
    columns = open_columns(contract)
    for name in ("02_mmoe", "07_star", "09_interest", "10_match", "11_sequence"):
        fitted, _ = fit(stage(name, **QUICK), contract, columns, root)
        assert np.isfinite(fitted.logits(columns, columns.rows("test"))).all()


def test_interest_without_texts(rich: Any, stage: Any, tmp_path: Path) -> None:
    mart = rich(900)
    mart.columns = [c for c in mart.columns if "text_id" not in (c["meta"]["role"], c["meta"].get("of"))]
    contract = read_contract(mart.write(tmp_path / "marts"))
    columns = open_columns(contract)
    one = stage("09_interest", **QUICK)
    one = one.model_copy(update={"inputs": one.inputs.model_copy(update={"texts": None})})
    fitted, _ = fit(one, contract, columns)
    assert np.isfinite(fitted.logits(columns, columns.rows("test"))).all()
