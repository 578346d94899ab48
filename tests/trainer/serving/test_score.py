from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.trainer.serving.scoring import replaced, rows_of, same_as_the_run, scored
from tests.trainer.toys import as_of_before
from trainer.base.errors import TrainerError
from trainer.run.directory import fit_run
from trainer.serving.score import score_file

ROOT = Path(__file__).parents[3]


def test_the_probabilities_of_the_run_in_the_order_of_the_rows(small: Any, tmp_path: Path) -> None:
    run, table = small
    found = scored(run, table, tmp_path, keep=("scene",))
    assert found.column_names == ["event_id", "user_id", "item_id", "scene", "probability"]
    assert found["event_id"].equals(table["event_id"])
    same_as_the_run(run, found)
    assert not list(tmp_path.glob("*.partial*"))


def test_trees_need_no_ids(toy: Any, stage: Any, tmp_path: Path) -> None:
    marts = toy(900).write(tmp_path / "marts")
    fit_run(stage("00_gbdt", max_iter=10), marts, tmp_path / "run")
    found = scored(tmp_path / "run", rows_of(marts).drop_columns(["user_id", "item_id"]), tmp_path)
    assert found.column_names == ["event_id", "probability"]
    same_as_the_run(tmp_path / "run", found)


def test_runs_and_rows_of_before_and_after_text_ids_were_numbers(
    rich: Any, stage: Any, vectors: Any, tmp_path: Path
) -> None:
    marts = rich(1000).write(tmp_path / "marts")
    before, store = as_of_before(rich(1000)).write(tmp_path / "before"), vectors(tmp_path / "vectors")
    small = stage("09_interest", epochs=1, min_steps=4)
    for mart, run in ((marts, "run"), (before, "run before")):
        fit_run(small, mart, tmp_path / run, vectors=store)
        for rows in (marts, before):
            same_as_the_run(tmp_path / run, scored(tmp_path / run, rows_of(rows), tmp_path))
    weights = [(tmp_path / run / "weights.safetensors").read_bytes() for run in ("run", "run before")]
    assert weights[0] == weights[1]
    floats = rows_of(marts)
    at = floats.column_names.index("title_text_id")
    floats = floats.set_column(at, "title_text_id", floats["title_text_id"].cast(pa.float64(), safe=False))
    of_floats = r"title_text_id of .* of the type double .*dtype_backend=.pyarrow.*Expected ids of the texts mart"
    with pytest.raises(TrainerError, match=of_floats):
        scored(tmp_path / "run", floats, tmp_path)


@pytest.mark.parametrize("name", ["06_llm_fallback", "09_interest"])
def test_texts_levels_and_histories(
    name: str, rich: Any, stage: Any, vectors: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marts, store = rich(1000).write(tmp_path / "marts"), vectors(vectors(tmp_path / "vectors"), "smollm2")
    fit_run(stage(name, epochs=1, min_steps=4), marts, tmp_path / "run", vectors=store)
    same_as_the_run(tmp_path / "run", scored(tmp_path / "run", rows_of(marts), tmp_path))
    monkeypatch.setattr("trainer.serving.source.PREDICT_BATCH", 100)  # many blocks: each knows its own texts and ids
    same_as_the_run(tmp_path / "run", scored(tmp_path / "run", rows_of(marts), tmp_path))
    table = rows_of(marts)
    table = table.set_column(table.column_names.index("tags"), "tags", pa.array([["new"]] * len(table)))
    assert pc.all(pc.is_finite(scored(tmp_path / "run", table, tmp_path)["probability"])).as_py()
    if name != "09_interest":
        return
    shorter = pc.list_slice(table["past_labels"], 0, 1)
    table = table.set_column(table.column_names.index("past_labels"), "past_labels", shorter)
    with pytest.raises(TrainerError, match="past_labels and past_items differ in length"):
        scored(tmp_path / "run", table, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop_columns(["device"]), r"no column device \(string\)"),
        (lambda t: t.rename_columns({"device": "devise"}), "did you mean 'devise'"),
        (replaced("device", lambda c: pc.utf8_length(c)), "column device is int32; the run reads it as string"),
        (
            replaced("item_rate", lambda c: c.cast(pa.string())),
            "column item_rate is string; the run reads it as double",
        ),
        (replaced("ctx_ids", lambda c: pc.list_element(c, 0)), r"column ctx_ids is string; .* string\[\]"),
        (replaced("ctx_ids", lambda c: pc.list_slice(c, 0, 1)), "ctx_ids: a list of 1 elements in .*; expected 2"),
        (
            replaced("scene", lambda c: pc.replace_substring(c, "home", "hom")),
            "'hom' in .*did you mean 'home'",
        ),
        (replaced("scene", lambda c: pc.if_else(pc.equal(c, "home"), None, c)), r"scene is NULL in \d+ rows"),
    ],
)
def test_rows_that_cannot_be_scored(small: Any, change: Any, message: str, tmp_path: Path) -> None:
    run, table = small
    with pytest.raises(TrainerError, match=message):
        scored(run, change(table), tmp_path)
    assert not (tmp_path / "scored.parquet").exists()
    assert not list(tmp_path.glob("*.partial*"))


