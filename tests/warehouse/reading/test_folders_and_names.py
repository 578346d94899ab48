"""A file is its path below the raw folder; folders mean columns only if the adapter says so; names are the user's."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.warehouse.reading.scanning import answer, error, rows

HIVE = "__HIVE_DEFAULT_PARTITION__"


def write(folder: Path, path: str, **columns: list) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    if path.endswith(".parquet"):
        pq.write_table(pa.table(columns), folder / path)
    else:
        lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
        (folder / path).write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(("kind", "suffix"), [("parquet", "parquet"), ("csv", "csv")])
def test_same_base_names(kind: str, suffix: str, tmp_path: Path) -> None:
    for day in range(1, 4):
        write(tmp_path, f"dt=2024-01-0{day}/part-00000.{suffix}", x=[str(day)])
    assert rows(tmp_path, kind, f"**/*.{suffix}", ["x"]) == [
        (str(day), f"dt=2024-01-0{day}/part-00000.{suffix}", 1) for day in range(1, 4)
    ]


@pytest.mark.parametrize(("kind", "suffix"), [("parquet", "parquet"), ("csv", "csv")])
def test_folders_mean_nothing_unless_declared(kind: str, suffix: str, tmp_path: Path) -> None:
    raw = tmp_path / "surface=home"
    write(raw, f"shown_at=2024-01-05/a.{suffix}", shown_at=["2024-01-05 10:30:00"], surface=["cart"])
    assert rows(raw, kind, f"**/*.{suffix}", ["shown_at", "surface"]) == [
        ("2024-01-05 10:30:00", "cart", f"shown_at=2024-01-05/a.{suffix}", 1)
    ]
    said = error(raw, kind, f"**/*.{suffix}", ["shown_at", "surface"], partitions=["shown_at"])
    assert "has a column shown_at and lies in a folder shown_at=...: which is meant?" in said


@pytest.mark.parametrize(("kind", "suffix"), [("parquet", "parquet"), ("csv", "csv")])
def test_declared_folders_are_columns_as_hive_writes_them(kind: str, suffix: str, tmp_path: Path) -> None:
    folders = {
        "a b%2Fc+d": "a b/c+d",
        "%E4%B8%AD": "中",
        HIVE: None,
        "007": "007",
        "it's": "it's",
        "x=y": "x=y",
        "50%": "50%",
    }
    for number, folder in enumerate(folders):
        write(tmp_path, f"year=2024/s={folder}/f{number}.{suffix}", x=[str(number)])
    columns = ["x", "s", "year"]
    found = rows(tmp_path, kind, f"**/*.{suffix}", columns, partitions=["s", "year"])
    assert sorted((row[0], row[1], row[2]) for row in found) == [
        (str(number), value, "2024") for number, value in enumerate(folders.values())
    ]
    write(tmp_path, f"year=2024/f9.{suffix}", x=["9"])
    said = error(tmp_path, kind, f"**/*.{suffix}", columns, partitions=["s", "year"])
    assert f"{tmp_path}/year=2024/f9.{suffix} lies in no folder s=..." in said


def test_the_folders_above_the_raw_folder_are_no_columns(tmp_path: Path) -> None:
    write(tmp_path, "s=a/raw/s=b/f.parquet", x=["1"])
    assert rows(tmp_path / "s=a/raw", "parquet", "**/*.parquet", ["x", "s"], partitions=["s"])[0][1] == "b"
    write(tmp_path, "s=a/other/f.parquet", x=["1"])
    assert "lies in no folder s=" in error(tmp_path / "s=a/other", "parquet", "*.parquet", ["x"], partitions=["s"])


def test_names_that_readers_use_themselves(tmp_path: Path) -> None:
    own = {
        "filename": ["f"],
        "file_row_number": [7],
        "file_index": [8],
        "_partition": ["p"],
        "User_ID": [1],
        "user_id": ["u1"],
        "source": ["s"],
        "c0": ["c"],
        "t": ["t"],
        "select": ["k"],
        'q"q': ["q"],
    }
    write(tmp_path, "a.parquet", **own)
    columns = list(own)
    assert rows(tmp_path, "parquet", "*.parquet", columns) == [
        (*(str(own[name][0]) for name in columns), "a.parquet", 1)
    ]
    write(tmp_path, "a.csv", **{name: values for name, values in own.items() if '"' not in name})
    columns = columns[:-1]
    assert rows(tmp_path, "csv", "*.csv", columns) == [(*(str(own[name][0]) for name in columns), "a.csv", 1)]


def test_unnamed_and_repeated_columns(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([n]) for n in range(4)], names=["", "x", "x", "user_id"])
    pq.write_table(table, tmp_path / "a.parquet")
    assert rows(tmp_path, "parquet", "*.parquet", ["user_id"]) == [("3", "a.parquet", 1)]
    assert "has 2 columns named x: which is meant?" in error(tmp_path, "parquet", "*.parquet", ["x"])


def test_columns_stand_anywhere_and_come_and_go(tmp_path: Path) -> None:
    write(tmp_path, "a.parquet", user_id=[1], x=["a"])
    write(tmp_path, "b.parquet", x=["b"], new=[1.5], user_id=["2"], __index_level_0__=[9])
    write(tmp_path, "c.parquet", X=["other"], x=["c"], user_id=[3.0])
    assert [row[:2] for row in rows(tmp_path, "parquet", "*.parquet", ["x", "user_id"])] == [
        ("a", "1"),
        ("b", "2"),
        ("c", "3"),
    ]
    write(tmp_path, "d.parquet", user_id=[4])
    assert error(tmp_path, "parquet", "*.parquet", ["x", "user_id"]) == (
        f"Raw file {tmp_path}/d.parquet lacks the column x. Its first line has 1: user_id. Mend it."
    )


def test_parquet_that_is_cut_short_is_named(tmp_path: Path) -> None:
    write(tmp_path, "a.parquet", x=[1])
    write(tmp_path, "b.parquet", x=[1])
    whole = (tmp_path / "b.parquet").read_bytes()
    for broken in (whole[:-3], whole[: len(whole) // 2], b"PAR1"):
        (tmp_path / "b.parquet").write_bytes(broken)
        said = error(tmp_path, "parquet", "*.parquet", ["x"])
        assert said.startswith(f"Raw file {tmp_path}/b.parquet is not a whole Parquet file: ")
        assert said.endswith("Copy or write it again, or move it away. Mend it.")


def test_files_that_were_read_before_are_not_opened(tmp_path: Path) -> None:
    write(tmp_path, "a.parquet", x=[1])
    write(tmp_path, "b.parquet", x=["2"])
    first = answer(tmp_path, "parquet", "*.parquet", ["x"])
    known = {path: [size, at, first["columns"][n]] for path, size, at, n in first["files"]}
    for name in ("a.parquet", "b.parquet"):
        state = (tmp_path / name).stat()
        (tmp_path / name).write_bytes(b"x" * state.st_size)  # what opens it now finds no Parquet
        os.utime(tmp_path / name, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert answer(tmp_path, "parquet", "*.parquet", ["x"], known=known) == first


def test_uris_are_refused() -> None:
    assert "var raw_dir is s3://bucket: on DuckDB" in error("s3://bucket", "csv", "*.csv", ["x"])
