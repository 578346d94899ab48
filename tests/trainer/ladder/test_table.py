from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainer.base.errors import TrainerError
from trainer.ladder.rungs import Rung
from trainer.ladder.table import build_table
from trainer.ladder.truth import true_probabilities, truth_of
from trainer.report.ladder_table import markdown, write_pages
from trainer.run.directory import fit_run

SEEDS = [1, 2]


@pytest.fixture
def ladder(toy: Any, stage: Any, tmp_path: Path) -> tuple[list[Rung], Path]:
    """Three rungs: trees that barely began, better ones, and the very same again under another name."""
    marts = toy(2500).write(tmp_path / "marts")
    rungs = [
        Rung("00_gbdt", stage("00_gbdt", max_iter=1, max_leaf_nodes=2), None),
        Rung("01_dnn", stage("00_gbdt"), "00_gbdt"),
        Rung("02_same", stage("00_gbdt"), "01_dnn"),
    ]
    for rung in rungs:
        for seed in SEEDS:
            rung.run(tmp_path, seed).parent.mkdir(exist_ok=True)
            fit_run(rung.with_seed(seed, 1), marts, rung.run(tmp_path, seed))
    return rungs, tmp_path


def test_differences_and_what_they_claim(ladder: tuple[list[Rung], Path]) -> None:
    rungs, folder = ladder
    found = build_table(rungs, SEEDS, folder, resamples=60, min_class=30, truth=None)
    first, better, same = found["rungs"]
    saved = [json.loads((r.run(folder, 1) / "metrics.json").read_text())["splits"] for r in rungs]
    assert better["test_auc"]["mean"] == pytest.approx(saved[1]["test"]["auc"])
    assert better["val_auc"]["mean"] == pytest.approx(saved[1]["val"]["auc"])
    assert better["log_loss"] == pytest.approx(saved[1]["test"]["log_loss"])
    assert (first["to_previous"], first["to_gbdt"]) == (None, None)
    one = better["to_previous"]["all"]
    assert one["difference"] == pytest.approx(saved[1]["test"]["auc"] - saved[0]["test"]["auc"])
    assert one["verdict"] == "higher" and 0 < one["low"] < one["difference"] < one["high"]
    assert same["to_previous"]["all"]["verdict"] == "not shown"
    assert same["to_gbdt"]["all"]["difference"] == one["difference"]
    assert better["claim"] == {"against": "00_gbdt"} | one
    assert {"all", "scene home", "user level zero"} <= found["parts"].keys()
    assert found["parts"]["scene home"] == saved[0]["test"]["scenes"]["home"]["n"]
    page = markdown(found | {"dataset": "toy", "mart": "v1", "failed": {"09_x": "seed 1: no vectors"}})
    assert "| 02_same |" in page and "not shown: +.0000 (+.0000 – +.0000) [01_dnn]" in page
    assert f"| {one['difference']:+.4f}".replace("0.", ".") in page and "| as claimed |" in page
    assert "09_x is not in the table: seed 1: no vectors" in page
    # The two seeds of these trees are one and the same model.
    assert better["test_auc"]["sd"] == pytest.approx(0)


def test_seeds_are_averaged_within_a_sample(ladder: tuple[list[Rung], Path]) -> None:
    """A rung with one good and one poor seed lies half way, with all of its samples."""
    rungs, folder = ladder
    poor, good = (build_table([r], [1], folder, resamples=40, min_class=30, truth=None) for r in rungs[:2])
    (folder / "mixed").mkdir()
    for seed, rung in ((1, rungs[0]), (2, rungs[1])):
        rung.run(folder, 1).rename(folder / "mixed" / f"seed_{seed}")
    mixed = build_table([replace(rungs[0], name="mixed")], SEEDS, folder, resamples=40, min_class=30, truth=None)
    aucs = [t["rungs"][0]["test_auc"]["mean"] for t in (poor, good)]
    assert mixed["rungs"][0]["test_auc"]["mean"] == pytest.approx(np.mean(aucs))
    assert mixed["rungs"][0]["test_auc"]["sd"] == pytest.approx(np.std(aucs, ddof=1))
    low, high = mixed["rungs"][0]["auc_low_high"]
    assert poor["rungs"][0]["auc_low_high"][0] < low < high < good["rungs"][0]["auc_low_high"][1]


