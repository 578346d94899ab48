"""Refresh by day: in whatever order raw files arrive, every table holds what one full build of all of them holds."""

import datetime as dt
import functools
import json
import random
import shutil
import signal
import time
from pathlib import Path

import pyarrow as pa
import pytest

from tests.forkserver import of
from tests.warehouse.logs import random_log
from tests.warehouse.project import MY_LOG, Edit, Project

# Compared row for row. Means and PSI are sums of fractions, whose last bit depends on the order of adding.
ROWS_OF = {
    table: f"select * from {table}"
    for table in (
        "parsed_events", "malformed_lines", "rejected_events", "stg_events", "int_user_daily", "int_item_daily",
        "int_user_item_daily", "int_scene_daily", "int_entity_lists", "feat_scene_v1", "feat_user_v1", "feat_item_v1",
        "feat_user_item_v1", "feat_user_v2", "feat_item_v2", "feat_user_item_v2", "feat_user_scene_v2",
        "feat_item_scene_v2", "feat_user_history_v2", "training_examples_v1", "training_examples_v2", "texts",
        "feat_user_latest", "feat_item_latest", "feat_user_item_latest", "feat_scene_latest",
    )
} | {
    "feature_profile": "select * replace (round(mean, 9) as mean, round(psi, 9) as psi) from feature_profile",
    "int_text_counts": "select text_id, sum(columns('n_.*')) from int_text_counts group by text_id",
}  # packed: many short values  # fmt: skip
# Without ids of its own an event is its file and row, and rows alike in every column repeat each other.
NO_IDS = Edit("warehouse/models/sources/my_log/src_my_log.sql", "cast(impression_id as string)", "cast(null as string)")


def delivered_files(n_events: int = 900) -> dict[str, pa.Table]:
    """A log as it is delivered: one file per day with what became known on that day, of events up to 40 hours old.

    One day comes in two files, one file has no row, an unreadable row is among them, days without any event leave gaps,
    the last file but one repeats rows of an early one, and the last brings a user and an item never seen before.
    """
    log = random_log(n_events=n_events, delay_hours=40)
    by_day: dict[dt.date, list[dict]] = {}
    for row in log.to_pylist():
        by_day.setdefault(row["ingested_at"].date(), []).append(row)
    days = sorted(by_day)
    files = {f"day-{day}.parquet": by_day[day] for day in days}
    names = list(files)
    files[names[-4]], files[names[-4] + "-b.parquet"] = files[names[-4]][::2], files[names[-4]][1::2]
    files["day-2024-01-10-none.parquet"] = []
    files[names[5]].append(files[names[5]][0] | {"surface": "elsewhere"})
    files[names[-2]] += files[names[3]][:4]
    files[names[-1]].append(files[names[-1]][0] | {"user_id": "u-new", "item_id": "i-new", "title": "new"})
    return {name: pa.Table.from_pylist(files[name], schema=log.schema) for name in sorted(files)}


FILES = delivered_files()
NAMES = list(FILES)


def add(project: Project, *names: str) -> None:
    for name in names:
        project.write_log(FILES[name], name)


def run(project: Project, *arguments: str, **given: object) -> str:
    result = project.dbt("run", *arguments, dataset_vars=MY_LOG | given)
    assert result.returncode == 0, result.stdout
    return result.stdout


def run_until(project: Project, line: str) -> None:
    """Run dbt and kill it as soon as it says `line`."""
    words = ("dbt", "--no-use-colors", "run", "--vars", json.dumps(MY_LOG))
    with of("dbt").running(*words, cwd=project.folder) as dbt:
        while dbt.is_alive() and line not in dbt.output.read_text():
            time.sleep(0.005)
        dbt.kill()
    assert dbt.code == -signal.SIGKILL, f"dbt never said {line!r}: {dbt.said}"


def copy_of(project: Project, folder: Path, *edits: Edit) -> Project:
    """Another project with the same data, raw files with the times they had."""
    copied = Project(folder, (NO_IDS, *edits))
    for kept in ("data", "target"):  # what dbt has parsed is in target
        shutil.copytree(project.folder / kept, copied.folder / kept, dirs_exist_ok=True)
    return copied


@functools.cache
def all_rows(project: Project) -> dict[str, pa.Table]:
    return {table: rows_of(project, table) for table in ROWS_OF}


def rows_of(project: Project, table: str) -> pa.Table:
    return project.query(f"select * from ({ROWS_OF[table]}) order by all")


