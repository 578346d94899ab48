"""DuckDB and Spark build the same marts, row for row; and on Spark no empty table passes for a mart.

All tests that need Spark are here, so that one worker runs them in one session (`spark` in tests/forkserver.py).

Rows are compared with `except all` in both directions. Nothing is rounded: no feature is a sum of fractions, so both
engines make the same double from the same whole numbers. An instant is compared as UTC, since Spark's timestamps have
a time zone and DuckDB's here have none.
"""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from tests.system.own_project import OwnProject, compare_with, pages_of, pages_table
from tests.warehouse.odd_logs import odd_rows, with_odd_types
from tests.warehouse.project import MY_LOG, ROOT, Edit, Project
from tests.warehouse.reading.test_builds import ADAPTER, NO_IDS
from tests.warehouse.spark import needs_spark
from tests.warehouse.test_times import N_TEXTS, Times
from tests.warehouse.times import texts

N_EVENTS = 5_000  # on all 31 days, in all five scenes
FIXTURE = ROOT / "tests/fixtures/antm2c"
# One of the odd rows is an event of 1975, which would stop the build.
DATASET = {"dataset": "simulated", "max_gap_days": None}


pytestmark = needs_spark


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The simulated log, the fixture with its bad rows and a file of odd rows, built by both engines."""
    project = Project(tmp_path_factory.mktemp("parity") / "project")
    raw = project.folder / "data/raw/simulated"
    subprocess.run(
        [sys.executable, "-m", "warehouse.simulate", "--events", str(N_EVENTS), "--out", str(raw)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    for part in FIXTURE.glob("*.csv"):
        shutil.copy(part, raw / f"fixture_{part.name}".replace(".csv", ".CSV"))
    header = (FIXTURE / "antm2c_10m_part0.csv").read_bytes().split(b"\n", 1)[0]
    with gzip.open(raw / "odd one.csv.gz", "wb") as odd:
        odd.write(odd_rows(header))
    on_duckdb = project.dbt("run", dataset_vars=DATASET | {"marts_dir": "data/marts/duckdb"})
    assert on_duckdb.returncode == 0, on_duckdb.stdout
    on_spark = project.dbt("run", "--target", "spark", dataset_vars=DATASET | {"spark_format": "orc"})
    assert on_spark.returncode == 0, on_spark.stdout + on_spark.stderr
    return project


def files_of(table: str, engine: str) -> str:
    """The table as files: a mart at its place, another table in the engine's own store."""
    marts = "data/marts/duckdb" if engine == "duckdb" else "data/marts/simulated"
    if table in ("training_examples_v1", "training_examples_v2"):
        return f"read_parquet('{marts}/{table}/*/*.parquet', hive_types = {{'event_date': date}})"
    if table == "texts":
        return f"read_parquet('{marts}/texts/*.parquet')"
    if engine == "duckdb":
        return table
    return f"read_parquet('data/spark/simulated/warehouse/simulated.db/{table}/*.parquet')"


def compared(project: Project, table: str) -> tuple[int, list, list]:
    """How many rows DuckDB has, and up to five rows that only DuckDB and only Spark has."""
    database = project.folder / "data/simulated.duckdb"
    settings = {"file_search_path": str(project.folder)}
    with duckdb.connect(str(database), read_only=True, config=settings) as connection:
        connection.execute("set TimeZone = 'UTC'")

        def rows(sql: str) -> list:
            return connection.sql(sql).fetchall()

        selects = {}
        for engine in ("duckdb", "spark"):
            source = files_of(table, engine)
            types = {name: type_ for name, type_, *_ in rows(f"describe select * from {source}")}
            selects[engine] = "select {} from {}".format(
                ", ".join(
                    f"timezone('UTC', {name}) as {name}" if types[name] == "TIMESTAMP WITH TIME ZONE" else name
                    for name in sorted(types)
                    if (table, name) != ("parsed_events", "identity")  # a hash, the engine's own
                ),
                source,
            )
        (n_rows,) = rows(f"select count(*) from ({selects['duckdb']})")[0]
        return (
            n_rows,
            rows(f"{selects['duckdb']} except all {selects['spark']} limit 5"),
            rows(f"{selects['spark']} except all {selects['duckdb']} limit 5"),
        )


