"""Parquet of many types, under folders that are columns: Spark reads the very rows that DuckDB reads."""

import datetime as dt
import decimal
import os
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.warehouse.logs import random_log, with_column
from tests.warehouse.project import MY_LOG, Edit, Project
from tests.warehouse.reading.test_builds import ADAPTER, NO_IDS, tags_as_lists
from tests.warehouse.test_spark_parity import ENVIRONMENT, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"Spark is not tested here; {missing()}")

PARTITIONED = Edit(
    ADAPTER,
    "raw_parquet('*.parquet', columns, 'Copy the Parquet files of my log there.')",
    "raw_parquet('**/*.parquet', columns + ['part'], 'Copy them.', partitions=['part'])",
)
PART = Edit(ADAPTER, "title as item_title", "concat(title, coalesce(part, 'none')) as item_title")
FLOATS = [1001.0, 2.5, 1e300, float("nan"), float("inf"), -0.0, 2.0**53, 2.0**53 - 1, 1e16, 1.5e-7, 12345678.5, 1.2e-4]


def with_odd_types(folder: Path) -> None:
    """Four files of one log under folders that Hive would write, and files that aren't read."""
    log = tags_as_lists(random_log(80))
    for name in ("shown_at", "ingested_at"):
        log = with_column(log, name, pa.array(log[name].to_pylist(), pa.timestamp("us")))
    floats = FLOATS + [float(number) for number in range(80 - len(FLOATS))]
    zoned = pa.array([at.replace(tzinfo=dt.UTC) for at in log["shown_at"].to_pylist()], pa.timestamp("us", "UTC"))
    decimals = with_column(log, "user_id", [decimal.Decimal("1001.00")] * 80)
    files = {
        "part=a b%2Fc+d/part-0.parquet": with_column(log, "user_id", pa.array(floats)),
        "part=__HIVE_DEFAULT_PARTITION__/part-0.parquet": with_column(
            with_column(log, "user_id", [2**53 + 1] * 80), "tags", pa.nulls(80)
        ),
        "part=x/it's, {no}.parquet": with_column(
            with_column(log, "user_id", pa.array([0.5 if x > 2**24 else x for x in floats]).cast(pa.float32())),
            "clicked", [bool(clicked) for clicked in log["clicked"].to_pylist()],
        ),
        "part=y/d.PARQUET": with_column(with_column(decimals, "shown_at", zoned), "title", pa.array([b"x"] * 80)),
    }  # fmt: skip
    for path, table in files.items():
        (folder / path).parent.mkdir(parents=True)
        pq.write_table(table, folder / path)
    (folder / "notes.txt").write_text("x")


def test_parquet_of_many_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    project = Project(tmp_path / "project", (PARTITIONED, NO_IDS, PART))
    with_odd_types(project.folder / "data/raw/my_log")
    for target in ("spark", "duckdb"):
        given = MY_LOG | {"max_rejected_rate": 0.9}
        result = project.dbt("run", "--select", "+stg_events", "--target", target, dataset_vars=given)
        said = " ".join(result.stdout.split())
        assert result.returncode == 0, said
        assert "Not read: notes.txt: does not match **/*.parquet" in said, target
        assert " rows: user_id is not an id (such as part=" in said, target
    spark = f"read_parquet('{project.folder}/data/spark/my_log/warehouse/my_log.db/{{}}/*.parquet')"
    database = os.fspath(project.folder / "data/my_log.duckdb")
    with duckdb.connect(database, read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        for table, at_least in (("parsed_events", 320), ("rejected_events", 10)):
            types = {name: str(type_) for name, type_, *_ in
                     connection.sql(f"describe select * from {spark.format(table)}").fetchall()}  # fmt: skip
            names = [name for name, *_ in connection.sql(f"describe {table}").fetchall() if name != "identity"]
            ours = ", ".join(names)
            theirs = ", ".join(f"timezone('UTC', {name})" if "ZONE" in types[name] else name for name in names)
            mine = f"select {ours} from {table}"
            other = f"select {theirs} from {spark.format(table)}"
            assert connection.sql(f"select count(*) from ({mine})").fetchall()[0][0] >= at_least
            assert connection.sql(f"{mine} except all {other}").fetchall() == []
            assert connection.sql(f"{other} except all {mine}").fetchall() == []
