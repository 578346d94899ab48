from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tests.trainer.conftest import as_of_before
from trainer.base.errors import TrainerError
from trainer.cli import app
from trainer.run.directory import fit_run
from trainer.serving.score import score_file

ROOT = Path(__file__).parents[3]
UNNEEDED = ("label", "split", "event_at", "known_at")


def rows_of(marts: Path) -> pa.Table:
    """A mart's rows as one table, shuffled, without what scoring doesn't need."""
    table = ds.dataset(marts / "training_examples_v1", exclude_invalid_files=True, partitioning=None).to_table()
    order = np.random.default_rng(0).permutation(len(table))
    return table.take(pa.array(order)).drop_columns(list(UNNEEDED))


def scored(run: Path, table: pa.Table, tmp_path: Path, **options: Any) -> pa.Table:
    pq.write_table(table, tmp_path / "rows.parquet")
    score_file(run, tmp_path / "rows.parquet", tmp_path / "scored.parquet", force=True, **options)
    return pq.read_table(tmp_path / "scored.parquet")


def same_as_the_run(run: Path, table: pa.Table) -> None:
    expected = pq.read_table(run / "predictions.parquet").to_pandas().set_index("event_id").probability
    found = table.to_pandas().set_index("event_id").probability.loc[expected.index]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.fixture
def small(toy: Any, stage: Any, tmp_path: Path) -> tuple[Path, pa.Table]:
    marts = toy(1200).write(tmp_path / "marts")
    fit_run(stage("01_dnn", epochs=1, calibration="temperature"), marts, tmp_path / "run")
    return tmp_path / "run", rows_of(marts)


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


def replaced(name: str, values: Callable[[pa.ChunkedArray], Any]) -> Callable[[pa.Table], pa.Table]:
    return lambda t: t.set_column(t.column_names.index(name), name, values(t[name]))


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


def by_scene(table: pa.Table, folder: Path, named: str = "scene") -> dict[str, Path]:
    """The rows by scene, in folders named for it, without the column."""
    files = {}
    for scene in ("home", "search", "video"):
        files[scene] = folder / f"{named}={scene}" / "part.parquet"
        files[scene].parent.mkdir(parents=True)
        pq.write_table(table.filter(pc.equal(table["scene"], scene)).drop_columns(["scene"]), files[scene])
    return files


def test_a_folder_by_hive_with_columns_in_the_path(small: Any, tmp_path: Path) -> None:
    run, table = small
    whole = scored(run, table, tmp_path).to_pandas().set_index("event_id").probability
    folder = tmp_path / "folder"
    files = by_scene(table, folder)
    (folder / "_build").mkdir()
    pq.write_table(table.select(["event_id"]), folder / "_build" / "not-data.parquet")
    # A folder's name is data only where that is said.
    with pytest.raises(TrainerError, match=r"no column scene.*A folder in its path is named scene=.*--partition scene"):
        score_file(run, folder, tmp_path / "out.parquet")
    said = score_file(run, folder, tmp_path / "out.parquet", keep=("scene",), partitions=("scene",))
    found = pq.read_table(tmp_path / "out.parquet").to_pandas()
    assert found.scene.tolist() == sorted(table["scene"].to_pylist())
    np.testing.assert_allclose(found.set_index("event_id").probability.loc[whole.index], whole, atol=1e-6)
    assert [one["path"] for one in said["left_out"]] == ["_build/not-data.parquet"]
    pq.write_table(pq.read_table(files["home"], partitioning=None).drop_columns(["event_id"]), files["video"])
    with pytest.raises(TrainerError, match=r"scene=video.*event_id is missing; in the first file it is string"):
        score_file(run, folder, tmp_path / "out2.parquet", partitions=("scene",))
    (folder / "more").mkdir()
    pq.write_table(table, folder / "more" / "rows.parquet")
    with pytest.raises(TrainerError, match=r"more/rows.parquet: --partition scene, but a folder scene=... is not in"):
        score_file(run, folder, tmp_path / "out3.parquet", partitions=("scene",))


def test_a_folder_named_by_chance_moves_no_row(small: Any, tmp_path: Path) -> None:
    """`scene=home/` above files with a scene of their own, and names that are nobody's column."""
    run, table = small
    expected = scored(run, table, tmp_path)
    for number, name in enumerate(("scene=home", "surface=home", "event_id=1", "item_rate=7", "a=b=c", "=", "x=")):
        folder = tmp_path / f"folder{number}" / name
        folder.mkdir(parents=True)
        pq.write_table(table, folder / "rows.parquet")
        score_file(run, folder.parent, tmp_path / "out.parquet", force=True)
        assert pq.read_table(tmp_path / "out.parquet").equals(expected), name
    said = score_file(run, tmp_path / "folder0", tmp_path / "out.parquet", force=True, partitions=("scene",))
    assert pq.read_table(tmp_path / "out.parquet").equals(expected), "the file's own column is read"
    assert len(said["notes"]) == 1
    assert said["notes"][0].startswith("scene: the column in ")