def test_rows_that_are_strange_and_fine(small: Any, tmp_path: Path) -> None:
    """Unseen ids, NULLs everywhere, other spellings of the types, more columns, no rows."""
    run, table = small
    expected = scored(run, table, tmp_path)["probability"]
    other = replaced("device", lambda c: c.dictionary_encode())(table)
    other = replaced("scene_counts", lambda c: c.cast(pa.large_list(pa.float32())))(other)
    other = replaced("user_count", lambda c: c.cast(pa.int16()))(other).append_column("extra", table["event_id"])
    np.testing.assert_allclose(scored(run, other, tmp_path)["probability"], expected, atol=1e-6)
    unseen = replaced("user_id", lambda c: pc.binary_join_element_wise(c, "x", ""))(table)
    assert pc.all(pc.is_finite(scored(run, unseen, tmp_path)["probability"])).as_py()
    empty = table
    for name in ("user_id", "item_rate", "device", "scene_counts", "ctx_ids", "ctx_dense"):
        empty = replaced(name, lambda c: pa.nulls(len(c), c.type))(empty)
    no_type = replaced("device", lambda c: pa.nulls(len(c)))(replaced("ctx_ids", lambda c: pa.nulls(len(c)))(empty))
    p = scored(run, empty, tmp_path)["probability"]
    assert pc.all(pc.is_finite(p)).as_py()
    np.testing.assert_array_equal(scored(run, no_type, tmp_path)["probability"], p)
    none = scored(run, table.slice(0, 0), tmp_path)
    assert (len(none), none.column_names) == (0, ["event_id", "user_id", "item_id", "probability"])


def test_a_column_that_is_there_twice(small: Any, tmp_path: Path) -> None:
    run, table = small
    twice = pa.Table.from_arrays([*table.columns, table["scene"]], names=[*table.column_names, "scene"])
    pq.write_table(twice, tmp_path / "twice.parquet")
    with pytest.raises(TrainerError, match="has the column scene 2 times"):
        score_file(run, tmp_path / "twice.parquet", tmp_path / "o.parquet")
    note = table["event_id"].cast(pa.binary())
    other = pa.Table.from_arrays([*table.columns, note, note], names=[*table.column_names, "note", "note"])
    pq.write_table(other, tmp_path / "other.parquet")
    score_file(run, tmp_path / "other.parquet", tmp_path / "o.parquet")


def test_bad_places(small: Any, tmp_path: Path) -> None:
    run, table = small
    pq.write_table(table, tmp_path / "rows.parquet")
    (tmp_path / "there.parquet").write_text("mine")
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.parquet").write_text("no parquet")
    for source, output, message in (
        ("rows.parquet", "there.parquet", "exists already"),
        ("nowhere", "o.parquet", "No file or folder"),
        ("empty", "o.parquet", "holds no .parquet files"),
        ("bad.parquet", "o.parquet", "can't be read as Parquet"),
    ):
        with pytest.raises(TrainerError, match=message):
            score_file(run, tmp_path / source, tmp_path / output)
    assert (tmp_path / "there.parquet").read_text() == "mine"
    with pytest.raises(TrainerError, match=r"--keep scen: .*did you mean 'scene'"):
        score_file(run, tmp_path / "rows.parquet", tmp_path / "o.parquet", keep=("scen",))


def test_memory_does_not_grow_with_the_rows(small: Any, tmp_path: Path) -> None:
    """Twenty times the rows, in one row group: the peak may grow by what a row group's pages take, not by its rows."""
    run, table = small
    peaks = []
    for name, times in (("small", 20), ("large", 400)):
        pq.write_table(pa.concat_tables([table] * times), tmp_path / f"{name}.parquet", row_group_size=1 << 30)
        found = subprocess.run(
            [
                sys.executable,
                "-m",
                "trainer",
                "score",
                "--run",
                run,
                "--input",
                tmp_path / f"{name}.parquet",
                "--output",
                tmp_path / f"{name}.scored.parquet",
                "--json",
            ],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )
        assert found.returncode == 0, found.stderr
        result = json.loads(found.stdout)
        assert result["rows"] == 1200 * times
        peaks.append(result["peak_rss_mib"])
    as_arrays = pa.concat_tables([table] * 400).nbytes / 2**20
    assert as_arrays > 60
    assert peaks[1] - peaks[0] < 0.6 * as_arrays
