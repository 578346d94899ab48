from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import trainer
from tests.trainer.serving.scoring import rows_of
from trainer import TrainerError, load_run
from trainer.run.directory import fit_run
from trainer.serving.score import score_file

ROOT = Path(__file__).parents[2]


@pytest.fixture
def small(toy: Any, stage: Any, tmp_path: Path) -> tuple[Path, pa.Table]:
    marts = toy(900).write(tmp_path / "marts")
    fit_run(stage("01_dnn", epochs=1, min_steps=4, calibration="temperature"), marts, tmp_path / "run")
    return tmp_path / "run", rows_of(marts)


def test_what_score_writes_in_the_order_of_the_rows(
    small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, table = small
    for block in (None, 100):
        if block:
            monkeypatch.setattr("trainer.serving.source.PREDICT_BATCH", block)
            monkeypatch.setattr("trainer.api.PREDICT_BATCH", block)
        pq.write_table(table, tmp_path / "rows.parquet")
        score_file(run, tmp_path / "rows.parquet", tmp_path / "scored.parquet", force=True)
        found = load_run(str(run)).predict(table)
        assert (found.dtype, found.shape) == (np.float64, (900,))
        np.testing.assert_array_equal(found, pq.read_table(tmp_path / "scored.parquet")["probability"])
    backwards = table.take(pa.array(np.arange(900)[::-1]))
    np.testing.assert_allclose(load_run(run).predict(backwards)[::-1], found, atol=1e-6)


def test_any_table_that_speaks_arrow(small: Any) -> None:
    run, table = small
    one = load_run(run)
    expected = one.predict(table)
    views = table.cast(
        pa.schema(
            [
                field.with_type(
                    pa.string_view()
                    if pa.types.is_string(field.type)
                    else pa.large_list(pa.string_view())
                    if field.type == pa.list_(pa.string())
                    else field.type
                )
                for field in table.schema
            ]
        )
    )
    assert pa.string_view() in views.schema.types and pa.large_list(pa.string_view()) in views.schema.types
    frame = table.to_pandas()
    frame["device"] = frame["device"].astype("category")
    for rows in (
        frame,
        frame.set_index(pd.Index(range(5, 905), name="some_index")),
        views,
        table.to_reader(max_chunksize=64),
        duckdb.sql("select * from views"),
    ):
        np.testing.assert_allclose(one.predict(rows), expected, atol=1e-6)
    assert one.predict(table.slice(0, 0)).shape == (0,)
    assert one.predict(frame.iloc[:1]).shape == (1,)


@pytest.mark.parametrize("name", ["06_llm_fallback", "09_interest"])
def test_a_run_with_texts(name: str, rich: Any, stage: Any, vectors: Any, tmp_path: Path) -> None:
    marts, store = rich(500).write(tmp_path / "marts"), vectors(vectors(tmp_path / "vectors"), "smollm2")
    fit_run(stage(name, epochs=1, min_steps=4), marts, tmp_path / "run", vectors=store)
    table = rows_of(marts)
    frame = table.to_pandas(types_mapper=pd.ArrowDtype)
    found = pd.Series(load_run(tmp_path / "run").predict(frame), index=table["event_id"].to_pylist())
    with pytest.raises(TrainerError, match=r"double .*dtype_backend='pyarrow'"):
        load_run(tmp_path / "run").predict(table.to_pandas())
    saved = pq.read_table(tmp_path / "run" / "predictions.parquet").to_pandas().set_index("event_id").probability
    np.testing.assert_allclose(found.loc[saved.index], saved, atol=1e-6)
    store.rename(tmp_path / "moved")
    with pytest.raises(TrainerError, match="--vectors"):
        load_run(tmp_path / "run").predict(table)
    again = load_run(tmp_path / "run", vectors=tmp_path / "moved").predict(table)
    np.testing.assert_array_equal(again, found)


def test_what_a_run_says_of_itself(small: Any) -> None:
    one = load_run(small[0])
    assert one.columns["item_rate"] == "double" and one.columns["scene"] == "string"
    assert "label" not in one.columns
    assert one.scenes == ("home", "search", "video")
    assert one.metrics == json.loads((small[0] / "metrics.json").read_text())
    assert one.lineage["mart"] == "training_examples_v1"


def test_what_is_no_table_or_not_this_runs(small: Any, tmp_path: Path) -> None:
    run, table = small
    one = load_run(run)
    with pytest.raises(TrainerError, match=r"speaks Arrow .* found dict"):
        one.predict({"scene": ["home"]})
    with pytest.raises(TrainerError, match=r"The table has no column item_rate .*did you mean 'items_rate'"):
        one.predict(table.rename_columns(["items_rate" if n == "item_rate" else n for n in table.column_names]))
    with pytest.raises(TrainerError, match="Column scene: 'attic' in the table"):
        one.predict(table.to_pandas().assign(scene="attic"))
    with pytest.raises(TrainerError, match="can't be read as Arrow"):
        one.predict(table.to_pandas().assign(item_rate=["a", 1, object()] * 300))
    with pytest.raises(TrainerError, match="isn't a finished run"):
        load_run(tmp_path)
    with pytest.raises(AttributeError, match="no attribute 'load_runs'; it has Run, TrainerError, load_run"):
        _ = trainer.load_runs


def test_importing_is_cheap() -> None:
    heavy = "{'torch', 'numpy', 'pyarrow', 'sklearn', 'matplotlib'} & set(sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", f"import sys, trainer, embeddings; print({heavy}); trainer.load_run; print({heavy})"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    first, second = found.stdout.splitlines()
    assert first == "set()"
    assert "torch" in second


def test_what_is_not_read_may_be_of_any_type(small: Any) -> None:
    """Columns of objects, sets, intervals, mixed types, names that are no texts, names that are there twice."""
    run, table = small
    one = load_run(run)
    expected = one.predict(table)
    frame = table.to_pandas()
    n = len(frame)
    odd = {
        "objects": [object()] * n,
        "sets": [{1}] * n,
        "mixed": [1, "a"] * (n // 2),
        "complex": np.full(n, 1j),
        "intervals": pd.interval_range(0, n),
        "periods": pd.period_range("2024", periods=n, freq="D"),
        "functions": [len] * n,
        "sparse": pd.arrays.SparseArray([0, 1] * (n // 2)),
        7: "a",
        ("a", "b"): 1,
        None: 2.5,
    }
    for name, values in odd.items():
        np.testing.assert_array_equal(one.predict(frame.assign(odd=values).rename(columns={"odd": name})), expected)
    both = pd.concat([frame, frame[["event_id", "event_id"]].map(lambda _: object())], axis=1)
    assert (both.columns == "event_id").sum() == 3
    np.testing.assert_array_equal(one.predict(both), expected)
    np.testing.assert_array_equal(one.predict(frame.set_index(["scene", "event_id"])), expected)
    np.testing.assert_array_equal(one.predict(frame.set_index(pd.Index([object()] * n))), expected)
    extra = pa.nulls(n)
    twice = pa.Table.from_arrays([*table.columns, extra, extra], names=[*table.column_names, "x", "x"])
    np.testing.assert_array_equal(one.predict(twice), expected)
    relation = duckdb.sql("select *, interval 1 day as i, {'a': 1} as s, uuid() as u, 1::bit as b from twice")
    np.testing.assert_array_equal(one.predict(relation), expected)


def test_a_needed_column_that_is_there_twice(small: Any) -> None:
    run, table = small
    one = load_run(run)
    names = [*table.column_names, "scene"]
    twice = pa.Table.from_arrays([*table.columns, table["scene"]], names=names)
    frame = pd.concat([table.to_pandas(), table.to_pandas()[["scene"]]], axis=1)
    for rows in (twice, frame):
        with pytest.raises(TrainerError, match=r"The table has the column scene 2 times. Keep one of them."):
            one.predict(rows)
    mixed = table.to_pandas().astype({"device": object})
    mixed.loc[3, "device"] = 7
    with pytest.raises(TrainerError, match="column device"):
        one.predict(mixed)


def test_polars_columns_of_objects_are_left_where_they_are(small: Any) -> None:
    pl = pytest.importorskip("polars")
    run, table = small
    objects = pl.DataFrame(table).with_columns(pl.Series("objects", [object()] * len(table), dtype=pl.Object))
    np.testing.assert_array_equal(load_run(run).predict(objects), load_run(run).predict(table))