def different(found: Project, expected: Project) -> list[str]:
    """The tables that differ. expected: a project that no test changes."""
    return [table for table, rows in all_rows(expected).items() if not rows_of(found, table).equals(rows)]


def is_full_by_load(project: Project) -> dict[int, bool]:
    """The loads since everything was last read."""
    return {row["load"]: row["is_full"] for row in project.query("select * from loads").to_pylist()}


def comments(project: Project) -> list[tuple]:
    """The comments of tables and views, in which records are kept."""
    of_views = "select view_name as name, comment from duckdb_views() where not internal"
    found = project.query(f"{of_views} union all select table_name, comment from duckdb_tables() order by all")
    return [tuple(row.values()) for row in found.to_pylist()]


def partitions(project: Project) -> dict[str, int]:
    """The inode of every file of the training tables."""
    marts = project.folder / "data/marts/my_log"
    files = marts.glob("training_examples_v*/event_date=*/*.parquet")
    return {str(path.relative_to(marts)): path.stat().st_ino for path in files}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Everything in one build, on one thread."""
    project = Project(tmp_path_factory.mktemp("refresh") / "whole", (NO_IDS,))
    add(project, *NAMES)
    assert "Refresh: full build: no earlier build to refresh" in run(project, "--threads", "1")
    return project


@pytest.fixture(scope="module")
def nearly(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """All files but three in one build, then two more day by day: a selection of the models, then all of them."""
    project = Project(tmp_path_factory.mktemp("refresh") / "nearly", (NO_IDS,))
    add(project, *NAMES[:-3])
    run(project)
    before = partitions(project)
    add(project, NAMES[-3])
    said = run(project, "--select", "+training_examples_v1")
    assert "Refresh: 1 new raw file" in said
    add(project, NAMES[-2])
    said += run(project)
    assert "full build" not in said
    kept = [path for path, inode in partitions(project).items() if before.get(path) == inode]
    assert len(kept) > len(before) - 20, "the files of days that nothing touched are the same files"
    return project


@pytest.fixture(scope="module")
def grown(nearly: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The last file too, by two builds that are killed and a third."""
    project = copy_of(nearly, tmp_path_factory.mktemp("refresh") / "grown")
    add(project, NAMES[-1])
    draw = random.Random(5)
    features = [f"feat_{name}_v2" for name in ("user", "item", "user_item", "user_scene", "user_history")]
    for model in (draw.choice(features), draw.choice(["training_examples_v1", "training_examples_v2", "texts"])):
        run_until(project, f"model main.{model} ")
    assert "full build" not in run(project)
    return project


def test_day_by_day_and_killed_is_a_full_build(grown: Project, whole: Project) -> None:
    assert len(rows_of(whole, "training_examples_v2")) > 850
    reasons = rows_of(whole, "rejected_events")["reason"].to_pylist()
    assert sorted(reasons) == ["repeats an earlier row"] * 4 + ["scene is not in var scenes: elsewhere"]
    assert different(grown, whole) == []


def test_without_news_nothing_is_written(grown: Project) -> None:
    before = partitions(grown)
    assert "Refresh: no raw file is new or changed" in run(grown)
    assert partitions(grown) == before


def test_days_in_shuffled_order(whole: Project, tmp_path: Path) -> None:
    """Backfill: some days first, then the others in two random groups: days change windows after them."""
    project = Project(tmp_path / "project", (NO_IDS,))
    repeated = NAMES[3]  # comes with the first lot: an event that is read before must not turn into a repeat
    order = random.Random(2).sample([name for name in NAMES if name != repeated], len(NAMES) - 1)
    lots = [[repeated, *order[:9]], order[9:16], order[16:]]
    said = ""
    for lot in lots:
        add(project, *lot)
        said = run(project)
    assert f"Refresh: {len(lots[2])} new raw files" in said
    assert "full build" not in said
    assert different(project, whole) == []


def test_a_file_that_makes_earlier_rows_repeats_is_a_full_build(nearly: Project, tmp_path: Path) -> None:
    """Of rows alike in every column the first by file name counts, and `again` comes before all that was read."""
    project = copy_of(nearly, tmp_path / "project")
    project.write_log(FILES[NAMES[6]].slice(0, 2), "again.parquet")
    said = run(project, "--select", "+stg_events")
    assert "Refresh: full build: 2 events read before repeat events of new raw files" in said
    assert is_full_by_load(nearly) == {1: True, 2: False, 3: False}
    assert is_full_by_load(project) == {4: True}
    events = project.query("select event_id from stg_events where event_id like 'again%' order by 1")
    assert events["event_id"].to_pylist() == ["again.parquet:1", "again.parquet:2"]
    assert len(rows_of(project, "stg_events")) == len(rows_of(nearly, "stg_events"))


