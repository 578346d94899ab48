"""11_sequence on new rows: the users' outcomes come from a mart, from Parquet or from a table, and give one answer."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from tests.trainer.serving.scoring import replaced, same_as_the_run
from trainer import load_run
from trainer.base.errors import TrainerError
from trainer.columns.build import open_columns
from trainer.columns.sequences import OutcomeIndex
from trainer.config import load_stage
from trainer.contract.read import read_contract
from trainer.inputs.batcher import Batcher
from trainer.run.directory import fit_run
from trainer.run.importance import run_importance
from trainer.serving.onnx import export_run
from trainer.serving.score import score_file
from trainer.training.fitted import Fitted

UNKNOWN = ("label", "split", "known_at")


@pytest.fixture(params=["plain", "texts"])
def made(
    request: Any, toy: Any, rich: Any, delays: Any, stage: Any, vectors: Any, tmp_path: Path
) -> tuple[Path, Path, pa.Table]:
    """A run, its mart, and all rows of it, those to be scored among them, shuffled."""
    mart = delays(toy(900) if request.param == "plain" else rich(900))
    marts, store = mart.write(tmp_path / "marts"), vectors(tmp_path / "vectors")
    one = stage("11_sequence", epochs=1, min_steps=4, sequence=6)
    if request.param == "texts":
        texts = load_stage("09_interest").inputs.texts.model_copy(update={"dimensions": 8})
        one = one.model_copy(update={"inputs": one.inputs.model_copy(update={"texts": texts})})
    fit_run(one, marts, tmp_path / "run", vectors=store)
    mart_folder = marts / "training_examples_v1"
    table = ds.dataset(mart_folder, exclude_invalid_files=True, partitioning=None).to_table()
    return tmp_path / "run", mart_folder, table.take(pa.array(np.random.default_rng(0).permutation(len(table))))


def scored(run: Path, rows: pa.Table, history: Path, tmp_path: Path) -> pa.Table:
    pq.write_table(rows, tmp_path / "rows.parquet")
    score_file(run, tmp_path / "rows.parquet", tmp_path / "scored.parquet", history=history, force=True)
    return pq.read_table(tmp_path / "scored.parquet")


def test_a_mart_parquet_and_a_table_give_the_runs_probabilities(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, mart, table = made
    rows = table.drop_columns(list(UNKNOWN))
    (tmp_path / "past").mkdir()
    for k in range(3):
        pq.write_table(table.slice(300 * k, 300), tmp_path / "past" / f"{k}.parquet")
    for history in (mart, tmp_path / "past"):
        same_as_the_run(run, scored(run, rows, history, tmp_path))
    monkeypatch.setattr("trainer.serving.source.PREDICT_BATCH", 100)
    same_as_the_run(run, scored(run, rows, tmp_path / "past", tmp_path))
    found = load_run(run, history=table.to_pandas(types_mapper=pd.ArrowDtype)).predict(rows)
    same_as_the_run(run, rows.select(["event_id"]).append_column("probability", pa.array(found)))
    assert {"user_id", "event_at"} <= load_run(run, history=mart).columns.keys()


def test_what_was_known_later_than_a_row_changes_nothing(made: Any, tmp_path: Path) -> None:
    run, _, table = made
    rows = table.drop_columns(list(UNKNOWN))
    instant = pc.quantile(pc.cast(table["event_at"], pa.int64()), 0.7)[0].as_py()
    late = pc.greater_equal(pc.cast(table["known_at"], pa.int64()), int(instant))
    other = table.set_column(
        table.column_names.index("label"), "label", pc.if_else(late, pc.subtract(1, table["label"]), table["label"])
    )
    early = pc.less_equal(pc.cast(rows["event_at"], pa.int64()), int(instant))
    before, after, cut = (
        pa.array(load_run(run, history=past).predict(rows)) for past in (table, other, table.filter(pc.invert(late)))
    )
    assert before.filter(early.combine_chunks()).equals(after.filter(early.combine_chunks()))
    np.testing.assert_allclose(cut.filter(early.combine_chunks()), before.filter(early.combine_chunks()), atol=1e-6)
    assert not before.equals(after)


def test_users_without_outcomes_are_scored_too(made: Any, tmp_path: Path) -> None:
    run, mart, table = made
    rows = replaced("user_id", lambda c: pc.binary_join_element_wise(c, "x", ""))(table.drop_columns(list(UNKNOWN)))
    new = scored(run, rows, mart, tmp_path)["probability"]
    assert pc.all(pc.is_finite(new)).as_py()
    nobody = replaced("user_id", lambda c: pa.nulls(len(c), c.type))(rows)
    np.testing.assert_allclose(scored(run, nobody, mart, tmp_path)["probability"], new, atol=1e-6)
    np.testing.assert_allclose(load_run(run, history=table.slice(0, 0)).predict(rows), new, atol=1e-6)


def test_a_history_that_is_missing_or_wrong_is_told(made: Any, stage: Any, tmp_path: Path) -> None:
    run, mart, table = made
    rows = table.drop_columns(list(UNKNOWN))
    pq.write_table(rows, tmp_path / "rows.parquet")
    with pytest.raises(TrainerError, match=r"11_sequence reads .*no history is given\. Name a mart .*--history"):
        score_file(run, tmp_path / "rows.parquet", tmp_path / "scored.parquet")
    with pytest.raises(TrainerError, match="no history is given"):
        load_run(run)
    with pytest.raises(TrainerError, match=r"has no column label \(int\)"):
        scored(run, rows, tmp_path / "rows.parquet", tmp_path)
    with pytest.raises(TrainerError, match=r"has no column event_at \(timestamp\)"):
        scored(run, rows.drop_columns(["event_at"]), mart, tmp_path)
    with pytest.raises(TrainerError, match="event_at is NULL in 900 rows"):
        scored(run, replaced("event_at", lambda c: pa.nulls(len(c), c.type))(rows), mart, tmp_path)
    with pytest.raises(TrainerError, match="column event_at is string; the run reads it as timestamp"):
        scored(run, replaced("event_at", lambda c: c.cast(pa.string()))(rows), mart, tmp_path)
    with pytest.raises(TrainerError, match="No file or folder"):
        scored(run, rows, tmp_path / "nowhere", tmp_path)
    with pytest.raises(TrainerError, match="Column label: 2 in the history; expected 0 or 1"):
        load_run(run, history=replaced("label", lambda c: pc.add(c, 1))(table)).predict(rows)
    fit_run(stage("01_dnn", epochs=1), mart.parent, tmp_path / "plain")
    with pytest.raises(TrainerError, match=r"01_dnn reads no outcomes of users\. Leave the history out"):
        load_run(tmp_path / "plain", history=mart)


def test_the_graph_scores_the_candidates_of_one_user(made: Any, tmp_path: Path) -> None:
    """Fed by instants, with outcomes among them that aren't known yet."""
    run, mart, _ = made
    about = export_run(run, tmp_path / "model.onnx")
    assert about["largest_difference_to_pytorch"] < 1e-5 and about["window"] == 6
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    names = {i.name for i in session.get_inputs()}
    assert {"at_B", "outcome_at_T", "outcome_known_at_T", "outcome_label_T", "outcome_ids_TF"} <= names
    assert names <= {i["name"] for i in about["inputs"]}
    columns = open_columns(read_contract(mart.parent))
    fitted = Fitted.load(run, load_stage(run / "config.yaml"), tmp_path / "vectors")
    batcher = Batcher(fitted.inputs, columns, tmp_path / "vectors")
    index = OutcomeIndex(columns)
    expected = fitted.logits(columns, np.arange(len(columns)))
    for user in np.unique(columns.codes_of("user"))[::9]:
        own = np.flatnonzero(columns.codes_of("user") == user)
        asked, known = batcher.batch(own), batcher.batch(own)
        feed = {n: getattr(asked, n).numpy() for n in names if hasattr(asked, n)} | {
            "at_B": columns.event_at_N[own],
            "outcome_ids_TF": known.ids_BF.numpy(),
            "outcome_dense_TX": known.dense_BX.numpy(),
            "outcome_scene_T": known.scene_B.numpy(),
            "outcome_label_T": known.label_B.numpy(),
            "outcome_at_T": columns.event_at_N[own],
            "outcome_known_at_T": columns.known_at_N[own],
        }
        if "outcome_text_TCV" in names:
            feed |= {
                "outcome_text_TCV": known.text_BTV.numpy(),
                "outcome_text_there_TC": known.text_there_BT.numpy(),
            }
        found = session.run(["logit"], {n: feed[n] for n in names})[0]
        np.testing.assert_allclose(found, expected[own], atol=1e-4)
    assert index.seen_by(columns).seen_N.max() > 6


