"""Refresh by day on Spark: in whatever order raw files arrive, tables and marts hold what one full build holds.

The full build is DuckDB's: test_spark_parity.py compares full builds of both. One session serves all builds (`spark` in
tests/forkserver.py), so no build can be killed. It is stopped by an error where a kill would hurt most: when rows are
written and their record isn't.
"""

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from storage.mart_files import mart_files
from tests.warehouse.project import MY_LOG, Edit, Project
from tests.warehouse.spark import needs_spark
from tests.warehouse.test_refresh import FILES, NAMES, NO_IDS, ROWS_OF, add

pytestmark = needs_spark
STRATEGY, MART = "warehouse/macros/refresh_spark.sql", "warehouse/macros/mart_spark.sql"
STOP = "{%- if this.identifier in var('dies_at', []) -%}{{ exceptions.raise_compiler_error('It dies') }}{%- endif -%}"
DIES = tuple(
    Edit(path, line, line + STOP)
    for path, line in (
        (STRATEGY, "{%- do run_query(layer.view) -%}"),
        (MART, "{%- do adapter.python('publish_mart', written, place, build_record(written.n_rows)) -%}"),
    )
)
EXPORT = """{% macro export(tables) -%}
    {%- for table in tables -%}
        {%- do run_query("insert overwrite directory '" ~ adapter.python('uri_of', 'data/export/' ~ table)
            ~ "' using parquet select * from " ~ target.schema ~ '.' ~ table) -%}
    {%- endfor -%}
{%- endmacro %}"""
MARTS = [name for name in ROWS_OF if name.startswith("training_examples") or name == "texts"]
COMPARED = [name for name in ROWS_OF if name not in ("feature_profile", "int_text_counts", *MARTS)]


def on_spark(project: Project, *arguments: str, code: int = 0, **given: object) -> str:
    result = project.dbt(*arguments, "--target", "spark", dataset_vars=MY_LOG | given)
    assert result.returncode == code, result.stdout + result.stderr
    return " ".join(result.stdout.split())


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A full build of some days; then the others in two lots, in an order drawn at random, by builds that die."""
    project = Project(tmp_path_factory.mktemp("spark") / "grown", (NO_IDS, *DIES))
    (project.folder / "warehouse/macros/export.sql").write_text(EXPORT)
    repeated = NAMES[3]  # comes with the first lot: an event that is read before must not turn into a repeat
    order = random.Random(2).sample([name for name in NAMES if name != repeated], len(NAMES) - 1)
    add(project, repeated, *order[:9])
    assert "Refresh: full build: no earlier build to refresh" in on_spark(project, "run")
    add(project, *order[9:16])
    said = ""
    for models in (["parsed_events"], ["feat_user_v2", "training_examples_v1"]):
        died = on_spark(project, "run", code=1, dies_at=models)
        assert f"ERROR={len(models)} " in died and "It dies" in died
        said += died
    add(project, *order[16:])
    said += on_spark(project, "run")
    assert f"Refresh: {len(order[16:])} new raw files" in said
    assert "full build" not in said
    on_spark(project, "run-operation", "export", "--args", json.dumps({"tables": COMPARED}))
    whole = project.dbt("run", dataset_vars=MY_LOG | {"marts_dir": "data/marts/duckdb"})
    assert whole.returncode == 0, whole.stdout
    return project


@contextmanager
def opened(project: Project) -> Iterator[duckdb.DuckDBPyConnection]:
    settings = {"file_search_path": str(project.folder)}
    with duckdb.connect(str(project.folder / "data/my_log.duckdb"), read_only=True, config=settings) as connection:
        connection.execute("set TimeZone = 'UTC'")
        yield connection


@pytest.mark.parametrize("table", [*COMPARED, *MARTS])
def test_refreshed_is_a_full_build(table: str, grown: Project) -> None:
    with opened(grown) as connection:
        theirs = f"read_parquet('data/export/{table}/*.parquet')"
        if table in MARTS:
            theirs = f"read_parquet('data/marts/my_log/{table}/**/*.parquet', hive_types_autocast = true)"
        selects = []
        for source in (table, theirs):
            types = {name: kind for name, kind, *_ in connection.sql(f"describe select * from {source}").fetchall()}
            names = [
                f"timezone('UTC', {name}) as {name}" if "ZONE" in types[name] else name
                for name in sorted(types)
                if name not in ("identity", "load")  # a hash, the engine's own; the load of a malformed line
            ]
            selects.append(f"select {', '.join(names)} from {source}")
        n_rows = connection.sql(f"select count(*) from ({selects[0]})").fetchall()[0][0]
        assert n_rows > 0 or table.endswith("malformed_lines")
        for one, other in (selects, selects[::-1]):
            assert connection.sql(f"{one} except all {other} limit 5").fetchall() == []


def files(project: Project) -> dict[str, int]:
    """The inode of every file of the marts."""
    marts = project.folder / "data/marts/my_log"
    return {str(path.relative_to(marts)): path.stat().st_ino for path in marts.rglob("*.parquet")}


def test_without_news_nothing_is_written(grown: Project) -> None:
    before = files(grown)
    assert "Refresh: no raw file is new or changed" in on_spark(grown, "run", "--select", "+training_examples_v1")
    assert files(grown) == before


def test_a_changed_file_is_a_full_build(grown: Project) -> None:
    grown.write_log(FILES[NAMES[2]], NAMES[2])
    said = on_spark(grown, "run", "--select", "+stg_events")
    assert f"Refresh: full build: raw file data/raw/my_log/{NAMES[2]} changed" in said


BY_DAY = """{{ config(materialized='mart', partition_by='event_date', meta={'refresh': 'event_date'}) }}
select * from {{ ref('stg_events') }} where {{ in_days('event_date') }}"""


def test_a_mart_without_renames_is_what_its_record_names(tmp_path: Path) -> None:
    """As on an object store: new files next to the old ones, the record last. Local files by another scheme."""
    project = Project(tmp_path / "project", (NO_IDS, *DIES))
    (project.folder / "warehouse/models/marts/events_by_day.sql").write_text(BY_DAY)
    place = project.folder / "data/marts/my_log/events_by_day"
    build = ("run", "--select", "+events_by_day")
    given = {name: f"FILE://{project.folder}/data/{folder}" for name, folder in
             (("raw_dir", "raw/my_log"), ("marts_dir", "marts/my_log"))}  # fmt: skip

    def rows() -> list[str]:
        with duckdb.connect() as connection:
            listed = [str(path) for path in mart_files(place, ValueError)]
            return (
                connection.execute("select event_id from read_parquet($1) order by 1", [listed])
                .fetchdf()["event_id"]
                .tolist()
            )

    add(project, *NAMES[:6])
    on_spark(project, *build, **given)
    first, before = rows(), set(mart_files(place, ValueError))
    (place / "event_date=2024-01-01").mkdir(exist_ok=True)
    left = place / "event_date=2024-01-01/part-of-a-killed-build.parquet"
    left.write_bytes(b"half")
    assert rows() == first
    add(project, NAMES[6])
    on_spark(project, *build, code=1, dies_at=["events_by_day"], **given)  # published, and not recorded
    assert before & set(mart_files(place, ValueError)), "days that nothing touched keep their files"
    assert "full build" not in on_spark(project, *build, **given)
    after = set(mart_files(place, ValueError))
    assert not left.exists() and set(place.rglob("*.parquet")) == after
    assert len(rows()) > len(first) and set(first) < set(rows())
    assert len(rows()) == len(set(rows())) == json.loads((place / "_build/build.json").read_text())["n_rows"]