@pytest.mark.parametrize(
    ("table", "at_least"),
    [
        ("training_examples_v1", N_EVENTS + 150),
        ("training_examples_v2", N_EVENTS + 150),
        ("texts", 1_000),
        ("parsed_events", N_EVENTS + 180),
        ("rejected_events", 50),
    ],
)
def test_both_engines_make_the_same_rows(table: str, at_least: int, both: Project) -> None:
    n_rows, only_duckdb, only_spark = compared(both, table)
    assert n_rows >= at_least
    assert (only_duckdb, only_spark) == ([], [])


def test_the_profile_differs_in_last_digits_only(both: Project) -> None:
    """Means and PSI are sums of fractions, and the engines interpolate quantiles each in its own way."""
    profile = (
        "(select feature, event_date, n_rows, n_sampled, null_rate, psi, mean, q05, q50, q95,"
        " list_sum(train_deciles) as deciles, list_sum(train_shares) as shares from {})"
    )
    same = [f"ours.{name} = theirs.{name}" for name in ("n_rows", "n_sampled", "null_rate")] + [
        f"(ours.{name} is null and theirs.{name} is null"
        f" or abs(ours.{name} - theirs.{name}) <= 1e-12 * greatest(abs(ours.{name}), 1))"
        for name in ("psi", "mean", "q05", "q50", "q95", "deciles", "shares")
    ]
    spark = f"'{both.folder}/data/spark/simulated/warehouse/simulated.db/feature_profile/*.parquet'"
    with duckdb.connect(str(both.folder / "data/simulated.duckdb"), read_only=True) as connection:
        found = connection.sql(
            f"select count(*), count(*) filter (where {' and '.join(same)})"
            f" from {profile.format('feature_profile')} as ours"
            f" full join {profile.format(spark)} as theirs using (feature, event_date)"
        ).fetchall()
    assert found[0][0] == found[0][1] > 31 * 100


