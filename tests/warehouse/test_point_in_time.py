"""The proofs: brute force, scrambled future, rows in = rows out. test_mutants.py shows what they catch."""

import datetime as dt
import random
from pathlib import Path

import pyarrow as pa
import pytest

from tests.warehouse.compiled import Compiled
from tests.warehouse.logs import FIRST_DAY, random_log, with_column
from tests.warehouse.project import Project
from tests.warehouse.proofs import REFERENCE, SETTINGS, Sample, features_of, lost_or_made


@pytest.fixture(scope="module")
def log() -> pa.Table:
    return random_log()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("proofs") / "project")


@pytest.fixture(scope="module")
def marts(project: Project, log: pa.Table) -> dict[int, pa.Table]:
    return project.build_marts(log)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """The models' SQL, which makes the marts of a log in a second; what dbt builds of it is the same."""
    return Compiled(tmp_path_factory.mktemp("compiled") / "project")


def test_the_compiled_models_make_the_marts_that_dbt_builds(marts: dict, compiled: Compiled, log: pa.Table) -> None:
    for version, mart in compiled.build(log).marts.items():
        assert mart.select(marts[version].column_names).equals(marts[version])


@pytest.mark.parametrize("version", [1, 2])
def test_the_reference_knows_no_feature_that_is_gone(version: int, log: pa.Table) -> None:
    """A feature that it doesn't know, such as a user's own, is reported; test_any_feature.py proves it all the same."""
    some = log.to_pylist()[:50]
    known, declared = set(REFERENCE[version](some[0], some, SETTINGS)), set(features_of(version))
    assert known <= declared
    unknown = ", ".join(sorted(declared - known))
    print(f"\nnot brute-forced v{version}: {unknown or 'none'}")


@pytest.mark.parametrize("version", [1, 2])
def test_every_feature_equals_its_brute_force_recomputation(version: int, marts: dict, log: pa.Table) -> None:
    assert Sample(log).disagreements(marts[version], version) == []


@pytest.mark.parametrize("version", [1, 2])
def test_every_event_is_one_row(version: int, marts: dict, log: pa.Table) -> None:
    assert lost_or_made(marts[version], log) == []


@pytest.mark.parametrize("hours", [8 * 24, 21 * 24 + 15, 35 * 24])
def test_no_feature_moves_when_the_future_is_scrambled(
    hours: int, marts: dict, log: pa.Table, compiled: Compiled
) -> None:
    """Every label known at or after a moment is flipped; no feature of an event up to that moment may move.

    In v1 no feature may move on any later event of the same day either: it is as of that day's start.
    """
    moment = FIRST_DAY + dt.timedelta(hours=hours)
    flipped = [
        1 - clicked if known_at >= moment else clicked
        for clicked, known_at in zip(log["clicked"].to_pylist(), log["ingested_at"].to_pylist(), strict=True)
    ]
    scrambled = compiled.build(with_column(log, "clicked", flipped)).marts
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
