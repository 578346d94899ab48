"""From raw files of every kind to events, by builds: refreshed day by day, the tables are those of one full build."""

import gzip
import os
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.warehouse.logs import random_log, with_column
from tests.warehouse.project import Edit, Project

ADAPTER = "warehouse/models/sources/my_log/src_my_log.sql"
BELOW = Edit(ADAPTER, "raw_parquet('*.parquet'", "raw_parquet('**/*.parquet'")
NO_IDS = Edit(ADAPTER, "cast(impression_id as string)", "cast(null as string)")
TABLES = ("parsed_events", "rejected_events", "stg_events")


def numbered(log: pa.Table, column: str, type_: pa.DataType) -> pa.Table:
    """`log` with the users (items) u1, u2, ... as the numbers 1, 2, ... of a type."""
    digits = pc.utf8_slice_codeunits(log[column], 1)
    return log.set_column(log.column_names.index(column), column, pc.cast(pc.cast(digits, pa.int64()), type_))


def run(project: Project, *arguments: str, expect: int = 0) -> str:
    result = project.dbt("run", "--select", "+stg_events", *arguments)
    assert result.returncode == expect, result.stdout
    return " ".join(result.stdout.split())


def rows_of(project: Project, table: str) -> pa.Table:
    return project.query(f"select * from {table} order by all")


def tags_as_lists(log: pa.Table) -> pa.Table:
    return with_column(log, "tags", [tags.split(";") if tags else [] for tags in log["tags"].to_pylist()])


@pytest.fixture(scope="module")
def days() -> list[pa.Table]:
    """One log in four files, of four minds about its types."""
    log = tags_as_lists(numbered(random_log(400, seed=3), "item_id", pa.int32()))
    parts = [numbered(log.slice(start, 100), "user_id", pa.int64()) for start in range(0, 400, 100)]
    parts[1] = numbered(log.slice(100, 100), "user_id", pa.float64())
    parts[1] = with_column(parts[1], "user_id", [None, 2.5, 1e300, *parts[1]["user_id"].to_pylist()[3:]])
    parts[1] = with_column(parts[1], "clicked", [bool(clicked) for clicked in parts[1]["clicked"].to_pylist()])
    parts[2] = with_column(parts[2], "title", pa.nulls(100))
    parts[2] = with_column(parts[2], "tags", pa.nulls(100))
    parts[3] = parts[3].add_column(0, "filename", pa.array(range(100)))
    return parts


def test_day_by_day_is_a_full_build(days: list[pa.Table], tmp_path: Path) -> None:
    project = Project(tmp_path / "project", (BELOW, NO_IDS))
    raw = project.folder / "data/raw/my_log"
    (tmp_path / "elsewhere").mkdir()
    raw.mkdir(parents=True)
    (raw / "linked").symlink_to(tmp_path / "elsewhere")
    places = [raw / "dt=1/part-0.parquet", raw / "dt=2/part-0.PARQUET", tmp_path / "elsewhere/part-0.parquet"]
    said = []
    for place, day in zip([*places, raw / "z.parquet"], days, strict=True):
        place.parent.mkdir(exist_ok=True)
        pq.write_table(day, place)
        (raw / "notes.txt").write_text("x")
        said.append(run(project))
    assert "Refresh: full build: no earlier build to refresh" in said[0]
    assert all("Refresh: 1 new raw file" in each and "full build" not in each for each in said[1:])
    assert all("Not read: notes.txt: does not match **/*.parquet" in each for each in said)
    reasons = Counter(rows_of(project, "rejected_events")["reason"].to_pylist())
    assert reasons == {"user_id is missing": 1, "user_id is not an id: 2.5": 1, "user_id is not an id: 1e+300": 1}
    for reason, n in {"user_id is missing": "1 row", "user_id is not an id": "2 rows"}.items():
        assert f"Rejected: {n}: {reason} (such as dt=2/part-0.PARQUET row " in said[-1]
    again = run(project)
    assert "Refresh: no raw file is new or changed" in again
    assert "Rejected: 2 rows: user_id is not an id (such as dt=2/part-0.PARQUET row 2, table rejected_events)" in again
    assert "Not read: notes.txt: does not match **/*.parquet" in again

    # an independent reader: the users, items, labels and entities that were meant
    expected = Counter()
    for path, day in zip(
        ("dt=1/part-0.parquet", "dt=2/part-0.PARQUET", "linked/part-0.parquet", "z.parquet"), days, strict=True
    ):
        for number, row in enumerate(day.to_pylist(), start=1):
            if row["user_id"] in (None, 2.5, 1e300):
                continue
            entities = None if row["tags"] is None else ";".join(row["tags"])
            expected[
                (
                    f"{path}:{number}",
                    str(int(row["user_id"])),
                    str(row["item_id"]),
                    int(row["clicked"]),
                    row["title"],
                    entities,
                )
            ] += 1
    names = ("event_id", "user_id", "item_id", "label", "item_title", "item_entities")
    found = Counter(tuple(row[name] for name in names) for row in rows_of(project, "stg_events").to_pylist())
    assert found == expected

    before = {table: rows_of(project, table) for table in TABLES}
    assert "full build: --full-refresh" in run(project, "--full-refresh")
    assert [table for table in TABLES if not rows_of(project, table).equals(before[table])] == []
    listed = project.query("select file, reason, load from raw_files order by file").to_pylist()
    assert [row["file"] for row in listed] == [
        "dt=1/part-0.parquet",
        "dt=2/part-0.PARQUET",
        "linked/part-0.parquet",
        "notes.txt",
        "z.parquet",
    ]

    # the types of files that were read before count too
    pq.write_table(with_column(days[0], "shown_at", list(range(100))), raw / "zz.parquet")
    said_last = run(project, expect=1)
    assert (
        "Column shown_at is a number (BIGINT) in raw file data/raw/my_log/zz.parquet, but a time (TIMESTAMP) in"
        in said_last
    )


def test_a_file_that_is_compressed_or_renamed_after_it_was_read(tmp_path: Path) -> None:
    csv = Edit(ADAPTER, "raw_parquet('*.parquet'", "raw_csv('*.csv'")
    project = Project(tmp_path / "project", (csv,))
    raw = project.folder / "data/raw/my_log"
    raw.mkdir(parents=True)
    log = random_log(60)
    text = [",".join(log.column_names)]
    text += [",".join("" if value is None else str(value) for value in row.values()) for row in log.to_pylist()]
    for name, lines in (("a.csv", text[:31]), ("b.csv", text[:1] + text[31:])):
        (raw / name).write_text("\n".join(lines) + "\n")
    run(project)
    before = rows_of(project, "stg_events")
    assert len(before) == 60
    (raw / "b.csv.gz").write_bytes(gzip.compress((raw / "b.csv").read_bytes()))
    (raw / "b.csv").unlink()
    os.rename(raw / "a.csv", raw / "A.CSV")  # noqa: PTH104
    assert "Refresh: full build: raw file data/raw/my_log/a.csv is gone, and 1 more" in run(project)
    assert rows_of(project, "stg_events").equals(before)
    (raw / "copy.csv.gz").write_bytes((raw / "b.csv.gz").read_bytes())
    assert "30 of 90 raw rows in data/raw/my_log (33.3%) were rejected" in run(project, expect=1), "twice, and said"