def test_the_comparison_sees_one_different_row(both: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of Spark's texts with one count changed is not the same."""
    altered = both.folder / "data/altered.parquet"
    source = files_of("texts", "spark")
    with duckdb.connect(config={"file_search_path": str(both.folder)}) as connection:
        connection.sql(
            f"copy (select * replace (n_rows + (text_id = (select min(text_id) from {source}))::bigint as n_rows)"
            f" from {source}) to '{altered}'"
        )
    real = files_of
    monkeypatch.setattr(
        f"{__name__}.files_of", lambda table, engine: f"'{altered}'" if engine == "spark" else real(table, engine)
    )
    assert [len(rows) for rows in compared(both, "texts")[1:]] == [1, 1]


@pytest.mark.parametrize("mart", ["training_examples_v1", "training_examples_v2", "texts"])
def test_the_record_is_the_same_but_for_the_engine(mart: str, both: Project) -> None:
    records = {}
    for folder in ("duckdb", "simulated"):
        (record,) = (both.folder / "data/marts" / folder / mart / "_build").glob("*.json")
        records[folder] = json.loads(record.read_text())
        assert records[folder].pop("invocation_id")
    assert records["duckdb"].pop("adapter") == "duckdb"
    assert records["simulated"].pop("adapter") == "spark"
    for column in records["duckdb"]["columns"]:
        spelled = column["data_type"].lower().replace("text", "string").replace("integer", "int")
        column["data_type"] = re.sub(r"(\w+)\[\]", r"array<\1>", spelled)
    assert records["simulated"] == records["duckdb"]


# As in a profile of one's own that leaves partitions to the metastore: there nobody may forget to register them.
REGISTERED = Edit("profiles.yml", 'manageFilesourcePartitions: "false"', 'manageFilesourcePartitions: "true"')

MART = """{{{{ config(materialized='{materialization}', partition_by='event_date') }}}}
{{{{ config(empty_when='there_is_nothing') if this.name == 'rightly_empty' }}}}
select id, cast(day as date) as event_date
from (values (1, '2024-01-01'), (2, '2024-01-01'), (3, '2024-01-02')) as days (id, day)
where {condition}
"""


def test_no_empty_table_passes_for_a_mart(tmp_path: Path) -> None:
    """An empty result stops the build, and so does the mutant: a table over partitions that nobody registered."""
    project = Project(tmp_path / "project", (REGISTERED,))
    models = project.folder / "warehouse/models"
    for folder in (models, project.folder / "warehouse/data_tests"):
        shutil.rmtree(folder)
    models.mkdir()
    macros = project.folder / "warehouse/macros"
    mart = (macros / "mart_spark.sql").read_text().split("{% macro ")[0]
    check = "        {%- set n_read ="
    assert mart.count(check) == 1, "mart_spark.sql no longer counts what it wrote"
    mutant = mart.replace("materialization mart,", "materialization unregistered,").replace(
        check, "    {%- do register_mart(target_relation, written.ddl, partition_by, place) -%}\n" + check
    )
    (macros / "unregistered.sql").write_text(mutant)
    (macros / "nothing.sql").write_text("{% macro there_is_nothing() %}{{ return(true) }}{% endmacro %}")
    for name, materialization, condition in (
        ("whole", "mart", "true"),
        ("nothing", "mart", "id > 3"),
        ("rightly_empty", "mart", "id > 3"),
        ("unregistered", "unregistered", "true"),
    ):
        (models / f"{name}.sql").write_text(MART.format(materialization=materialization, condition=condition))
    (models / "plain.sql").write_text("select * from {{ ref('whole') }}")
    tables = project.folder / "data/spark/my_log/warehouse/my_log.db"
    marts = project.folder / "data/marts/my_log"
    for place in (tables / "plain", marts / ".whole.partial"):  # what a build leaves that is killed while it writes
        place.mkdir(parents=True)
        (place / "part-00000.parquet").write_bytes(b"half")
    result = project.dbt("run", "--target", "spark")
    said = " ".join(result.stdout.split())
    assert result.returncode == 1
    assert "PASS=4 WARN=0 ERROR=2" in said, "two marts, a table and the hook of the project"
    for place in (tables / "plain", marts / "whole"):
        assert sum(pq.read_metadata(path).num_rows for path in place.rglob("*.parquet")) == 3
    assert sorted(path.name for path in (marts / "whole").glob("event_date=*")) == [
        "event_date=2024-01-01",
        "event_date=2024-01-02",
    ]
    assert json.loads(next((marts / "whole/_build").glob("*.json")).read_text())["n_rows"] == 3
    assert json.loads(next((marts / "rightly_empty/_build").glob("*.json")).read_text())["n_rows"] == 0
    assert "nothing would be empty; the mart at" in said
    assert not (marts / "nothing").exists()
    assert "unregistered reads back 0 rows of the 3 that were computed" in said
    assert not (marts / "unregistered/_build").exists()


PARTITIONED = Edit(
    ADAPTER,
    "raw_parquet('*.parquet', columns, 'Copy the Parquet files of my_log there.')",
    "raw_parquet('**/*.parquet', columns + ['part'], 'Copy them.', partitions=['part'])",
)
PART = Edit(ADAPTER, "title as item_title", "concat(title, coalesce(part, 'none')) as item_title")


def test_parquet_of_many_types(tmp_path: Path) -> None:
    """Parquet of many types, under folders that are columns: Spark reads the very rows that DuckDB reads."""
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
            types = {
                name: str(type_)
                for name, type_, *_ in connection.sql(f"describe select * from {spark.format(table)}").fetchall()
            }
            names = [name for name, *_ in connection.sql(f"describe {table}").fetchall() if name != "identity"]
            ours = ", ".join(names)
            theirs = ", ".join(f"timezone('UTC', {name})" if "ZONE" in types[name] else name for name in names)
            mine = f"select {ours} from {table}"
            other = f"select {theirs} from {spark.format(table)}"
            assert connection.sql(f"select count(*) from ({mine})").fetchall()[0][0] >= at_least
            assert connection.sql(f"{mine} except all {other}").fetchall() == []
            assert connection.sql(f"{other} except all {mine}").fetchall() == []


def test_rows_on_spark(tmp_path: Path) -> None:
    """As test_times.py has it on DuckDB."""
    Times(tmp_path / "project").read_in_rows(texts(N_TEXTS), "spark")


def test_the_same_pages_on_spark(tmp_path: Path) -> None:
    """A project of one's own, its adapter as `warehouse init` wrote it."""
    project = OwnProject(tmp_path, "pages")
    files = {"a.parquet": pages_of(120, seed=1)}
    project.deliver(pages_table(files["a.parquet"]), "a.parquet")
    project.init("--log", "logs/*.parquet")
    project.dbt("dbt deps")
    project.dbt("dbt run --target spark --select +stg_events --vars '{dataset: pages}'")
    stored = project.folder / "data/spark/pages/warehouse/pages.db"
    compare_with(project, files, f"'{stored}/{{}}/*.parquet'")
