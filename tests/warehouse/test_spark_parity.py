"""DuckDB and Spark build the same marts, row for row; and on Spark no empty table passes for a mart.

Rows are compared with `except all` in both directions. Nothing is rounded: no feature is a sum of fractions, so both
engines make the same double from the same whole numbers. An instant is compared as UTC, since Spark's timestamps have
a time zone and DuckDB's here have none.
"""

import gzip
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from tests.warehouse.project import ROOT, Project

N_EVENTS = 30_000  # on all 31 days, in all five scenes
FIXTURE = ROOT / "tests/fixtures/antm2c"
# The profile scans every feature of every day several times, which takes Spark minutes on this log; nothing reads it.
MODELS = ("--exclude", "feature_profile")
# One of the odd rows is an event of 1975, which would stop the build.
DATASET = {"dataset": "simulated", "max_gap_days": None}
# A metastore in memory and fewer file-system rounds: a test keeps nothing.
ENVIRONMENT = {"SPARK_METASTORE": "jdbc:derby:memory:metastore;create=true", "SPARK_SHUFFLE_PARTITIONS": "2"}


def missing() -> str:
    """What Spark lacks here; empty if it lacks nothing."""
    if not shutil.which("java") and not os.environ.get("JAVA_HOME"):
        return "no Java: put a JDK 17 on PATH"
    for module in ("pyspark", "dbt.adapters.spark"):
        if importlib.util.find_spec(module) is None:
            return f"no {module}: pip install '.[spark]'"
    return ""


pytestmark = pytest.mark.skipif(bool(missing()), reason=f"Spark is not tested here; {missing()}")


def odd_rows(header: bytes) -> bytes:
    """A CSV file of what engines read differently: numbers, times, blanks, quotes, bytes that are no UTF-8."""
    event = "u{user},{item},{at},{label},food,pay,taxi,{entities},{title},0,{id}" + ",1" * 13 + ",{number}" + ",1" * 12
    rows = [
        {"number": number}
        for number in (
            "1d", "0x1p3", "1_000", " 1.5 ", "inf", "-inf", "NaN", "1e400", "1e", ".5", "+1", ".", "true", "１",
        )
    ]  # fmt: skip
    rows += [
        {"at": at}
        for at in (
            "2023-07-12 10:00:05.1234567", "2023/7/2 3:04", "2023-07-12T10:00:05Z", "2023-07-12 10:00:05+08",
            "2023-07-12 10:00:05-01:30", "2023-07-12 10:00:05 UTC", "1689156005", "168915600", "2023-02-29 10:00:00",
            "2023-07/12 10:00:00", "10:00:00", "2023-07", "2023-07-12", "2023-7-2 3:4:5", "1969-07-12 10:00:00",
            "2023-07-12 10:00:05 Asia/Shanghai", "2023-07-12 10:00:60", "now", "", "1689156005.25", "1689156005250",
            "1689156005250000", "2023-07-12T10:00+0800", " 2023-07-12 10:00:05.123456000 +08 ", "2023-07-12 9:05 PM",
            "2023-07-12 9:05 CET", "2024030110", "2099-01-01 00:00:00", "2023-07-12 24:00",
        )
    ]  # fmt: skip
    rows += [{"label": label} for label in ("1.0", "0.5", "1d", "", "١", " 1 ")]
    rows += [
        {"title": title}
        for title in (
            "\u3000两边有空格\u00a0", "\u3000", '"say ""hi"", twice"', '"one\ntwo"', '"one\r\ntwo"', "back\\slash\\",
            "it's", "line\u2028separator", '""', "\ttab\t", "a,too many",
        )
    ]  # fmt: skip
    rows += [{"entities": entities} for entities in ('" red ,\u3000red,,blue"', '","', '"blue,red"', "a|b.c")]
    rows += [{"user": " "}, {"user": "1"}, {"user": "1"}]
    rows += [
        {"item": item} for item in ("1001.0", "007", "-0.0", "1.2.0", "1e9", "1.5", ".5", "nan", "-Infinity", "1E+16")
    ]
    rows += [{"id": id_} for id_ in ("12.0", "NaN", "-nan", "1e9", "nano")]
    rows += [{"label": label} for label in ("true", "False", "yes")]
    plain = {
        "at": "2023-07-12 10:00:00",
        "label": 1,
        "title": "t",
        "entities": "red",
        "number": 2,
        "item": "i01",
        "id": 1,
    }
    lines = [event.format(**plain | {"user": number} | row).encode() for number, row in enumerate(rows)]
    return b"\n".join([header, *lines, lines[0].replace(b"food", "餐饮".encode("gbk")), b"cut,short", b""])


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The simulated log, the fixture with its bad rows and a file of odd rows, built by both engines."""
    project = Project(tmp_path_factory.mktemp("parity") / "project")
    raw = project.folder / "data/raw/simulated"
    subprocess.run(
        [sys.executable, "-m", "warehouse.simulate", "--events", str(N_EVENTS), "--out", str(raw)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    for part in FIXTURE.glob("*.csv"):
        shutil.copy(part, raw / f"fixture_{part.name}".replace(".csv", ".CSV"))
    header = (FIXTURE / "antm2c_10m_part0.csv").read_bytes().split(b"\n", 1)[0]
    with gzip.open(raw / "odd one.csv.gz", "wb") as odd:
        odd.write(odd_rows(header))
    on_duckdb = project.dbt("run", *MODELS, dataset_vars=DATASET | {"marts_dir": "data/marts/duckdb"})
    assert on_duckdb.returncode == 0, on_duckdb.stdout
    with pytest.MonkeyPatch.context() as environment:
        for name, value in ENVIRONMENT.items():
            environment.setenv(name, value)
        on_spark = project.dbt("run", *MODELS, "--target", "spark", dataset_vars=DATASET | {"spark_format": "orc"})
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
        ("texts", 2_000),
        ("parsed_events", N_EVENTS + 180),
        ("rejected_events", 50),
    ],
)
def test_both_engines_make_the_same_rows(table: str, at_least: int, both: Project) -> None:
    n_rows, only_duckdb, only_spark = compared(both, table)
    assert n_rows >= at_least
    assert (only_duckdb, only_spark) == ([], [])


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


MART = """{{{{ config(materialized='{materialization}', partition_by='event_date') }}}}
{{{{ config(empty_when='there_is_nothing') if this.name == 'rightly_empty' }}}}
select id, cast(day as date) as event_date
from (values (1, '2024-01-01'), (2, '2024-01-01'), (3, '2024-01-02')) as days (id, day)
where {condition}
"""


def test_no_empty_table_passes_for_a_mart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty result stops the build, and so does the mutant: a table over partitions that nobody registered."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    project = Project(tmp_path / "project")
    models = project.folder / "warehouse/models"
    for folder in (models, project.folder / "warehouse/tests"):
        shutil.rmtree(folder)
    models.mkdir()
    macros = project.folder / "warehouse/macros"
    mart = (macros / "mart_spark.sql").read_text().split("{% macro ")[0]
    check = "    {%- set n_read ="
    assert mart.count(check) == 1, "mart_spark.sql no longer counts what it wrote"
    mutant = mart.replace("materialization mart,", "materialization unregistered,").replace(
        check, "    {%- do register_mart(target_relation, aside, partition_by, place) -%}\n" + check
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
    result = project.dbt("run", "--target", "spark")
    said = " ".join(result.stdout.split())
    marts = project.folder / "data/marts/my_log"
    assert result.returncode == 1
    assert "PASS=4 WARN=0 ERROR=2" in said, "two marts and the two hooks of the project"
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
