"""The proofs: brute force, scrambled future, rows in = rows out; and the mutants of the SQL that they must catch."""

import datetime as dt
import math
import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from tests.warehouse.logs import FIRST_DAY, SURFACES, random_log, with_column
from tests.warehouse.project import ROOT, Edit, Project
from tests.warehouse.reference import Settings, features_v1, features_v2

SETTINGS = Settings(scenes=SURFACES)
REFERENCE: dict[int, Callable] = {1: features_v1, 2: features_v2}
# What came with the row itself, or is an id of a text: not computed from other events.
CARRIED = {"ctx_dense", "ctx_ids", "user_last_title_text_ids"}


def features_of(version: int) -> list[str]:
    """The names that the contract of training_examples declares as computed from events."""
    contract = yaml.safe_load((ROOT / "warehouse/models/marts/training_examples.yml").read_text())["models"][0]
    (columns,) = (each["columns"] for each in contract["versions"] if each["v"] == version)
    roles = {column["name"]: column["config"]["meta"]["role"] for column in columns}
    return [name for name, role in roles.items() if role in ("feature", "level", "history") and name not in CARRIED]


def agree(found: object, expected: object) -> bool:
    if isinstance(expected, list) and isinstance(found, list):
        return len(found) == len(expected) and all(map(agree, found, expected))
    if isinstance(expected, float) and found is not None:
        return math.isclose(found, expected, rel_tol=1e-9)
    return found == expected


def disagreements(mart: pa.Table, log: pa.Table, version: int, n_sampled: int = 300) -> list[str]:
    """Sampled rows of the mart against the reference: a line for each feature that differs or row that is missing."""
    raw = log.to_pylist()
    rows = {row["event_id"]: row for row in mart.to_pylist()}
    found = []
    for event in random.Random(7).sample(raw, min(n_sampled, len(raw))):
        row = rows.get(event["impression_id"])
        if row is None:
            found.append(f"{event['impression_id']} is missing")
            continue
        for name, expected in REFERENCE[version](event, raw, SETTINGS).items():
            if not agree(row[name], expected):
                found.append(f"{event['impression_id']} {name}: {row[name]}, expected {expected}")
    return found


def lost_or_made(mart: pa.Table, log: pa.Table) -> list[str]:
    """Event ids that are not exactly once on both sides."""
    ids = sorted(set(mart["event_id"].to_pylist()) ^ set(log["impression_id"].to_pylist()))
    return ids + (["rows doubled"] if len(mart) > len(set(mart["event_id"].to_pylist())) else [])


@pytest.fixture(scope="module")
def log() -> pa.Table:
    return random_log()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("proofs") / "project")


@pytest.fixture(scope="module")
def marts(project: Project, log: pa.Table) -> dict[int, pa.Table]:
    return project.build_marts(log)


@pytest.mark.parametrize("version", [1, 2])
def test_the_reference_knows_every_feature(version: int, log: pa.Table) -> None:
    """A new feature must be added to the reference too, else nothing proves it."""
    some = log.to_pylist()[:50]
    assert set(REFERENCE[version](some[0], some, SETTINGS)) == set(features_of(version))


@pytest.mark.parametrize("version", [1, 2])
def test_every_feature_equals_its_brute_force_recomputation(version: int, marts: dict, log: pa.Table) -> None:
    assert disagreements(marts[version], log, version) == []


@pytest.mark.parametrize("version", [1, 2])
def test_every_event_is_one_row(version: int, marts: dict, log: pa.Table) -> None:
    assert lost_or_made(marts[version], log) == []


@pytest.mark.parametrize("hours", [8 * 24, 21 * 24 + 15, 35 * 24])
def test_no_feature_moves_when_the_future_is_scrambled(hours: int, marts: dict, log: pa.Table, tmp_path: Path) -> None:
    """Every label known at or after a moment is flipped; no feature of an event up to that moment may move.

    In v1 no feature may move on any later event of the same day either: it is as of that day's start.
    """
    moment = FIRST_DAY + dt.timedelta(hours=hours)
    flipped = [
        1 - clicked if known_at >= moment else clicked
        for clicked, known_at in zip(log["clicked"].to_pylist(), log["ingested_at"].to_pylist(), strict=True)
    ]
    scrambled = Project(tmp_path / "project").build_marts(with_column(log, "clicked", flipped))
    for version, mart in marts.items():
        before = [
            row["event_date"] <= moment.date() if version == 1 else row["event_at"] <= moment
            for row in mart.to_pylist()
        ]
        was, now = mart.select(features_of(version)), scrambled[version].select(features_of(version))
        assert was.filter(before).equals(now.filter(before)), f"v{version} saw the future"
        after = [not is_before for is_before in before]
        assert not was.filter(after).equals(now.filter(after)), f"the scramble reached nothing in v{version}"


def test_row_order_and_file_cuts_do_not_matter(marts: dict, log: pa.Table, tmp_path: Path) -> None:
    shuffled = Project(tmp_path / "project")
    order = random.Random(3).sample(range(len(log)), len(log))
    shuffled.write_log(log.take(order[:700]), "b.parquet")
    shuffled.write_log(log.take(order[700:900]), "a.parquet")
    again = shuffled.build_marts(log.take(order[900:]))
    assert again[1].equals(marts[1])
    assert again[2].equals(marts[2])


