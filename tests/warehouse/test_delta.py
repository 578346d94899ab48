"""Marts as Delta tables: the same files, and a log of them that other engines read."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from storage.mart_files import mart_files
from tests.warehouse.logs import random_log
from tests.warehouse.project import MY_LOG, Project
from trainer.base.errors import TrainerError
from trainer.contract.read import read_contract
from trainer.serving.source import open_source

deltalake = pytest.importorskip("deltalake")
DELTA = MY_LOG | {"table_format": "delta"}
MART = "training_examples_v2"


def run(project: Project, given: dict) -> str:
    done = project.dbt("run", "--select", f"+{MART}", "+feat_user_latest", dataset_vars=given)
    assert done.returncode == 0, done.stdout
    return done.stdout


def rows_by_day(marts: Path) -> dict[str, list[dict]]:
    """What the files of each day hold, whatever their names and the order of rows."""
    found = {}
    for day in (marts / MART).glob("event_date=*"):
        table = pa.concat_tables(pq.ParquetFile(path).read() for path in day.iterdir())
        found[day.name] = table.sort_by("event_id").to_pylist()
    return found


@dataclass(frozen=True)
class Built:
    """One log, its marts after each of three builds: Delta tables, with one more day, and as plain Parquet."""

    first: Path
    second: Path
    parquet: Path
    view: dict[str, pa.Table]  # of the second


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("delta")
    project = Project(folder / "project")
    log = random_log(n_events=600)
    shown_on = pa.array([instant.date() for instant in log["shown_at"].to_pylist()])
    last = max(shown_on.to_pylist())
    marts = project.folder / "data/marts/my_log"

    def built_as(name: str, given: dict) -> Path:
        run(project, given)
        return Path(shutil.copytree(marts, folder / name))

    project.write_log(log.filter(pc.less(shown_on, last)), "a.parquet")
    first = built_as("first", DELTA)
    project.write_log(log.filter(pc.equal(shown_on, last)), "b.parquet")
    run(project, DELTA)
    run(project, DELTA)  # without news
    second = Path(shutil.copytree(marts, folder / "second"))
    view = {name: project.query(f"select * from {name}") for name in (MART, "feat_user_latest")}
    return Built(first, second, built_as("parquet", MY_LOG), view)


def test_the_rows_are_those_of_plain_parquet(built: Built) -> None:
    assert rows_by_day(built.second) == rows_by_day(built.parquet)
    assert not (built.parquet / MART / "_delta_log").exists()
    contracts = [read_contract(marts, MART) for marts in (built.second, built.parquet)]
    assert contracts[0].columns == contracts[1].columns and contracts[0].n_rows == contracts[1].n_rows


def test_the_table_holds_what_the_view_shows(built: Built) -> None:
    for name, shown in built.view.items():
        table = deltalake.DeltaTable(built.second / name).to_pyarrow_table()
        assert table.num_rows == shown.num_rows > 0
        key = "event_id" if name == MART else "user_id"
        shown = shown.select(sorted(shown.column_names)).sort_by(key)
        table = table.select(shown.column_names).sort_by(key)
        assert table.to_pylist() == shown.to_pylist()


def test_a_refresh_is_one_version_that_replaces_the_touched_days(built: Built) -> None:
    """And a build without news is none."""
    place = built.second / MART
    tables = [deltalake.DeltaTable(marts / MART) for marts in (built.first, built.second)]
    assert [table.version() for table in tables] == [0, 1]
    assert all(table.metadata().partition_columns == ["event_date"] for table in tables)
    assert mart_files(place, TrainerError) == sorted(place.glob("*/*.parquet"))
    by_version = {path.parent.name: path.stem.rpartition("-v")[2] for path in mart_files(place, TrainerError)}
    kept = [day for day, version in by_version.items() if version == "0"]
    assert kept and set(by_version.values()) == {"0", "1"}
    before, now = rows_by_day(built.first), rows_by_day(built.second)
    assert all(now[day] == before[day] for day in kept)
    counted = sum(json.loads(one)["numRecords"] for one in _stats(place))
    assert counted == built.view[MART].num_rows


def _stats(place: Path) -> list[str]:
    """The statistics of every file that the log has added and not removed."""
    found: dict[str, str] = {}
    for commit in sorted((place / "_delta_log").glob("*.json")):
        for action in map(json.loads, commit.read_text().splitlines()):
            if add := action.get("add"):
                found[add["path"]] = add["stats"]
            if remove := action.get("remove"):
                assert found.pop(remove["path"])
    return list(found.values())


def test_the_log_decides_which_files_are_read(built: Built, tmp_path: Path) -> None:
    """A file that an engine took out of the table, and that lies there until it is cleaned up, holds no rows."""
    place = shutil.copytree(built.first / MART, tmp_path / "marts" / MART)
    day = sorted(place.glob("event_date=*"))[3]
    shutil.copy(next(day.iterdir()), day / "left-behind.parquet")
    contract = read_contract(tmp_path / "marts", MART)
    assert contract.n_rows == sum(pq.read_metadata(path).num_rows for path in contract.files)
    source = open_source(place)
    assert list(source.files) == list(contract.files) and source.declared == ("event_date",)
    shutil.rmtree(place / "_delta_log")
    with pytest.raises(TrainerError, match="the build record counts"):
        read_contract(tmp_path / "marts", MART)


def test_what_cant_be_read_as_files_is_refused(built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = shutil.copytree(built.first / MART, tmp_path / "marts" / MART)
    commit = next((place / "_delta_log").glob("*.json"))
    text = commit.read_text()
    assert '"timestampNtz"' in text
    commit.write_text(text.replace('"timestampNtz"', '"timestampNtz","deletionVectors"'))
    with pytest.raises(TrainerError, match="with deletionVectors; expected one whose rows are those"):
        mart_files(place, TrainerError)
    commit.write_text("no JSON\n")
    with pytest.raises(TrainerError, match="_delta_log: the Delta log can't be read"):
        read_contract(tmp_path / "marts", MART)
    monkeypatch.setattr("storage.installed.version_of", lambda name: None)
    with pytest.raises(TrainerError, match=r"needs deltalake.*first-impression\[delta\]"):
        mart_files(place, TrainerError)
