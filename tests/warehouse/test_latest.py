"""feat_*_latest: what the daily features would be on the day a server asks, for every key ever seen."""

import datetime as dt
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from tests.warehouse.logs import SURFACES, random_log
from tests.warehouse.project import MY_LOG, Edit, Project
from tests.warehouse.reference import Settings, features_v1
from warehouse.prove.verdicts import agree

KEYS = {"user": ("user_id",), "item": ("item_id",), "user_item": ("user_id", "item_id")}
LATEST = [f"feat_{name}_latest" for name in ("scene", *KEYS)]
MID = dt.date(2024, 1, 16)


def with_one_more_day(log: pa.Table) -> tuple[pa.Table, dt.date]:
    """The log with every pair that ever met shown once more on the day after its last known day, and that day."""
    day = max(log["ingested_at"].to_pylist()).date() + dt.timedelta(days=1)
    rows, met = log.to_pylist(), {}
    for row in rows:
        met.setdefault((row["user_id"], row["item_id"]), row)
    at = dt.datetime.combine(day, dt.time(12))
    more = [
        row | {"impression_id": f"more{number}", "shown_at": at, "ingested_at": at}
        for number, row in enumerate(met.values())
    ]
    return pa.concat_tables([log, pa.Table.from_pylist(more, schema=log.schema)]), day


@pytest.fixture(scope="module")
def log() -> pa.Table:
    return random_log(n_events=1200)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, log: pa.Table) -> Project:
    project = Project(tmp_path_factory.mktemp("latest") / "project")
    project.write_log(log)
    result = project.dbt("run", "--select", *(f"+{model}" for model in LATEST))
    assert result.returncode == 0, result.stdout
    return project


@pytest.fixture(scope="module")
def daily(tmp_path_factory: pytest.TempPathFactory, log: pa.Table) -> Project:
    """The daily features of a log that goes on for a day, so that they hold a row of every key on that day."""
    daily = Project(tmp_path_factory.mktemp("latest") / "daily")
    daily.write_log(with_one_more_day(log)[0])
    result = daily.dbt("run", "--select", *(f"+feat_{name}_v1" for name in ("scene", *KEYS)))
    assert result.returncode == 0, result.stdout
    return daily


def sorted_rows(project: Project, table: str, keys: tuple[str, ...], day: dt.date) -> pa.Table:
    return project.query(f"select * from {table} where as_of_date = '{day}' order by {', '.join(keys)}")


@pytest.mark.parametrize(("name", "keys"), [("scene", ("as_of_date",)), *KEYS.items()])
def test_latest_is_the_daily_feature_of_the_next_day(
    name: str, keys: tuple[str, ...], project: Project, daily: Project, log: pa.Table
) -> None:
    """Every key, every column, to the bit; and no other row."""
    day = with_one_more_day(log)[1]
    latest = sorted_rows(project, f"feat_{name}_latest", keys, day)
    assert latest.equals(sorted_rows(daily, f"feat_{name}_v1", keys, day))
    assert len(latest) == project.query(f"select count(*) as n from feat_{name}_latest")["n"][0].as_py()
    if name != "scene":
        ever = {tuple(row.values()) for row in log.select(list(keys)).to_pylist()}
        assert {tuple(row[key] for key in keys) for row in latest.to_pylist()} == ever


def test_latest_equals_its_brute_force_recomputation(project: Project, log: pa.Table) -> None:
    raw, day = log.to_pylist(), with_one_more_day(log)[1]
    settings = Settings(scenes=SURFACES)
    served = {
        name: {
            tuple(row[key] for key in keys): row
            for row in sorted_rows(project, f"feat_{name}_latest", keys, day).to_pylist()
        }
        for name, keys in KEYS.items()
    }
    for event in raw[::40]:
        asked = event | {"shown_at": dt.datetime.combine(day, dt.time(8))}
        expected = features_v1(asked, raw, settings)
        for name, keys in KEYS.items():
            row = served[name][tuple(event[key] for key in keys)]
            for column in row.keys() - {*keys, "as_of_date"}:
                assert agree(row[column], expected[column]), f"{column} of {event['user_id']}, {event['item_id']}"


def test_an_earlier_date_can_be_asked_for(project: Project, tmp_path: Path) -> None:
    """var serve_as_of in mid-log: equal to the daily features of that day, for each key that has a row on it."""
    earlier = Project(tmp_path / "project")
    shutil.copytree(project.folder / "data", earlier.folder / "data", dirs_exist_ok=True)
    select = ["run", "--select", *LATEST, "feat_scene_v1", "feat_user_v1", "feat_item_v1", "feat_user_item_v1"]
    result = earlier.dbt(*select, dataset_vars=MY_LOG | {"serve_as_of": str(MID)})
    assert result.returncode == 0, result.stdout
    for name, keys in {"scene": ("as_of_date",), **KEYS}.items():
        order = [(key, "ascending") for key in keys]
        both = f"(from feat_{name}_v1 where as_of_date = '{MID}') using ({', '.join(keys)})"
        expected = earlier.query(
            f"select a.* from feat_{name}_v1 as a semi join feat_{name}_latest as b "
            f"using ({', '.join(keys)}) where a.as_of_date = '{MID}'"
        )
        assert len(expected)
        found = earlier.query(f"select * from feat_{name}_latest semi join {both}")
        assert found.sort_by(order).equals(expected.sort_by(order))
        if name != "scene":  # who is met for the first time on that day is not known yet
            new = f"select count(*) as n from feat_{name}_v1 anti join feat_{name}_latest using ({', '.join(keys)})"
            known = f" where as_of_date = '{MID}' and {name}_n_impressions_cum is not null"
            assert earlier.query(new + known)["n"].to_pylist() == [0]
        days = earlier.query(f"select distinct as_of_date from feat_{name}_latest")["as_of_date"].to_pylist()
        assert days == [MID]
    n_met = "select count(distinct user_id) as n from int_user_daily where day < '2024-01-16'"
    assert earlier.query("select count(*) as n from feat_user_latest").equals(earlier.query(n_met))


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("warehouse/macros/windows.sql", "day >= as_of_date - 7", "day >= as_of_date - 6"),
        ("warehouse/macros/windows.sql", "day >= as_of_date - 7", "day >= as_of_date - 8"),
        (
            "warehouse/models/marts/feat_user_latest.sql",
            "pivoted.n_impressions > 0 then pivoted.day",
            "true then pivoted.day",
        ),
        ("warehouse/models/marts/feat_scene_latest.sql", "max(day) + 1", "max(day)"),
    ],
    ids=["six days", "eight days", "shown counts as known", "a day early"],
)
def test_mutant_is_caught(
    path: str, old: str, new: str, project: Project, daily: Project, log: pa.Table, tmp_path: Path
) -> None:
    mutated = Project(tmp_path / "project", (Edit(path, old, new),))
    shutil.copytree(project.folder / "data", mutated.folder / "data", dirs_exist_ok=True)
    result = mutated.dbt("run", "--select", "feat_scene_latest", "feat_user_latest")
    assert result.returncode == 0, result.stdout
    day = with_one_more_day(log)[1]
    expected = sorted_rows(daily, "feat_user_v1", ("user_id",), day)
    assert not sorted_rows(mutated, "feat_user_latest", ("user_id",), day).equals(expected)
