from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression

from trainer.base.errors import TrainerError
from trainer.columns.build import open_columns
from trainer.config import load_stage
from trainer.contract.read import read_contract
from trainer.inputs.batcher import Batcher
from trainer.run.directory import fit_run
from trainer.serving.onnx import export_run
from trainer.serving.score import score_file
from trainer.training.fitted import Fitted


@pytest.fixture
def fitted(toy: Any, rates: Any, stage: Any, tmp_path: Path) -> tuple[Any, Path]:
    mart = rates(toy(3000))
    one = load_stage("00_floor")
    fit_run(one.model_copy(update={"threads": 1}), mart.write(tmp_path / "marts"), tmp_path / "run")
    return mart, tmp_path / "run"


def test_it_is_a_logistic_regression_on_two_log_odds(fitted: tuple[Any, Path]) -> None:
    """Against scikit-learn's, from the mart's own values: NULL is the train mean, with a flag."""
    mart, run = fitted
    x = np.array([mart.rows[f"{group}_click_rate_cum"] for group in ("user", "item")], float).T
    x = np.clip(x, 1e-4, 1 - 1e-4)
    odds = np.log(x / (1 - x))
    missing = np.isnan(odds)
    train, test = mart.split("train"), mart.split("test")
    odds = np.where(missing, np.nanmean(odds[train], axis=0), odds)
    inputs = np.concatenate([odds, missing], axis=1)
    label = np.array(mart.rows["label"])
    expected = LogisticRegression(C=1e6, max_iter=1000).fit(inputs[train], label[train]).predict_proba(inputs[test])
    table = pq.read_table(run / "predictions.parquet").to_pandas().set_index("event_id")
    found = table.probability[np.array(mart.rows["event_id"])[test]].to_numpy()
    np.testing.assert_allclose(found, expected[:, 1], atol=0.05)  # the weights that validation chose
    assert np.corrcoef(found, expected[:, 1])[0, 1] > 0.999
    assert json.loads((run / "metrics.json").read_text())["splits"]["test"]["auc"] > 0.55


def test_it_reads_two_numbers_and_nothing_else(fitted: tuple[Any, Path], tmp_path: Path) -> None:
    """No other column is needed to score, and the graph is that of these two."""
    _, run = fitted
    features = json.loads((run / "features.json").read_text())
    assert [d["name"] for d in features["dense"]] == ["user_click_rate_cum", "item_click_rate_cum"]
    assert {d["transform"] for d in features["dense"]} == {"logit"} and features["codes"] == []
    rows = pq.read_table(next((tmp_path / "marts").rglob("*.parquet")))
    pq.write_table(rows.select(["event_id", "scene", "user_click_rate_cum", "item_click_rate_cum"]), "rows.parquet")
    score_file(run, Path("rows.parquet"), Path("scored.parquet"))
    assert pq.read_table("scored.parquet").num_rows == rows.num_rows
    about = export_run(run, tmp_path / "model.onnx")
    assert about["largest_difference_to_pytorch"] < 1e-5 and "logit" in about["transforms"]
    columns = open_columns(read_contract(tmp_path / "marts"))
    batch = Batcher(Fitted.load(run, load_stage(run / "config.yaml")).inputs, columns).batch(columns.rows("test"))
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    feed = {i.name: getattr(batch, i.name).numpy() for i in session.get_inputs()}
    assert batch.dense_BX.shape[1] == 4 and batch.ids_BF.shape[1] == 0
    table = pq.read_table(run / "predictions.parquet").to_pandas()
    found = session.run(["probability"], feed)[0]
    np.testing.assert_allclose(found, table[table.split == "test"].probability, atol=1e-5)


@pytest.mark.parametrize("gone", [("user",), ("user", "item")])
def test_a_mart_without_the_rates_is_named(
    gone: tuple[str, ...], toy: Any, rates: Any, stage: Any, tmp_path: Path
) -> None:
    mart = rates(toy(400))
    names = [f"{group}_click_rate_cum" for group in gone]
    mart.columns = [c for c in mart.columns if c["name"] not in names]
    with pytest.raises(TrainerError, match=f"The mart has no {', '.join(names)}. Name those it has in model.rates"):
        fit_run(stage("00_floor"), mart.write(tmp_path / "marts"), tmp_path / "run")


def test_rates_of_0_and_1_are_finite(toy: Any, rates: Any, stage: Any, tmp_path: Path) -> None:
    mart = rates(toy(600), weight=0.0 + 1e-12)
    assert {0.0, 1.0} & {round(r, 9) for r in mart.rows["user_click_rate_cum"] if r is not None}
    fit_run(stage("00_floor"), mart.write(tmp_path / "marts"), tmp_path / "run")
    p = pq.read_table(tmp_path / "run" / "predictions.parquet")["probability"].to_numpy()
    assert ((p > 0) & (p < 1)).all()
