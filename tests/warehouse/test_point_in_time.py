"""The first proofs: brute force, scrambled future, rows in = rows out; and the mutants that they must catch."""

import datetime as dt
import math
import random
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from tests.warehouse.logs import FIRST_DAY, SURFACES, random_log, with_column
from tests.warehouse.project import ROOT, Edit, Project
from tests.warehouse.reference import Settings, features

SETTINGS = Settings(scenes=SURFACES)
CONTRACT = yaml.safe_load((ROOT / "warehouse/models/marts/training_examples.yml").read_text())["models"][0]["columns"]
# What came with the row itself: not computed from other events.
CARRIED = {"ctx_dense", "ctx_ids"}
FEATURES = [
    column["name"]
    for column in CONTRACT
    if column["config"]["meta"]["role"] in ("feature", "level") and column["name"] not in CARRIED
]


def agree(found: object, expected: object) -> bool:
    if isinstance(expected, list) and isinstance(found, list):
        return len(found) == len(expected) and all(map(agree, found, expected))
    if isinstance(expected, float) and found is not None:
        return math.isclose(found, expected, rel_tol=1e-9)
    return found == expected


def disagreements(mart: pa.Table, log: pa.Table, n_sampled: int = 400) -> list[str]:
    """Sampled rows of the mart against the reference: one line a feature that differs; a missing row is a line too."""
    raw = log.to_pylist()
    rows = {row["event_id"]: row for row in mart.to_pylist()}
    found = []
    for event in random.Random(7).sample(raw, min(n_sampled, len(raw))):
        row = rows.get(event["impression_id"])
        if row is None:
            found.append(f"{event['impression_id']} is missing")
            continue
        for name, expected in features(event, raw, SETTINGS).items():
            if not agree(row[name], expected):
                found.append(f"{event['impression_id']} {name}: {row[name]}, expected {expected}")
    return found


def lost_or_made(mart: pa.Table, log: pa.Table) -> list[str]:
    """Event ids that are not exactly once on both sides."""
    return sorted(set(mart["event_id"].to_pylist()) ^ set(log["impression_id"].to_pylist())) + (
        ["rows doubled"] if len(mart) != len(log) else []
    )


@pytest.fixture(scope="module")
def log() -> pa.Table:
    return random_log()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("proofs") / "project")


@pytest.fixture(scope="module")
def mart(project: Project, log: pa.Table) -> pa.Table:
    return project.build_mart(log)


def test_the_reference_knows_every_feature(log: pa.Table) -> None:
    """A new feature must be added to the reference too, else nothing proves it."""
    assert set(features(log.to_pylist()[0], log.to_pylist()[:50], SETTINGS)) == set(FEATURES)


def test_every_feature_equals_its_brute_force_recomputation(mart: pa.Table, log: pa.Table) -> None:
    assert disagreements(mart, log) == []


def test_every_event_is_one_row(mart: pa.Table, log: pa.Table) -> None:
    assert lost_or_made(mart, log) == []


@pytest.mark.parametrize("day", [8, 21, 35])
def test_no_feature_moves_when_the_future_is_scrambled(day: int, mart: pa.Table, log: pa.Table, tmp_path: Path) -> None:
    """Every label known at or after a midnight is flipped; no feature row as of that midnight or before may move."""
    moment = FIRST_DAY + dt.timedelta(days=day)
    flipped = [
        1 - clicked if known_at >= moment else clicked
        for clicked, known_at in zip(log["clicked"].to_pylist(), log["ingested_at"].to_pylist(), strict=True)
    ]
    scrambled = Project(tmp_path / "project").build_mart(with_column(log, "clicked", flipped))
    before = [row["event_date"] <= moment.date() for row in mart.to_pylist()]
    features_only = mart.select(FEATURES), scrambled.select(FEATURES)
    assert features_only[0].filter(before).equals(features_only[1].filter(before))
    after = [not is_before for is_before in before]
    assert not features_only[0].filter(after).equals(features_only[1].filter(after)), "the scramble reached nothing"


def test_row_order_and_file_cuts_do_not_matter(mart: pa.Table, log: pa.Table, tmp_path: Path) -> None:
    shuffled = Project(tmp_path / "project")
    order = random.Random(3).sample(range(len(log)), len(log))
    shuffled.write_log(log.take(order[:700]), "b.parquet")
    shuffled.write_log(log.take(order[700:900]), "a.parquet")
    assert shuffled.build_mart(log.take(order[900:])).equals(mart)


FRAMES = "warehouse/macros/windows.sql"
WEEK = "range between interval 7 day preceding and interval 1 day preceding"
EVER = "range between unbounded preceding and interval 1 day preceding"
MART = "warehouse/models/marts/training_examples_v1.sql"
USERS = "from {{ ref('feat_user', v=1) }}"
BY_HASH = "case hash(event_id) % 3 when 0 then 'val' when 1 then 'test' else 'train' end"
MUTANTS = {
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
        Edit("warehouse/models/features/feat_user_item_v1.sql", "windows('user_id, item_id')", "windows('user_id')"),
    ),
    "whole-log prior": (
        Edit("warehouse/models/features/feat_scene_v1.sql", "n_clicks_cum /", "sum(n_clicks_7d) over () /"),
    ),
    "outcome known when shown": (Edit("warehouse/macros/daily_counts.sql", "known_date as day", "event_date as day"),),
    "stale snapshot": (Edit(MART, "event_date as as_of_date", "event_date - 1 as as_of_date"),),
    "fan-out": (Edit(MART, USERS, f"{USERS} union all {USERS}"),),
    "cold rows lost": (
        Edit("warehouse/macros/key_windows.sql", "windowed.n_shown > 0", "windowed.n_impressions_cum > 0"),
        Edit(MART, "left join users", "inner join users"),
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_caught(name: str, log: pa.Table, tmp_path: Path) -> None:
    mutated = Project(tmp_path / "project", MUTANTS[name]).build_mart(log)
    assert disagreements(mutated, log) or lost_or_made(mutated, log), f"nothing caught the mutant: {name}"


def test_random_split_is_caught(log: pa.Table, tmp_path: Path) -> None:
    """The dbt test split_is_by_time passes on the real split and fails on one drawn by hash."""
    select = ["build", "--select", "+training_examples_v1", "--exclude", "test_type:unit"]
    real = Project(tmp_path / "real")
    real.write_log(log)
    assert real.dbt(*select).returncode == 0
    drawn = Project(
        tmp_path / "drawn",
        (Edit(MART, "{{ split_of('event_at') }}", BY_HASH),),
    )
    drawn.write_log(log)
    result = drawn.dbt(*select)
    assert result.returncode == 1
    assert "FAIL 3 split_is_by_time" in result.stdout
