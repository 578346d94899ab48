"""One closed list of times: rows on both engines and vars are read as an independent parser reads them."""

import datetime as dt
import json
import shutil
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.warehouse.logs import random_log
from tests.warehouse.project import MY_LOG, Project
from tests.warehouse.times import TOO_FINE, read_time, texts

N_TEXTS, N_VARS = 30_000, 4_000
EPOCH = dt.datetime(1970, 1, 1)
IN_ROWS = """{{{{ config(materialized='table') }}}}
select
    text,
    {{{{ micros(instant('text')) }}}} as micros,
    {{{{ time_error('event_at', 'text') }}}} as reason
from {source}
"""
IN_VARS = """{{ config(materialized='table') }}
{% for value in var('texts') + var('typed') %}
select {{ loop.index0 }} as id, '{{ utc_of(value) or '' }}' as instant {{ 'union all' if not loop.last }}
{% endfor %}
"""
# Values as YAML reads them without quotes: dates, timestamps, numbers and what is neither.
TYPED = {
    "2024-02-01": "2024-02-01 00:00:00",
    "2024-02-01 10:00:00": "2024-02-01 10:00:00",
    "2024-02-01 10:00:00.25": "2024-02-01 10:00:00.250000",
    "2024-02-01T10:00:00Z": "2024-02-01 10:00:00",
    "2024-02-01T10:00:00+08:00": "2024-02-01 02:00:00",
    "2024-02-01 10:00:00 -3:30": "2024-02-01 13:30:00",
    "2024-2-1 9:05": "2024-02-01 09:05:00",
    "9999-12-31": "9999-12-31 00:00:00",
    "1706745600": "2024-02-01 00:00:00",
    "1706745600.5": "2024-02-01 00:00:00.500000",
    "1706745600000": "2024-02-01 00:00:00",
    "20240201": "",
    "2024": "",
    "1.5": "",
    "0": "",
    "true": "",
    "null": "",
    "[2024-02-01]": "",
    "{day: 2024-02-01}": "",
    "9999-12-31T23:00:00-05:00": "",
    "0001-01-01T00:00:00+05:00": "",
}


def expected(text: str) -> tuple[int | None, str]:
    """What a row's text must become; the reason counts where there is no time."""
    found = read_time(text)
    if isinstance(found, int):
        return found, ""
    return None, f"event_at is {'finer than a microsecond' if found == TOO_FINE else 'not a time'}: {text}"


class Times:
    """A project whose models do nothing but read times."""

    def __init__(self, folder: Path):
        self.project = Project(folder)
        self.models = folder / "warehouse/models"
        for unneeded in (self.models, folder / "warehouse/data_tests"):
            shutil.rmtree(unneeded)
        self.models.mkdir()

    def run(self, sql: str, *arguments: str) -> None:
        (self.models / "times.sql").write_text(sql)
        result = self.project.dbt("run", *arguments)
        assert result.returncode == 0, result.stdout + result.stderr

    def read_in_rows(self, wanted: list[str], engine: str) -> None:
        """Every text as a row: the right instant or the right reason."""
        file = self.project.folder / "texts.parquet"
        pq.write_table(pa.table({"text": wanted}), file)
        sources = {"duckdb": f"read_parquet('{file}')", "spark": f"parquet.`{file}`"}
        self.run(IN_ROWS.format(source=sources[engine]), "--target", engine)
        if engine == "duckdb":
            found = self.project.query("select * from times")
        else:
            found = duckdb.sql(
                f"from '{self.project.folder}/data/spark/my_log/warehouse/my_log.db/times/*.parquet'"
            ).to_arrow_table()
        rows = {
            row["text"]: (row["micros"], row["reason"] if row["micros"] is None else "") for row in found.to_pylist()
        }
        wrong = [(text, rows[text], expected(text)) for text in wanted if rows[text] != expected(text)]
        assert not wrong, f"{len(wrong)} of {len(wanted)} texts: {wrong[:9]}"


@pytest.fixture(scope="module")
def times(tmp_path_factory: pytest.TempPathFactory) -> Times:
    return Times(tmp_path_factory.mktemp("times") / "project")


def test_the_texts_are_worth_reading() -> None:
    """Thousands each of times and of what is none, and some that are too fine."""
    found = [read_time(text) for text in texts(N_TEXTS)]
    assert sum(isinstance(time, int) for time in found) > 5_000
    assert found.count(None) > 5_000
    assert found.count(TOO_FINE) > 100


def test_rows_on_duckdb(times: Times) -> None:
    times.read_in_rows(texts(N_TEXTS), "duckdb")