FRAMES = "warehouse/macros/windows.sql"
WEEK = "range between interval 7 day preceding and interval 1 day preceding"
EVER = "range between unbounded preceding and interval 1 day preceding"
INSTANT_WEEK = "range between {{ seven_days }} preceding and 1 preceding"
MART_V1 = "warehouse/models/marts/training_examples_v1.sql"
MART_V2 = "warehouse/models/marts/training_examples_v2.sql"
USERS = "from {{ ref('feat_user', v=1) }}"
USER_WINDOWS = "windows('user_id')"
# version of the mart -> name of the mutant -> what it changes
MUTANTS = {
    1: {
        # The write-ups' windows: the current day included, and days counted as rows.
        "write-ups": (
            Edit(FRAMES, WEEK, "rows between 6 preceding and current row"),
            Edit(FRAMES, EVER, "rows between unbounded preceding and current row"),
        ),
        "today included": (Edit(FRAMES, WEEK, "range between interval 7 day preceding and current row"),),
        "today included ever": (Edit(FRAMES, EVER, "range between unbounded preceding and current row"),),
        "rows for days": (Edit(FRAMES, WEEK, "rows between 7 preceding and 1 preceding"),),
        "six days": (Edit(FRAMES, WEEK, WEEK.replace("7", "6")),),
        "eight days": (Edit(FRAMES, WEEK, WEEK.replace("7", "8")),),
        "pairs by user alone": (
            Edit("warehouse/models/features/feat_user_item_v1.sql", "windows('user_id, item_id')", USER_WINDOWS),
        ),
        "whole-log prior": (
            Edit("warehouse/models/features/feat_scene_v1.sql", "n_clicks_cum /", "sum(n_clicks_7d) over () /"),
        ),
        "outcome known when shown": (
            Edit("warehouse/macros/daily_counts.sql", "known_date as day", "event_date as day"),
        ),
        "stale snapshot": (
            Edit("warehouse/models/texts/int_events.sql", "event_date as as_of_date", "event_date - 1 as as_of_date"),
        ),
        "fan-out": (Edit(MART_V1, USERS, f"{USERS} union all {USERS}"),),
        "cold rows lost": (
            Edit("warehouse/macros/key_windows.sql", "windowed.n_shown > 0", "windowed.n_impressions_cum > 0"),
            Edit(MART_V1, "left join users", "inner join users"),
        ),
    },
    2: {
        "ties and the row itself included": (Edit(FRAMES, "and 1 preceding", "and current row"),),
        "a week of rows": (Edit(FRAMES, INSTANT_WEEK, "rows between 7 preceding and 1 preceding"),),
        "a week less an hour": (Edit(FRAMES, "7 * 24 * 3600", "(7 * 24 - 1) * 3600"),),
        "outcome known when shown": (
            Edit("warehouse/macros/instant_counts.sql", "micros('known_at') }} as", "micros('event_at') }} as"),
        ),
        "history one outcome ahead": (
            Edit(
                "warehouse/models/features/feat_user_history_v2.sql",
                "cast(position as bigint)",
                "cast(position - 1 as bigint)",
            ),
        ),
        "pairs joined by user alone": (
            Edit(MART_V2, "from {{ ref('feat_user_item', v=2) }}", "from {{ ref('feat_user_item', v=2) }} qualify"
                 " row_number() over (partition by user_id, event_at order by item_id) = 1"),
            Edit(MART_V2, "left join pairs using (user_id, item_id, event_at)",
                 "left join (select * exclude (item_id) from pairs) as pairs using (user_id, event_at)"),
        ),
    },
}  # fmt: skip


@pytest.mark.parametrize(("version", "name"), [(version, name) for version in MUTANTS for name in MUTANTS[version]])
def test_mutant_is_caught(version: int, name: str, log: pa.Table, tmp_path: Path) -> None:
    mutated = Project(tmp_path / "project", MUTANTS[version][name]).build_marts(log, versions=(version,))[version]
    caught_by = [
        proof
        for proof, found in {
            "brute force": disagreements(mutated, log, version),
            "row conservation": lost_or_made(mutated, log),
        }.items()
        if found
    ]
    assert caught_by, f"nothing caught the mutant: {name}"
    print(f"\nmutant v{version} {name}: caught by {' and '.join(caught_by)}")


BY_HASH = "case hash(event_id) % 3 when 0 then 'val' when 1 then 'test' else 'train' end"


def test_random_split_is_caught(log: pa.Table, tmp_path: Path) -> None:
    """The dbt test split_is_by_time passes on the real split and fails on one drawn by hash."""
    select = ["build", "--select", "+training_examples_v1", "--exclude", "test_type:unit"]
    real = Project(tmp_path / "real")
    real.write_log(log)
    assert real.dbt(*select).returncode == 0
    drawn = Project(
        tmp_path / "drawn", (Edit("warehouse/models/texts/int_events.sql", "{{ split_of('event_at') }}", BY_HASH),)
    )
    drawn.write_log(log)
    result = drawn.dbt(*select)
    assert result.returncode == 1
    assert "FAIL 3 split_is_by_time" in result.stdout
