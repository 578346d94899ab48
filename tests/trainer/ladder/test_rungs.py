from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trainer
from embeddings import VectorStore
from tests.trainer.toys import numbered
from trainer.base import code_hash as code
from trainer.base.errors import TrainerError
from trainer.columns.build import open_mart
from trainer.ladder.rungs import read_rungs, why_redo
from trainer.run.directory import fit_run


def stages(folder: Path, **compares_to: str | None) -> list[str]:
    """Stage files named by the keys, all of them trees."""
    from trainer.config import load_stage

    out = []
    for name, other in compares_to.items():
        raw = load_stage("00_gbdt").model_dump() | {"stage": name, "compares_to": other}
        (folder / f"{name}.yaml").write_text(json.dumps(raw))
        out.append(str(folder / f"{name}.yaml"))
    return out


def test_the_trainers_own_stages_in_order() -> None:
    rungs = read_rungs(None)
    assert [r.name for r in rungs][:3] == ["00_floor", "00_gbdt", "01_dnn"]
    assert [r.name for r in rungs] == sorted(r.name for r in rungs)
    assert rungs[0].previous is None
    names = [r.name for r in rungs]
    for k, rung in enumerate(rungs[1:], start=1):
        assert rung.previous == (rung.stage.compares_to or names[k - 1])
        assert rung.previous in names[:k]


def test_a_rung_is_held_against_the_one_it_names_else_the_one_before(tmp_path: Path) -> None:
    rungs = read_rungs(stages(tmp_path, a=None, b=None, c="a"))
    assert [r.previous for r in rungs] == [None, "a", "a"]
    # 03_x is known to be no stage at all; 01_dnn is one, but not in this ladder.
    assert [r.previous for r in read_rungs(stages(tmp_path, a=None, b=None, c="01_dnn"))] == [None, "a", "b"]
    with pytest.raises(TrainerError, match=r"c: compares_to names 01_dn, no stage \(did you mean '01_dnn'\?\)"):
        read_rungs(stages(tmp_path, a=None, c="01_dn"))
    with pytest.raises(TrainerError, match="Two stages are named a"):
        read_rungs(stages(tmp_path, a=None) * 2)


def test_a_run_is_kept_while_stage_rows_and_code_are_the_same(
    toy: Any, stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, run = stage("00_gbdt", max_iter=2), tmp_path / "run"
    assert why_redo(run, small, "x") == "not there yet"
    fit_run(small, toy(600).write(tmp_path / "marts"), run)
    rows = json.loads((run / "lineage.json").read_text())["content_hash"]
    assert why_redo(run, small, rows) is None
    assert why_redo(run, stage("00_gbdt", max_iter=2, threads=7), rows) is None
    assert why_redo(run, stage("00_gbdt", max_iter=3), rows) == "the stage has changed"
    assert why_redo(run, stage("00_gbdt", seed=2, max_iter=2), rows) == "the stage has changed"
    assert why_redo(run, small, "other rows") == "the mart's rows have changed"
    monkeypatch.setattr("trainer.ladder.rungs.version_of", lambda package: "0.0")
    assert "another version of torch" in (why_redo(run, small, rows) or "")
    monkeypatch.setattr("trainer.ladder.rungs.code_hash", lambda: "other code")
    assert why_redo(run, small, rows) == "the trainer's code has changed"
    (run / "lineage.json").write_text("{")
    assert why_redo(run, small, rows) == "its files can't be read"


def test_of_the_vectors_those_of_the_marts_own_texts_count(rich: Any, vectors: Any, stage: Any, tmp_path: Path) -> None:
    """Other logs' texts come to the store and go, and its files are written anew: the ladder is kept."""
    small, run, root = stage("04_semantic", epochs=1), tmp_path / "run", tmp_path / "vectors"
    vectors(root, leave_out=("t39",))
    fit_run(small, rich(900).write(tmp_path / "marts"), run, vectors=root)
    own = open_mart(tmp_path / "marts", None, None)[1].text_ids
    assert {*numbered(["t3", "t39"])} < set(own)
    rows = json.loads((run / "lineage.json").read_text())["content_hash"]
    (path,) = root.iterdir()
    recipe, dim, rng = VectorStore.open(path).recipe, VectorStore.open(path).dim, np.random.default_rng(0)

    def encode(*ids: str) -> None:
        with VectorStore.writer(root, recipe, dim) as store:
            store.append(ids, rng.normal(size=(len(ids), dim)).astype(np.float32))

    assert why_redo(run, small, rows, own) is None
    encode("t1000", "a-text-of-another-log", *(f"x{k}" for k in range(500)))
    assert why_redo(run, small, rows, own) is None
    with VectorStore.writer(root, recipe, dim) as store:
        assert store.drop({*own, numbered("x7")}) > 500
    assert why_redo(run, small, rows, own) is None
    encode("t39")
    assert why_redo(run, small, rows, own) == "the vectors have changed"
    with VectorStore.writer(root, recipe, dim) as store:
        store.drop({*own} - {numbered("t39")})
    assert why_redo(run, small, rows, own) is None
    with VectorStore.writer(root, recipe, dim) as store:
        store.drop({*own} - {*numbered(["t39", "t3"])})
    encode("t3")
    assert why_redo(run, small, rows, own) == "the vectors have changed", "another vector for the same text"
    shutil.rmtree(path)
    assert why_redo(run, small, rows, own) == "the vectors have changed"


def test_code_that_only_reads_runs_leaves_them_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"training/loop.py": True, "models/layers/basic.py": True, "config.py": True, "base/new.py": True}
    changes |= {"report/page.py": False, "cli/common.py": False, "serving/score.py": False, "api.py": False}
    for name in changes:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("one = 1\n")
    for folder in code._FOLDERS:
        (tmp_path / folder).mkdir(exist_ok=True)
    monkeypatch.setattr(code, "_TRAINER", tmp_path)

    def hashed() -> str:
        code.code_hash.cache_clear()
        return code.code_hash()

    before = hashed()
    for name, moves in changes.items():
        (tmp_path / name).write_text("one = 2\n")
        assert (hashed() != before) == moves, name
        before = hashed()
    monkeypatch.undo()
    code.code_hash.cache_clear()


def test_every_folder_below_run_counts() -> None:
    """The folders that the code's hash covers are those that `run` may import, without the report."""
    contract = tomllib.loads((Path(trainer.__file__).parents[1] / "pyproject.toml").read_text())
    layers = next(c for c in contract["tool"]["importlinter"]["contracts"] if c["type"] == "layers")["layers"]
    below_run = set(layers[layers.index("run") :]) - {"report"}
    assert below_run == {*code._FOLDERS, *(Path(name).stem for name in code._FILES)}