def test_what_the_history_is_worth(made: Any) -> None:
    found = {row["name"]: row for row in run_importance(made[0], repeats=1)}
    assert "sequence" in found and "user_id" not in found
    assert found["sequence"]["group"] == "user+history" and found["sequence"]["drop"] != 0


def test_one_instant_is_not_before_itself(made: Any) -> None:
    """A row sees an outcome that was known a microsecond before, and not one that was known at its own instant."""
    run, _, table = made
    row = table.drop_columns(list(UNKNOWN)).slice(0, 1)
    at = row["event_at"][0].as_py()
    past = table.slice(1, 1)
    past = past.set_column(past.column_names.index("user_id"), "user_id", row["user_id"])
    earlier = pa.array([at - timedelta(hours=1)], pa.timestamp("us"))
    past = past.set_column(past.column_names.index("event_at"), "event_at", earlier)
    found = []
    for known in (at - timedelta(microseconds=1), at, at + timedelta(days=1)):
        here = past.set_column(past.column_names.index("known_at"), "known_at", pa.array([known], pa.timestamp("us")))
        found.append(load_run(run, history=here).predict(row)[0])
    nothing = load_run(run, history=past.slice(0, 0)).predict(row)[0]
    assert found[0] != nothing and found[1] == found[2] == pytest.approx(nothing, abs=1e-7)
