"""Mutants of the SQL: the mistakes that are made here, each applied to the project and each to be caught by a proof."""

from pathlib import Path

import pyarrow as pa
import pytest

from tests.warehouse.compiled import Compiled
from tests.warehouse.logs import random_log
from tests.warehouse.project import Edit, Project
from tests.warehouse.proofs import Sample, lost_or_made, unproven


@pytest.fixture(scope="module")
def log() -> pa.Table:
    return random_log()


@pytest.fixture(scope="module")
def sample(log: pa.Table) -> Sample:
    return Sample(log)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """The SQL without a mistake; of a mutant dbt compiles only the models that differ."""
    return Compiled(tmp_path_factory.mktemp("compiled") / "project")


FRAMES = "warehouse/macros/windows.sql"
WEEK = "range between interval 7 day preceding and interval 1 day preceding"
EVER = "range between unbounded preceding and interval 1 day preceding"
BEFORE = "rows between unbounded preceding and 1 preceding"
INSTANT_WEEK = "range between unbounded preceding and {{ 7 * 24 * 3600 * 1000000 + 1 }} preceding"
FEATURES = "warehouse/models/features"
MOMENTS = "warehouse/models/daily/int_moments.sql"
BY_INSTANT = ("user", "item", "user_item", "user_scene", "item_scene")
MART_V1 = "warehouse/models/marts/training_examples_v1.sql"
MART_V2 = "warehouse/models/marts/training_examples_v2.sql"
USERS = "{{ ref('feat_user', v=1) }}"
USERS_V2 = "{{ ref('feat_user', v=2) }}"
BY_DAY = "left join users using (user_id, as_of_date)"
UNDATED = "(select * exclude (as_of_date) from users) as users"
LATEST = UNDATED.replace(
    "users)", "users qualify row_number() over (partition by user_id order by as_of_date desc) = 1)"
)
HASH = 'md5(\'" ~ side ~ ":\' || " ~ text ~ ")'
PAIRS = "{{ ref('feat_user_item', v=2) }}"
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
            Edit(f"{FEATURES}/feat_user_item_v1.sql", "partition by user_id, item_id", "partition by user_id"),
        ),
        "whole-log prior": (Edit(f"{FEATURES}/feat_scene_v1.sql", "n_clicks_cum /", "sum(n_clicks_7d) over () /"),),
        "outcome known when shown": tuple(
            Edit(f"warehouse/models/daily/int_{keys}_daily.sql", "known_date as day", "event_date as day")
            for keys in ("user", "item", "user_item")
        ),
        "stale snapshot": (
            Edit("warehouse/models/texts/int_events.sql", "event_date as as_of_date", "event_date - 1 as as_of_date"),
        ),
        # Whoever joins on the key and forgets the day: each event meets every day of its user, or the last one of all.
        "join on the user alone": (Edit(MART_V1, BY_DAY, f"left join {UNDATED} using (user_id)"),),
        "latest snapshot for every day": (Edit(MART_V1, BY_DAY, f"left join {LATEST} using (user_id)"),),
        "fan-out": (Edit(MART_V1, USERS, f"(select * from {USERS} union all select * from {USERS})"),),
        "no text reaches the mart": (Edit("warehouse/macros/texts.sql", "<> '' then", "= 'lost' then"),),
        "one text for every row": (Edit("warehouse/macros/texts.sql", HASH, HASH.replace('" ~ text ~ "', "'same'")),),
        "cold rows lost": (
            Edit(f"{FEATURES}/feat_user_v1.sql", "windowed.n_shown > 0", "windowed.n_impressions_cum > 0"),
            Edit(MART_V1, "left join users", "inner join users"),
        ),
    },
    2: {
        "ties and the row itself included": (Edit(FRAMES, BEFORE, BEFORE.replace("1 preceding", "current row")),),
        "a week of rows": (Edit(FRAMES, INSTANT_WEEK, "rows between unbounded preceding and 8 preceding"),),
        "yesterday in today": tuple(
            Edit(f"{FEATURES}/feat_{keys}_v2.sql", "day > lag(day)", "day > 1 + lag(day)") for keys in BY_INSTANT
        ),
        "a week less an hour": (Edit(FRAMES, "7 * 24 * 3600", "(7 * 24 - 1) * 3600"),),
        "outcome known when shown": (Edit(MOMENTS, "known_at as moment_at", "event_at as moment_at"),),
        "stale snapshot": tuple(
            Edit(f"{FEATURES}/feat_{keys}_v2.sql", "windowed.day = feat_scene", "windowed.day - 1 = feat_scene")
            for keys in BY_INSTANT
        ),
        "join on the user alone": (
            Edit(
                MART_V2,
                "left join users using (user_id, event_at)",
                "left join (select * exclude (event_at) from users qualify row_number() over (partition by user_id"
                " order by event_at desc) = 1) as users using (user_id)",
            ),
        ),
        "fan-out": (Edit(MART_V2, USERS_V2, f"(select * from {USERS_V2} union all select * from {USERS_V2})"),),
        "history one outcome ahead": (
            Edit(
                f"{FEATURES}/feat_user_history_v2.sql",
                "cast(position as bigint)",
                "cast(position - 1 as bigint)",
            ),
        ),
        "pairs joined by user alone": (
            Edit(
                MART_V2,
                PAIRS,
                f"(select * from {PAIRS}"
                " qualify row_number() over (partition by user_id, event_at order by item_id) = 1)",
            ),
            Edit(
                MART_V2,
                "left join pairs using (user_id, item_id, event_at)",
                "left join (select * exclude (item_id) from pairs) as pairs using (user_id, event_at)",
            ),
        ),
    },
}


