"""Spark on a standalone cluster of two workers: raw files, tables and marts hold what DuckDB's hold.

Executors run in folders of their own, so a relative path, or a file that only one process has, stops the build. Which
rows a feature has doesn't depend on where it is computed: tests/warehouse/test_spark_parity.py compares those in one
process, at less than half of the cost.
"""

import os
import subprocess
import sys
from pathlib import Path

import duckdb

from tests.forkserver import ENVIRONMENT
from tests.spark_cluster import cluster
from tests.warehouse.logs import random_log
from tests.warehouse.project import Project
from tests.warehouse.spark import needs_spark
from tests.warm import SPARK

pytestmark = needs_spark
BUILD = ("run", "--select", "+events_by_day", "+feat_scene_latest")
BY_DAY = "{{ config(materialized='mart', partition_by='event_date') }} select * from {{ ref('stg_events') }}"
N_EVENTS = 300
MADE = ("duckdb", "my_log")  # the folders of marts, DuckDB's and Spark's


def test_two_workers_make_the_same_rows(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    (project.folder / "warehouse/models/marts/events_by_day.sql").write_text(BY_DAY)
    log = random_log(n_events=N_EVENTS)
    project.write_log(log.slice(0, 100), "a.parquet")
    project.write_log(log.slice(100), "b.parquet")
    on_duckdb = project.dbt(*BUILD, dataset_vars={"dataset": "my_log", "marts_dir": "data/marts/duckdb"})
    assert on_duckdb.returncode == 0, on_duckdb.stdout
    with cluster(tmp_path / "cluster") as master:
        on_spark = subprocess.run(
            [
                Path(sys.executable).with_name("dbt"),
                "--no-use-colors",
                *BUILD,
                "--target",
                "spark",
                "--vars",
                "{dataset: my_log}",
            ],
            cwd=project.folder,
            env=os.environ | ENVIRONMENT | SPARK | {"SPARK_MASTER": master},
            capture_output=True,
            text=True,
        )
    assert on_spark.returncode == 0, on_spark.stdout + on_spark.stderr
    ran = [path for path in sorted((tmp_path / "cluster").glob("worker-*/work/app-*/*")) if path.is_dir()]
    assert [path.parts[-4] for path in ran] == ["worker-1", "worker-2"], "an executor of each worker"
    for mart, n_rows in (("events_by_day/*", N_EVENTS), ("feat_scene_latest", 1)):
        sources = [f"read_parquet('{project.folder}/data/marts/{made}/{mart}/*.parquet')" for made in MADE]
        with duckdb.connect() as connection:
            connection.execute("set TimeZone = 'UTC'")
            names = sorted(name for name, *_ in connection.sql(f"describe from {sources[0]}").fetchall())
            utc = ", ".join(f"cast({name} as timestamp) as {name}" if name.endswith("_at") else name for name in names)
            ours, theirs = (f"select {utc} from {source}" for source in sources)
            assert connection.sql(f"select count(*) from ({theirs})").fetchall() == [(n_rows,)]
            assert connection.sql(f"{ours} except all {theirs}").fetchall() == []