def truth(folder: Path, run: Path, probability: np.ndarray, drop: int = 0) -> Path:
    table = pq.read_table(run / "predictions.parquet")
    table = pa.table({"event_id": table["event_id"], "true_probability": probability}).slice(drop)
    order = np.random.default_rng(0).permutation(len(table))
    pq.write_table(table.take(pa.array(order)), folder / "truth.parquet")
    return folder / "truth.parquet"


def test_the_bayes_auc_and_a_rung_above_it(ladder: tuple[list[Rung], Path]) -> None:
    rungs, folder = ladder
    run = rungs[1].run(folder, 1)
    table = pq.read_table(run / "predictions.parquet").to_pandas()
    own = table.probability.to_numpy()
    knows = np.clip(own + 0.4 * (table.label.to_numpy() - 0.5), 0.01, 0.99)
    found = build_table(rungs, SEEDS, folder, resamples=60, min_class=30, truth=truth(folder, run, knows))
    assert found["above_bayes"] == []
    assert found["rungs"][1]["bayes"]["verdict"] == "lower"
    assert 0 < found["bayes"]["auc"]["all"] < 1
    assert found["rungs"][2]["gap_closed"] == {"share": 0, "low": 0, "high": 0}
    assert found["rungs"][1]["gap_closed"] is None, "the gap is counted from here"
    poor = table.probability.to_numpy() + np.random.default_rng(0).normal(0, 1, len(table))
    found = build_table(rungs, SEEDS, folder, resamples=60, min_class=30, truth=truth(folder, run, poor))
    assert {"01_dnn", "02_same"} <= set(found["above_bayes"])
    assert found["rungs"][2]["gap_closed"] is None, "there is no gap"
    page = found | {"dataset": "toy", "mart": "v1", "failed": {}}
    assert "01_dnn is above the Bayes AUC" in markdown(page)
    write_pages(folder / "pages", page)
    assert json.loads((folder / "pages" / "ladder.json").read_text()) == json.loads(json.dumps(page))
    svg = (folder / "pages" / "ladder.svg").read_text()
    assert svg.startswith("<svg") and "Bayes" in svg and "02_same" in svg and "prefers-color-scheme" in svg


def test_the_truth_of_another_log_is_no_ceiling(ladder: tuple[list[Rung], Path]) -> None:
    rungs, folder = ladder
    run = rungs[0].run(folder, 1)
    table = pq.read_table(run / "predictions.parquet")
    p = np.linspace(0, 1, len(table))
    np.testing.assert_array_equal(true_probabilities(truth(folder, run, p), table["event_id"].combine_chunks()), p)
    assert true_probabilities(truth(folder, run, p, drop=1), table["event_id"].combine_chunks()) is None
    assert truth_of("toy", None) is None
    with pytest.raises(TrainerError, match=r"No file .*nothing\.parquet with true probabilities"):
        truth_of("toy", folder / "nothing.parquet")
    parts = folder / "parts" / "truth"
    parts.mkdir(parents=True)
    whole = pq.read_table(truth(folder, run, p))
    half = len(whole) // 2
    pq.write_table(whole[half:], parts / "true_probabilities_part0.parquet")
    assert true_probabilities(parts, table["event_id"].combine_chunks()) is None, "a part is missing"
    pq.write_table(whole[:half], parts / "true_probabilities_part1.parquet")
    np.testing.assert_array_equal(true_probabilities(parts, table["event_id"].combine_chunks()), p)
    pq.write_table(table, folder / "truth.parquet")
    with pytest.raises(TrainerError, match="expected columns event_id and true_probability"):
        true_probabilities(folder / "truth.parquet", table["event_id"].combine_chunks())
