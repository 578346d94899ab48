"""dbt may be called from any folder: it reads and writes in the project's."""

from pathlib import Path

import duckdb

from tests.warehouse.logs import random_log
from tests.warehouse.project import Project

MARTS = ("training_examples_v1", "texts")


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_build_from_another_folder_is_the_one_from_the_project(tmp_path: Path) -> None:
    elsewhere = tmp_path / "else where" / "deep"
    elsewhere.mkdir(parents=True)
    project = Project(tmp_path / "sub" / "it's here")
    from_elsewhere = [word for option in ("project", "profiles") for word in (f"--{option}-dir", "../../sub/it's here")]
    log = random_log(300)
    project.write_log(log.slice(0, 200))

    first = project.dbt("run", "--select", "+texts", *from_elsewhere, cwd=elsewhere)
    assert first.returncode == 0, first.stdout
    with duckdb.connect(str(project.folder / "data/my_log.duckdb"), read_only=True) as connection:
        stored = connection.sql("select view_name, sql from duckdb_views() where not internal").fetchall()
    # The views of marts name no absolute path: the project may be moved.
    assert {name for name, sql in stored if name in MARTS and str(tmp_path) not in sql} == set(MARTS)

    # A refresh, which links the days that it doesn't write; at home nothing is new after it.
    project.write_log(log.slice(200), "part-1.parquet")
    refreshed = project.dbt("run", "--select", "+texts", *from_elsewhere, cwd=elsewhere)
    assert refreshed.returncode == 0, refreshed.stdout
    assert files_below(elsewhere) == set()
    rows = {mart: project.query(f"select * from {mart} order by all") for mart in MARTS}
    assert rows["training_examples_v1"]["event_id"].to_pylist() == sorted(log["impression_id"].to_pylist())
    again = project.dbt("run", "--select", "+texts")
    assert again.returncode == 0, again.stdout
    assert "full build" not in refreshed.stdout + again.stdout
    assert rows == {mart: project.query(f"select * from {mart} order by all") for mart in MARTS}


def test_raw_files_that_are_missing_are_named_by_their_whole_path(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    place = str(project.folder)
    result = project.dbt("run", "--project-dir", place, "--profiles-dir", place, cwd=tmp_path)
    assert result.returncode == 1
    assert f"No raw file matches {project.folder}/data/raw/my_log/*.parquet" in result.stdout
