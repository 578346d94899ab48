from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trainer.toys import SCENES
from trainer.base.errors import TrainerError
from trainer.columns.build import open_columns
from trainer.contract.read import read_contract
from trainer.evaluation.importance_file import read_importance
from trainer.inputs.batcher import Batcher
from trainer.report import write_report
from trainer.run.directory import fit_run
from trainer.run.importance import parts_of, permutables, run_importance, taken
from trainer.training.fit import fit


def test_signal_drops_and_noise_does_not(toy: Any, stage: Any, tmp_path: Path) -> None:
    fit_run(stage("00_gbdt"), toy(4000).write(tmp_path / "marts"), tmp_path / "run")
    found = run_importance(tmp_path / "run", repeats=3)
    by_name = {row["name"]: row for row in found if row["what"] == "feature"}
    assert by_name["item_rate"]["drop"] > 0.05
    assert by_name["device"]["drop"] > 0.03
    for noise in ("user_count", "ctx_dense.price", "ctx_ids.hour"):
        assert abs(by_name[noise]["drop"]) < 0.02
    assert "user_id" not in by_name, "the trees don't read ids"
    assert {"scene_counts"} == {name for name in by_name if name.startswith("scene_counts")}, (
        "one input, not one a scene"
    )
    groups = {row["name"]: row["drop"] for row in found if row["what"] == "group"}
    assert groups.keys() == {"scene", "item", "user", "context"}
    assert groups["context"] == pytest.approx(by_name["device"]["drop"], abs=0.05)
    assert run_importance(tmp_path / "run", repeats=3) == found, "one seed, one answer"
    assert run_importance(tmp_path / "run", repeats=3, seed=1) != found
    assert run_importance(tmp_path / "run", repeats=1, rows=200)[0]["rows"] == 200
    write_report([tmp_path / "run"], tmp_path / "report.html")
    assert "Importance in run, input" in (tmp_path / "report.html").read_text()
    saved = read_importance(tmp_path / "run")["feature"]
    assert [r["drop"] for r in saved] == sorted((r["drop"] for r in saved), reverse=True)


def test_each_input_is_shuffled_and_nothing_else(rich: Any, stage: Any, vectors: Any, tmp_path: Path) -> None:
    """What the network sees after an input is permuted: that input in another order, all others as they were."""
    contract = read_contract(rich(800).write(tmp_path / "marts"))
    columns = open_columns(contract)
    fitted, _ = fit(stage("09_interest", epochs=1), contract, columns, vectors(tmp_path / "vectors"))
    sample = taken(columns, columns.rows("val"))
    rows = np.arange(len(sample))

    def batch(of: Any) -> dict[str, np.ndarray]:
        b = Batcher(fitted.inputs, of, fitted.vectors).batch(rows)
        past_items = b.past_item_U[b.past_item_BL]
        return {
            "ids": b.ids_BF.numpy(),
            "dense": b.dense_BX.numpy(),
            "scene": b.scene_B.numpy(),
            "level": b.level_BG.numpy(),
            "text": b.text_BTV.numpy(),
            "past": past_items.numpy(),
        }

    whole = Batcher(fitted.inputs, columns, fitted.vectors).batch(columns.rows("val"))
    before = batch(sample)
    np.testing.assert_array_equal(before["text"], whole.text_BTV.numpy())
    order = np.random.default_rng(0).permutation(len(sample))
    found = permutables(fitted.inputs, sample, {f"scene_counts.{scene}": "scene_counts" for scene in SCENES})
    touches = {
        "scene": "scene",
        "device": "ids",
        "item_id": "ids",
        "item_rate": "dense",
        "scene_counts": "dense",
        "user_level": "level",
        "tags": "text",
        "history": "past",
    }
    assert touches.keys() <= {one.name for one in found}
    for one in found:
        after = batch(one.shuffle(sample, order))
        changed = {name for name in before if not np.array_equal(before[name], after[name])}
        assert len(changed) <= 1, one.name
        if one.name in touches:
            assert changed == {touches[one.name]}, one.name
            name = touches[one.name]
            moved = np.any(before[name] != after[name], axis=0)
            np.testing.assert_array_equal(after[name], np.where(moved, before[name][order], before[name]))
            if one.name == "scene_counts":
                assert moved.sum() >= len(SCENES), "every position moves"


def test_validation_that_cannot_tell(toy: Any, stage: Any, tmp_path: Path) -> None:
    mart = toy(900)
    mart.where(~mart.split("val"))
    fit_run(stage("00_gbdt", max_iter=2), mart.write(tmp_path / "marts"), tmp_path / "run")
    with pytest.raises(TrainerError, match="have no AUC that could drop: no rows"):
        run_importance(tmp_path / "run")


def test_parts_of_a_large_sample_share_no_row_and_small_ones_are_whole() -> None:
    few, many = np.arange(900) % 3 == 0, np.arange(30_001) % 3 == 0
    rare = np.arange(20_000) % 400 == 0  # 50 positives
    parts = parts_of(many, 3, seed=0)
    assert [len(part) for part in parts] == [10_001] * 3
    assert len(np.unique(np.concatenate(parts))) == len(many)
    assert all(np.array_equal(part, np.arange(len(few))) for part in parts_of(few, 3, seed=0))
    assert all(len(part) == len(rare) for part in parts_of(rare, 3, seed=0)), "a third would hold 17 positives"
    assert [len(part) for part in parts_of(many, 20, seed=0)] == [4_000] * 20, "parts overlap rather than shrink"
    assert not np.array_equal(parts_of(many, 3, seed=1)[0], parts[0])
