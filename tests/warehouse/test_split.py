"""Splits by protocol: what is held out, what trains, and that each protocol keeps to marts of its own."""

import datetime as dt
import hashlib
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from tests.warehouse.logs import random_log
from tests.warehouse.project import MY_LOG, Edit, Project

SPLIT = "warehouse/macros/split.sql"
VAL_FROM, TEST_FROM = dt.datetime(2024, 2, 1), dt.datetime(2024, 2, 8)
KEYS = {"cold_item": "item_id", "cold_user": "user_id"}
# What a protocol changes, and the tests of it; the rest of the warehouse is the same under each.
SPLIT_TESTS = ["split_is_by_time", "split_holds_out_by_protocol"]
RESPLIT = ["build", "--select", "int_events", "training_examples_v1", *SPLIT_TESTS, "--indirect-selection", "empty"]


def is_held_out(key: str, salt: str = "first impression", share: float = 0.1) -> bool:
    """The rule of macros/split.sql, in Python."""
    return int(hashlib.md5(f"{salt}:{key}".encode()).hexdigest()[:8], 16) < share * 2**32


def period(row: dict) -> str:
    return "train" if row["event_at"] < VAL_FROM else "val" if row["event_at"] < TEST_FROM else "test"


@pytest.fixture(scope="module")
def log() -> pa.Table:
    return random_log()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, log: pa.Table) -> Project:
    """Every protocol built one after the other in one project."""
    project = Project(tmp_path_factory.mktemp("split") / "project")
    project.write_log(log)
    built = project.dbt("run", "--select", "+training_examples_v1")
    assert built.returncode == 0, built.stdout
    for protocol in ("time", *KEYS):
        result = project.dbt(*RESPLIT, dataset_vars=MY_LOG | {"protocol": protocol})
        assert result.returncode == 0, result.stdout
        assert "PASS split_is_by_time" in result.stdout
        assert "PASS split_holds_out_by_protocol" in result.stdout
    return project


def rows_of(
    project: Project, protocol: str, columns: str = "event_id, user_id, item_id, event_at, split"
) -> list[dict]:
    schema = "main" if protocol == "time" else f"main_{protocol}"
    return project.query(f"select {columns} from {schema}.training_examples_v1 order by event_id").to_pylist()


def test_time_puts_every_row_in_its_period(project: Project, log: pa.Table) -> None:
    rows = rows_of(project, "time")
    assert len(rows) == len(log)
    assert all(row["split"] == period(row) for row in rows)


@pytest.mark.parametrize(("protocol", "key"), KEYS.items())
def test_a_held_out_key_never_trains_and_no_other_is_measured(protocol: str, key: str, project: Project) -> None:
    rows = rows_of(project, protocol)
    for row in rows:
        keeps = is_held_out(row[key]) != (period(row) == "train")
        assert row["split"] == (period(row) if keeps else "excluded")
    by_split = {split: [row for row in rows if row["split"] == split] for split in ("train", "val", "test")}
    assert all(by_split.values()), "no split is empty"
    trained = {row[key] for row in by_split["train"]}
    for split in ("val", "test"):
        assert not trained & {row[key] for row in by_split[split]}
    assert max(row["event_at"] for row in by_split["train"]) < min(row["event_at"] for row in by_split["val"])
    assert max(row["event_at"] for row in by_split["val"]) < min(row["event_at"] for row in by_split["test"])


@pytest.mark.parametrize("protocol", KEYS)
def test_a_protocol_changes_the_split_and_nothing_else(protocol: str, project: Project) -> None:
    everything = "* exclude (split)"
    assert rows_of(project, protocol, everything) == rows_of(project, "time", everything)


def test_each_protocol_has_marts_of_its_own(project: Project) -> None:
    marts = project.folder / "data/marts"
    assert sorted(place.name for place in marts.iterdir()) == ["my_log", "my_log-cold_item", "my_log-cold_user"]
    for place in marts.iterdir():
        record = json.loads((place / "training_examples_v1/_build/build.json").read_text())
        assert record["dataset"] == "my_log"
        found = {name: record["vars"][name] for name in ("protocol", "split_salt", "held_out_share")}
        protocol = place.name.partition("-")[2] or "time"
        assert found == {"protocol": protocol, "split_salt": "first impression", "held_out_share": 0.1}


def test_salt_and_share_are_vars(project: Project, log: pa.Table) -> None:
    given = {"protocol": "cold_user", "split_salt": "it's another", "held_out_share": 0.3}
    result = project.dbt("run", "--select", "int_events", dataset_vars=MY_LOG | given)
    assert result.returncode == 0, result.stdout
    found = project.query("select distinct user_id from main_cold_user.int_events where split in ('val', 'test')")
    held_out = {user for user in log["user_id"].to_pylist() if is_held_out(user, "it's another", 0.3)}
    late = {
        user for user, at in zip(log["user_id"].to_pylist(), log["shown_at"].to_pylist(), strict=True) if at >= VAL_FROM
    }
    assert set(found["user_id"].to_pylist()) == held_out & late
    assert held_out != {user for user in log["user_id"].to_pylist() if is_held_out(user, "it's another")}


def test_the_hash_holds_out_its_share() -> None:
    share = sum(is_held_out(f"i{number}") for number in range(20_000)) / 20_000
    assert abs(share - 0.1) < 0.01


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("({{ is_held_out(key) }}) then", "({{ is_held_out('event_id') }}) then", "on both sides"),
        ("'%08x' % (share * 4294967296) | int", "'%08x' % (0.9 * 4294967296) | int", "held out"),
    ],
    ids=["rows drawn for items", "nine tenths held out"],
)
def test_mutant_is_caught(old: str, new: str, problem: str, project: Project, tmp_path: Path) -> None:
    """A dbt test fails when the split no longer keeps its promise."""
    mutated = Project(tmp_path / "project", (Edit(SPLIT, old, new),))
    shutil.copytree(project.folder / "data", mutated.folder / "data", dirs_exist_ok=True)
    result = mutated.dbt(*RESPLIT, "--store-failures", dataset_vars=MY_LOG | {"protocol": "cold_item"})
    assert result.returncode == 1
    assert "FAIL" in result.stdout
    problems = mutated.query("select problem from main_dbt_test__audit.split_holds_out_by_protocol")["problem"]
    assert any(problem in found for found in problems.to_pylist())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"protocol": "cold_items"}, "var protocol is 'cold_items', expected one of time, cold_item, cold_user"),
        (
            {"protocol": "cold_item", "held_out_share": 10},
            "var held_out_share is 10, expected a number between 0 and 1",
        ),
    ],
)
def test_a_wrong_var_is_named(given: dict, message: str, project: Project) -> None:
    result = project.dbt("parse", dataset_vars=MY_LOG | given)
    assert result.returncode != 0
    assert message in " ".join(result.stdout.split())
