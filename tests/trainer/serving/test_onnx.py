from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest

from trainer.base.errors import TrainerError
from trainer.columns.build import open_columns
from trainer.config import load_stage
from trainer.contract.read import read_contract
from trainer.evaluation.calibration import Calibration
from trainer.inputs.batcher import Batcher
from trainer.run.directory import fit_run
from trainer.serving.onnx import export_run
from trainer.training.fitted import Fitted


def test_the_graph_gives_the_runs_own_probabilities(toy: Any, stage: Any, tmp_path: Path) -> None:
    marts, run = toy(1200).write(tmp_path / "marts"), tmp_path / "run"
    fit_run(stage("01_dnn", epochs=1, calibration="temperature"), marts, run)
    assert Calibration.load(run)
    about = export_run(run, tmp_path / "model.onnx")
    assert about["largest_difference_to_pytorch"] < 1e-5
    assert json.loads((tmp_path / "model.onnx.json").read_text()) == about
    columns = open_columns(read_contract(marts))
    rows = columns.rows("test")
    encoder = Batcher(Fitted.load(run, load_stage(run / "config.yaml")).inputs, columns)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    batch = encoder.batch(rows)
    feed = {i.name: getattr(batch, i.name).numpy() for i in session.get_inputs()}
    assert feed.keys() == {"ids_BF", "dense_BX", "scene_B"}
    table = pq.read_table(run / "predictions.parquet").to_pandas()
    expected = table[table.split == "test"].probability
    np.testing.assert_allclose(session.run(["probability"], feed)[0], expected, atol=1e-5)
    one = {name: array[:1] for name, array in feed.items()}
    np.testing.assert_allclose(session.run(["probability"], one)[0], expected[:1], atol=1e-5)
    assert not list(tmp_path.glob("*.partial*"))


@pytest.mark.parametrize("name", ["06_llm_fallback", "09_interest", "10_match", "12_entity_match"])
def test_texts_levels_and_histories_are_inputs_by_name(
    name: str, rich: Any, stage: Any, vectors: Any, tmp_path: Path
) -> None:
    marts, store = rich(900).write(tmp_path / "marts"), vectors(vectors(tmp_path / "vectors"), "smollm2")
    fit_run(stage(name, epochs=1, min_steps=4), marts, tmp_path / "run", vectors=store)
    about = export_run(tmp_path / "run", tmp_path / "model.onnx")
    columns = open_columns(read_contract(marts))
    fitted = Fitted.load(tmp_path / "run", load_stage(tmp_path / "run" / "config.yaml"), store)
    batch = Batcher(fitted.inputs, columns, store).batch(columns.rows("test"))
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    names = {i.name for i in session.get_inputs()}
    assert names <= {i["name"] for i in about["inputs"]}
    assert {"text_BTV", "text_there_BT"} <= names
    assert ("llm_BTV" in names, "past_item_U" in names) == (name[:2] == "06", name[:2] in ("09", "10"))
    found = session.run(["probability"], {n: getattr(batch, n).numpy() for n in names})[0]
    table = pq.read_table(tmp_path / "run" / "predictions.parquet").to_pandas()
    np.testing.assert_allclose(found, table[table.split == "test"].probability, atol=1e-5)


def test_the_guide_is_enough_to_encode_a_row(toy: Any, stage: Any, tmp_path: Path) -> None:
    """By the JSON file and the vocabularies alone, as someone without this code would."""
    mart, run = toy(1200), tmp_path / "run"
    fit_run(stage("01_dnn", epochs=1), mart.write(tmp_path / "marts"), run)
    guide = export_run(run, tmp_path / "model.onnx")
    k = int(np.flatnonzero(mart.split("test"))[3])
    row = {name: values[k] for name, values in mart.rows.items()}
    spread = {"scene_counts": ("home", "search", "video"), "ctx_dense": ("price",), "ctx_ids": ("city", "hour")}
    for name, positions in spread.items():
        for j, position in enumerate(positions):
            row[f"{name}.{position}"] = None if row[name] is None else row[name][j]
    ids = []
    for f in guide["fields"]:
        vocabulary = json.loads((run / "vocab" / f"{f['name']}.json").read_text())
        value, first = row[f["name"]], 1 + f["has_missing"]
        index = int(f["has_missing"]) if value is None else 0
        ids.append(f["offset"] + (first + vocabulary.index(value) if value in vocabulary else index))
    numbers, flags = [], []
    for d in guide["dense"]:
        x = row[d["name"]]
        if d["has_missing"]:
            flags.append(float(x is None))
        if x is not None:
            x = np.sign(x) * np.log1p(abs(x)) if d["transform"] == "log1p" else x
            x = np.clip((x - d["mean"]) * d["scale"], -guide["clip"], guide["clip"])
        numbers.append(x or 0.0)
    feed = {
        "ids_BF": np.array([ids], np.int64),
        "dense_BX": np.array([numbers + flags], np.float32),
        "scene_B": np.array([guide["scenes"].index(row["scene"])], np.int64),
    }
    table = pq.read_table(run / "predictions.parquet").to_pandas().set_index("event_id")
    found = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(["probability"], feed)[0]
    assert found[0] == pytest.approx(table.probability[row["event_id"]], abs=1e-5)


def test_what_cannot_be_exported(toy: Any, stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marts = toy(900).write(tmp_path / "marts")
    fit_run(stage("00_gbdt", max_iter=2), marts, tmp_path / "trees")
    with pytest.raises(TrainerError, match=r"gradient-boosted trees .*trainer score"):
        export_run(tmp_path / "trees", tmp_path / "model.onnx")
    fit_run(stage("01_dnn", epochs=1), marts, tmp_path / "run")
    monkeypatch.setattr("trainer.serving.onnx._difference", lambda *_: float("nan"))
    with pytest.raises(TrainerError, match="differ by nan"):
        export_run(tmp_path / "run", tmp_path / "model.onnx")
    assert not list(tmp_path.glob("model*"))
    (tmp_path / "model.onnx").write_text("mine")
    with pytest.raises(TrainerError, match="exists already"):
        export_run(tmp_path / "run", tmp_path / "model.onnx")