def test_data_tests_look_at_new_rows_until_they_pass(nearly: Project, tmp_path: Path) -> None:
    project = copy_of(nearly, tmp_path / "project")
    (project.folder / "warehouse/data_tests/no_new_item.sql").write_text(
        "select * from {{ ref('stg_events') }} where item_id = 'i-new' and {{ in_tested_days('event_date') }}"
    )
    compiled = project.folder / "target/compiled/first_impression/warehouse/models/staging/staging.yml"

    def build() -> tuple[int, str]:
        result = project.dbt("build", "--select", "+stg_events")
        assert ("FAIL" in result.stdout) == (result.returncode == 1), result.stdout
        (never_null,) = compiled.glob("never_null_stg_events_*.sql")
        return result.returncode, never_null.read_text()

    status, first = build()
    assert status == 0
    assert "where event_date" not in first
    assert "where (event_date" not in first
    add(project, NAMES[-1])
    status, of_new_days = build()
    assert status == 1, "the new item is found"
    assert "where (event_date between date" in of_new_days
    status, of_nothing = build()
    assert status == 1, "and found again, though nothing is new"
    assert "where false" in of_nothing


def test_what_is_no_news_but_a_change_is_a_full_build(grown: Project, whole: Project, tmp_path: Path) -> None:
    """A changed file; a changed var, only for the models that read it; a lost mart; requested days."""
    project = copy_of(grown, tmp_path / "project")
    database = "data/raw/my_log/" + NAMES[2]
    (project.folder / "data/marts/my_log/texts/_build/build.json").unlink()
    said = run(project, few_max=3)
    assert "Refresh: no raw file is new or changed" in said
    assert "Refresh: full build of feat_user_v1: its SQL, or a var or a table that it reads, changed" in said
    assert "full build of int_user_daily" not in said
    assert "full build of feat_user_item_v1" not in said
    assert different(project, whole) != []
    project.write_log(FILES[NAMES[2]], NAMES[2])
    assert f"Refresh: full build: raw file {database} changed" in run(project)
    assert different(project, whole) == []
    before = partitions(project)
    run(project, refresh_from="2024-02-13")
    kept = [path for path, inode in partitions(project).items() if before[path] == inode]
    assert 0 < len(kept) < len(before)
    assert different(project, whole) == []


def test_empty_leaves_tables_and_records_as_they_were(nearly: Project, whole: Project, tmp_path: Path) -> None:
    """`dbt run --empty` checks the SQL. It doesn't take in a new file, and no view stays empty after it."""
    project = copy_of(nearly, tmp_path / "project")
    add(project, NAMES[-1])
    before = comments(project)
    run(project, "--empty")
    assert different(project, nearly) == []
    assert comments(project) == before
    assert "Refresh: 1 new raw file" in run(project)
    assert different(project, whole) == []


ROWS = "warehouse/macros/refresh_rows.sql"
MUTANTS = (
    (Edit(ROWS, "where as_of_date <= date", "where as_of_date > date '2024-02-01' and as_of_date <= date"),
     "feat_user_v1"),
    (Edit(ROWS, "n_impressions > 0 and day < date", "n_impressions > 0 and day > date '2024-02-01' and day < date"),
     "feat_user_v2"),
    (Edit("warehouse/models/features/feat_user_history_v2.sql", "where n_impressions > 0 and",
          "where n_impressions > 0 and{{ ' ' ~ in_days('day') ~ ' and' if is_incremental() }}"),
     "feat_user_history_v2"),
    (Edit("warehouse/models/staging/touched_days.sql", "events.known_date >= first_known.day",
          "events.known_date > first_known.day"), "training_examples_v1"),
)  # packed: many short values  # fmt: skip


def test_mutants_of_what_a_refresh_carries_over_are_caught(nearly: Project, whole: Project, tmp_path: Path) -> None:
    """History before the windows dropped, by day and by instant; a list that starts again; days left out."""
    mutated = copy_of(nearly, tmp_path / "project", *(edit for edit, _ in MUTANTS))
    add(mutated, NAMES[-1])
    run(mutated)
    assert {table for _, table in MUTANTS} <= set(different(mutated, whole))
