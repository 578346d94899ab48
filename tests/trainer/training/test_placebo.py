from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trainer.toys import numbered
from trainer.base.errors import TrainerError
from trainer.columns.build import open_columns
from trainer.contract.read import read_contract
from trainer.inputs.text import texts_of_rows
from trainer.inputs.vectors import HISTORY
from trainer.ladder.rungs import read_rungs
from trainer.run.directory import evaluate_run, fit_run
from trainer.serving.onnx import export_run
from trainer.serving.score import score_file
from trainer.training.placebo import as_placebo, seen_by


@pytest.fixture
def texts(stage: Any) -> Any:
    """`texts(seed=2)`: a small stage that reads texts."""
    return lambda **replaced: stage("04_semantic", epochs=1, min_steps=4, **replaced)


def test_texts_are_shuffled_among_their_kind_by_the_seed(rich: Any, texts: Any, tmp_path: Path) -> None:
    columns = open_columns(read_contract(rich(800).write(tmp_path / "marts")))
    stage = as_placebo(texts())
    shuffled = seen_by(stage, columns)
    assert seen_by(texts(), columns) is columns
    moved = [a != b for a, b in zip(columns.text_ids, shuffled.text_ids, strict=True)]
    assert sorted(columns.text_ids) == sorted(shuffled.text_ids)
    assert np.mean(moved) > 0.8
    kind = {numbered(f"{kind}{k}"): kind for kind in "tga" for k in range(200)}
    assert all(kind[a] == kind[b] for a, b in zip(columns.text_ids, shuffled.text_ids, strict=True)), (
        "titles stay titles"
    )
    held = texts_of_rows(columns, ["title_text_id", "tags", "about_user", HISTORY], columns.rows("train"))
    of_train = {columns.text_ids[k - 1] for codes in held.values() for k in codes}
    assert 0 < len(of_train) < len(columns.text_ids)
    assert all((a in of_train) == (b in of_train) for a, b in zip(columns.text_ids, shuffled.text_ids, strict=True))
    assert seen_by(stage, columns).text_ids == shuffled.text_ids
    assert seen_by(as_placebo(texts(seed=2)), columns).text_ids != shuffled.text_ids
    assert shuffled.dictionaries == columns.dictionaries


def test_a_placebo_run_says_so_and_is_good_for_comparing_only(
    rich: Any, texts: Any, stage: Any, vectors: Any, tmp_path: Path
) -> None:
    marts, store = rich(1000).write(tmp_path / "marts"), vectors(tmp_path / "vectors")
    results = fit_run(as_placebo(texts()), marts, tmp_path / "run", vectors=store)
    assert results["stage"] == "04_semantic (texts shuffled)"
    assert "placebo: texts" in (tmp_path / "run" / "config.yaml").read_text()
    assert "(texts shuffled)" in (tmp_path / "run" / "report.html").read_text()
    assert evaluate_run(tmp_path / "run")[1] is True
    with pytest.raises(TrainerError, match="shuffled on purpose"):
        score_file(tmp_path / "run", tmp_path, tmp_path / "out.parquet")
    with pytest.raises(TrainerError, match="shuffled on purpose"):
        export_run(tmp_path / "run", tmp_path / "model.onnx")
    with pytest.raises(TrainerError, match="01_dnn reads no texts"):
        as_placebo(stage("01_dnn"))


def test_the_ladder_holds_a_placebo_against_what_the_real_one_is_held_against(texts: Any, tmp_path: Path) -> None:
    (tmp_path / "04_x.yaml").write_text(json.dumps(texts().model_dump() | {"stage": "04_x"}))
    rungs = read_rungs(["00_gbdt", "04_x.yaml"], placebo=True)
    assert [(r.name, r.previous, r.placebo_of) for r in rungs] == [
        ("00_gbdt", None, None),
        ("04_x", "00_gbdt", None),
        ("04_x (texts shuffled)", "00_gbdt", "04_x"),
    ]
    assert rungs[2].run(tmp_path, 1) != rungs[1].run(tmp_path, 1)
    assert rungs[2].with_seed(3, 1).placebo == "texts"
    with pytest.raises(TrainerError, match="none of the stages reads any"):
        read_rungs(["00_gbdt"], placebo=True)