def test_vars(times: Times) -> None:
    """The same texts in a var. Python's dates end with the year 9999, and vars with them."""
    wanted = [text for text in texts(N_VARS, seed=2) if "0001" not in text and "9999" not in text]
    settings = times.project.folder / "dbt_project.yml"
    before = settings.read_text()
    given = f"vars:\n  texts: {json.dumps(wanted)}\n  typed: [{', '.join(TYPED)}]\n"
    settings.write_text(before.replace("vars:\n", given, 1))
    try:
        times.run(IN_VARS)
    finally:
        settings.write_text(before)
    found = times.project.query("select instant from times order by id")["instant"].to_pylist()
    right = [
        str(EPOCH + dt.timedelta(microseconds=micros)) if isinstance(micros, int) else ""
        for micros in map(read_time, wanted)
    ] + list(TYPED.values())
    wrong = [each for each in zip([*wanted, *TYPED], found, right, strict=True) if each[1] != each[2]]
    assert not wrong, f"{len(wrong)} of {len(right)} values: {wrong[:9]}"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project as it is, with a log."""
    project = Project(tmp_path_factory.mktemp("vars") / "project")
    project.write_log(random_log(300))
    return project


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"val_from": "2024-10-01", "test_from": "2024-9-15"},
            "val_from (2024-10-01 00:00:00) must be before test_from (2024-09-15 00:00:00)",
        ),
        (
            {"val_from": "2024-02-08T01:00+00:30", "test_from": "2024-02-08T08:30+08"},
            "val_from (2024-02-08 00:30:00) must be before test_from (2024-02-08 00:30:00)",
        ),
        (
            {"val_from": "2024-02-01 9:05 PM"},
            "var val_from of dataset my_log is '2024-02-01 9:05 PM', expected a time such as",
        ),
        (
            {"test_from": "2024-02-08 CET"},
            "var test_from of dataset my_log is '2024-02-08 CET', expected a time such as",
        ),
        ({"test_from": 20240208}, "var test_from of dataset my_log is '20240208', expected a time such as"),
        ({"val_from": "2024-02-30"}, "var val_from of dataset my_log is '2024-02-30', expected a time such as"),
        (
            {"serve_as_of": "2024-02-01 10:00"},
            "var serve_as_of of dataset my_log is '2024-02-01 10:00', expected a day (UTC)",
        ),
        (
            {"serve_as_of": "2024-02-01T00:00+08"},
            "var serve_as_of of dataset my_log is '2024-02-01T00:00+08', expected a day",
        ),
        ({"refresh_from": "last week"}, "var refresh_from of dataset my_log is 'last week', expected a day (UTC)"),
        (
            {"max_gap_days": "many"},
            "var max_gap_days of dataset my_log is 'many', expected a number that is not negative, or null",
        ),
        (
            {"future_tolerance": -1},
            "var future_tolerance of dataset my_log is '-1', expected a number that is not negative",
        ),
    ],
)
def test_a_var_that_cannot_be_read_is_named(given: dict, message: str, project: Project) -> None:
    result = project.dbt("parse", dataset_vars=MY_LOG | given)
    assert result.returncode != 0
    assert message in " ".join(result.stdout.split())


def test_vars_count_as_the_instants_they_are(project: Project) -> None:
    """Offsets, unquoted dates and Unix seconds in the project file: split, record and as-of day are in UTC."""
    east = dt.timezone(dt.timedelta(hours=8))
    path = project.folder / "dbt_project.yml"
    settings = yaml.safe_load(path.read_text())
    settings["vars"]["datasets"]["my_log"] |= {
        "val_from": dt.datetime(2024, 2, 1, 8, tzinfo=east),
        "test_from": 1707350400,
        "serve_as_of": dt.datetime(2024, 2, 11, 8, tzinfo=east),
        "refresh_from": dt.date(2024, 2, 10),
        "label_delay": 3600,
    }
    path.write_text(yaml.safe_dump(settings))
    assert "val_from: 2024-02-01 08:00:00+08:00\n" in path.read_text()
    for _ in range(2):  # the second is a refresh of the days asked for
        result = project.dbt("run", "--select", "+training_examples_v1", "feat_scene_latest")
        assert result.returncode == 0, result.stdout
    spans = project.query(
        "select split, min(event_at) as first, max(event_at) as last from training_examples_v1 group by split"
    )
    first = {row["split"]: row["first"] for row in spans.to_pylist()}
    last = {row["split"]: row["last"] for row in spans.to_pylist()}
    assert (
        last["train"]
        < dt.datetime(2024, 2, 1)
        <= first["val"]
        <= last["val"]
        < dt.datetime(2024, 2, 8)
        <= first["test"]
    )
    record = json.loads((project.folder / "data/marts/my_log/training_examples_v1/_build/build.json").read_text())
    assert [record["vars"][name] for name in ("val_from", "test_from")] == [
        "2024-02-01 00:00:00",
        "2024-02-08 00:00:00",
    ]
    assert record["vars"]["label_delay"] == 3600, "a block wins over the var for all datasets"
    assert str(project.query("select as_of_date from feat_scene_latest")["as_of_date"][0]) == "2024-02-11"