@pytest.mark.parametrize(("version", "name"), [(version, name) for version in MUTANTS for name in MUTANTS[version]])
def test_mutant_is_caught(
    version: int, name: str, log: pa.Table, sample: Sample, compiled: Compiled, tmp_path: Path
) -> None:
    mutant = compiled.mutated(tmp_path / "project", MUTANTS[version][name])
    mutated = mutant.build(log, versions=(version,)).marts[version]
    caught_by = [
        proof
        for proof, found in {
            "brute force": sample.disagreements(mutated, version),
            "row conservation": lost_or_made(mutated, log),
            "columns without values": unproven(mutated, mutant.project.contracts()[version]),
        }.items()
        if found
    ]
    assert caught_by, f"nothing caught the mutant: {name}"
    print(f"\nmutant v{version} {name}: caught by {' and '.join(caught_by)}")


def test_without_a_mutant_nothing_is_caught(log: pa.Table, sample: Sample, compiled: Compiled) -> None:
    for version, mart in compiled.build(log).marts.items():
        assert sample.disagreements(mart, version) == lost_or_made(mart, log) == []
        assert unproven(mart, compiled.project.contracts()[version]) == []


def test_leaking_mutants_are_named_by_warehouse_prove(compiled: Compiled, tmp_path: Path) -> None:
    """Three at once, each with the features that it makes leak, and no other."""
    leaking = {1: ("today included", "whole-log prior"), 2: ("outcome known when shown",)}
    edits = [edit for version, names in leaking.items() for name in names for edit in MUTANTS[version][name]]
    proof = compiled.mutated(tmp_path / "project", tuple(edits)).prove(random_log(500))
    by_day, by_instant = ({feature.name for feature in mart.leaks} for mart in proof.marts)
    keys = ("user", "item", "user_item")
    assert {f"{key}_n_{what}_7d" for key in keys for what in ("impressions", "clicks")} | {"prior_rate"} < by_day
    assert not {f"{key}_n_{what}_cum" for key in keys for what in ("impressions", "clicks")} & by_day
    assert {f"{key}_n_clicks_{window}" for key in keys for window in ("7d", "cum", "today")} < by_instant
    assert not proof.holds
    print(f"\nmutants of {', '.join(name for names in leaking.values() for name in names)}: named by warehouse prove")


BY_HASH = "case hash(event_id) % 3 when 0 then 'val' when 1 then 'test' else 'train' end"


def test_random_split_is_caught(tmp_path: Path) -> None:
    """The dbt test split_is_by_time passes on the real split and fails on one drawn by hash."""
    log = random_log(400)
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
