"""Scoring a folder: columns in its path, and every file is read or named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tests.trainer.serving.scoring import replaced, scored
from trainer.base.errors import TrainerError
from trainer.cli import app
from trainer.serving.score import score_file


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