def test_folder_names_are_read_as_hive_means_them(small: Any, tmp_path: Path) -> None:
    run, table = small
    folder, values = (
        tmp_path / "folder",
        {"a%2Fb": "a/b", "%E5%93%81": "品", "__HIVE_DEFAULT_PARTITION__": None, "1%": "1%"},
    )
    for name in values:
        (folder / f"device={name}").mkdir(parents=True)
        pq.write_table(table.drop_columns(["device"]).slice(0, 50), folder / f"device={name}" / "part.parquet")
    score_file(run, folder, tmp_path / "out.parquet", keep=("device",), partitions=("device",))
    found = pq.read_table(tmp_path / "out.parquet")
    for value in values.values():
        of_value = replaced("device", lambda c, value=value: pa.array([value] * len(c), pa.string()))(
            table.slice(0, 50)
        )
        where = pc.is_null(found["device"]) if value is None else pc.equal(found["device"], value)
        np.testing.assert_allclose(
            found.filter(where)["probability"], scored(run, of_value, tmp_path)["probability"], atol=1e-6
        )
    (folder / "device=a%2Fb" / "device=c").mkdir()
    pq.write_table(table, folder / "device=a%2Fb" / "device=c" / "part.parquet")
    with pytest.raises(TrainerError, match=r"device=... is twice in its path"):
        score_file(run, folder, tmp_path / "out2.parquet", partitions=("device",))


def test_a_number_in_a_path_has_the_contracts_type(small: Any, tmp_path: Path) -> None:
    run, table = small
    for name in ("user_count=5", "user_count=many"):
        (tmp_path / name / name).mkdir(parents=True)
        pq.write_table(table.drop_columns(["user_count"]), tmp_path / name / name / "part.parquet")
    score_file(run, tmp_path / "user_count=5", tmp_path / "out.parquet", partitions=("user_count",))
    five = replaced("user_count", lambda c: pa.array([5] * len(c), c.type))(table)
    assert pq.read_table(tmp_path / "out.parquet").equals(scored(run, five, tmp_path))
    with pytest.raises(TrainerError, match=r"user_count=many in its path is no bigint"):
        score_file(run, tmp_path / "user_count=many", tmp_path / "out2.parquet", partitions=("user_count",))


@pytest.mark.parametrize("seed", range(4))
def test_of_a_folder_every_file_is_read_or_named(small: Any, tmp_path: Path, seed: int) -> None:
    """Layouts at random; the rows that come out are those of the files that an independent walk counts."""
    run, table = small
    rng = np.random.default_rng(seed)
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    outside.mkdir()
    wanted = ("a.parquet", "B.PARQUET", "c.Parquet", "link.parquet")
    others = ("d.parquet.gz", "e.csv", ".f.parquet", "_g.parquet", "h.parq", "broken.parquet", "i.parquet.crc")
    rows, read, left = 0, 0, set()
    for place in ("", "x", "day=2024-01-05", "x/y.parquet", "_hidden", "linked"):
        home = outside / "days" if place == "linked" else folder / place
        home.mkdir(parents=True, exist_ok=True)
        if place == "linked":
            (folder / place).symlink_to(home)
        for name in rng.permutation([*wanted, *others])[:7]:
            path, some = home / name, table.slice(int(rng.integers(0, 500)), int(rng.integers(1, 30)))
            if name == "broken.parquet":
                path.symlink_to(tmp_path / "nowhere")
            elif name == "link.parquet":
                target = outside / f"{rng.integers(1 << 60)}.parquet"
                pq.write_table(some, target)
                path.symlink_to(target)
            else:
                pq.write_table(some, path)
            if name in wanted and place != "_hidden":
                rows, read = rows + len(some), read + 1
            else:
                left.add(f"{place}/{name}".lstrip("/"))
    said = score_file(run, folder, tmp_path / "out.parquet")
    assert (said["rows"], said["files"]) == (rows, read)
    assert {one["path"] for one in said["left_out"]} == left
    assert all(one["reason"] for one in said["left_out"])


def test_the_command_names_what_it_did_not_read(small: Any, tmp_path: Path) -> None:
    run, table = small
    (tmp_path / "folder").mkdir()
    pq.write_table(table, tmp_path / "folder" / "a.PARQUET")
    for k in range(3):
        (tmp_path / "folder" / f"{k}.csv").touch()
    command = ["score", "--run", str(run), "--input", str(tmp_path / "folder"), "--output", "o.parquet", "--json"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout.splitlines()[0])
    assert [one["path"] for one in said["left_out"]] == ["0.csv", "1.csv", "2.csv"]
    assert "Not read: 0.csv, 1.csv, 2.csv: does not match **/*.parquet" in done.output
    (tmp_path / "folder" / "a.PARQUET").unlink()
    with pytest.raises(TrainerError, match=r"no .parquet files. 0.csv, 1.csv, 2.csv: does"):
        score_file(run, tmp_path / "folder", tmp_path / "o2.parquet")


def test_a_mart_declares_its_days(small: Any, toy: Any, tmp_path: Path) -> None:
    run, _ = small
    mart = toy(300).write(tmp_path / "m") / "training_examples_v1"
    (mart / "_SUCCESS").touch()
    said = score_file(run, mart, tmp_path / "out.parquet", keep=("event_date",))
    days = pq.read_table(tmp_path / "out.parquet")["event_date"].to_pylist()
    assert (len(days), days[0], said["left_out"]) == (300, "2026-01-01", [])


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
