"""Times later than now are rejected, and times far from all others stop the build: no window is empty in silence."""

import datetime as dt
import re
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from tests.warehouse.logs import random_log, with_column
from tests.warehouse.project import MY_LOG, Project

STAGE = ("run", "--select", "+stg_events")
NOW = dt.datetime.now(dt.UTC).replace(tzinfo=None, microsecond=0)
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)


def one_row(log: pa.Table, name: str, shown_at: dt.datetime, ingested_at: dt.datetime | None) -> pa.Table:
    """The first row of `log` with another id and other times."""
    row = log.slice(0, 1)
    for column, value in {"impression_id": name, "shown_at": shown_at, "ingested_at": ingested_at}.items():
        row = with_column(row, column, [value])
    return row.cast(log.schema)


def test_what_is_later_than_now_is_rejected(tmp_path: Path) -> None:
    """A written time of more than a day from now. An outcome that is known so late only by label_delay is not wrong."""
    project = Project(tmp_path / "project")
    log = random_log(20)
    cases = {
        "a little later": (NOW + 20 * HOUR, NOW + 20 * HOUR, None),
        "known a little later": (NOW - DAY, NOW + 20 * HOUR, None),
        "known after label_delay": (NOW - HOUR, None, None),
        "later": (NOW + 2 * DAY, NOW + 2 * DAY, "event_at"),
        "later, known after label_delay": (NOW + 2 * DAY, None, "event_at"),
        "known later": (NOW - HOUR, NOW + 2 * DAY, "known_at"),
        "known in 2099": (NOW - HOUR, dt.datetime(2099, 1, 1), "known_at"),
    }
    project.write_log(pa.concat_tables(one_row(log, name, *times) for name, (*times, _) in cases.items()))
    given = MY_LOG | {"label_delay": 30 * 86_400, "max_rejected_rate": 0.9}
    result = project.dbt(*STAGE, dataset_vars=given)
    assert result.returncode == 0, result.stdout
    accepted = project.query("select event_id from stg_events")["event_id"].to_pylist()
    assert sorted(accepted) == sorted(name for name, (*_, wrong) in cases.items() if wrong is None)
    rejected = {row["source_row"]: row["reason"] for row in project.query("from rejected_events").to_pylist()}
    for number, (*_, wrong) in enumerate(cases.values(), start=1):
        assert rejected.get(number, "").startswith(f"{wrong} is later than now: ") == bool(wrong)

    # The tolerance is a var, and a refresh says of rows that are rejected when their time has come.
    result = project.dbt(*STAGE, dataset_vars=given | {"future_tolerance": 3 * 86_400})
    assert project.query("select count(*) as n from rejected_events")["n"].to_pylist() == [1]
    with duckdb.connect(str(project.folder / "data/my_log.duckdb")) as connection:
        connection.execute(f"update parsed_events set known_at = timestamp '{NOW}' where event_id = 'known in 2099'")
    result = project.dbt(*STAGE, dataset_vars=given | {"future_tolerance": 3 * 86_400})
    assert "1 rows were rejected as later than now, and no longer are. dbt build --full-refresh" in result.stdout


START = dt.datetime(2024, 1, 20, 12)
WILD = {
    "one event of 1975": (
        (dt.datetime(1975, 5, 10, 12), START),
        "event_at of 1 of 401 rows is 1975-05-10, 17768 days before all others (2024-01-01); var max_gap_days",
    ),
    "one event of 2026": (
        (dt.datetime(2026, 6, 1), dt.datetime(2026, 6, 1)),
        "event_at of 1 of 401 rows is 2026-06-01, 838 days after all others (2024-02-14); var max_gap_days",
    ),
    "one outcome known two years later": (
        (START, dt.datetime(2026, 2, 1)),
        "known_at of 1 of 401 rows is 2026-02-01, 716 days after all others (2024-02-16); var max_gap_days",
    ),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("wild") / "project")


def said_of(project: Project, *flags: str, **given: object) -> str:
    """What a build that stops says; empty if it doesn't."""
    result = project.dbt(*STAGE, *flags, dataset_vars=MY_LOG | given)
    assert (result.returncode != 0) == ("max_gap_days allows" in result.stdout), result.stdout
    said = " ".join(result.stdout.split())
    return re.search(r"(event|known)_at of .* null for no limit\.", said)[0] if result.returncode else ""


@pytest.mark.parametrize("case", WILD)
def test_a_time_far_from_all_others_stops_the_build(case: str, project: Project) -> None:
    """In a refresh that brings it, in every later build and in a full one; until it is gone or the var allows it."""
    project.forget()
    times, message = WILD[case]
    log = random_log(400)
    project.write_log(log)
    assert said_of(project) == ""
    project.write_log(one_row(log, "wild", *times), "wild.parquet")
    in_refresh = said_of(project)
    assert in_refresh.startswith(message)
    assert "For example row 1 of wild.parquet, event wild." in in_refresh
    assert said_of(project) == in_refresh == said_of(project, "--full-refresh")
    assert said_of(project, max_gap_days=None) == "" == said_of(project, max_gap_days=17768)
    (project.folder / "data/raw/my_log/wild.parquet").unlink()
    assert said_of(project) == ""


def test_a_log_may_pause(tmp_path: Path) -> None:
    """Two seasons, a hole of less than max_gap_days, and the first day after one."""
    project = Project(tmp_path / "project")
    log = random_log(400)

    def moved(table: pa.Table, days: int) -> pa.Table:
        for name in ("shown_at", "ingested_at"):
            table = with_column(table, name, [at + days * DAY for at in table[name].to_pylist()])
        ids = [f"{days} {name}" for name in table["impression_id"].to_pylist()]
        return with_column(table, "impression_id", ids)

    project.write_log(pa.concat_tables([log, moved(log, 330), moved(log.slice(0, 1), 330 + 45 + 170)]))
    assert said_of(project) == ""
