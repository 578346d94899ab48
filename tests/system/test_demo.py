"""The README's path on a small cut of the log, by the commands that the README shows."""

import html
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forkserver import of
from tests.warehouse.project import ROOT, Project

BIN = Path(sys.executable).parent
SHOWN = re.search(r"## Step by step.*?```\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL).group(1)
COMMANDS = [line for line in SHOWN.splitlines() if line]
# One user in 40: enough for both stages, small enough for a test.
KEEP_EVERY = 40


def run(command: str, folder: Path) -> subprocess.CompletedProcess:
    words = shlex.split(command)
    if words[0] in ("dbt", "trainer"):  # test_package.py starts them from their files
        return of(words[0]).run(*words, cwd=folder)
    path = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    return subprocess.run(words, cwd=folder, env=os.environ | path, capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project after every command of the README, on a cut of MovieLens-1M fetched the way a user would."""
    project = Project(tmp_path_factory.mktemp("demo") / "project")
    whole = tmp_path_factory.mktemp("whole")
    assert COMMANDS[0] == "warehouse fetch movielens"
    fetched = run(f"{COMMANDS[0]} --raw {whole}", ROOT)
    assert fetched.returncode == 0, fetched.stderr
    raw = project.folder / "data/raw/movielens"
    raw.mkdir(parents=True)
    for path in (whole / "movielens").iterdir():
        lines = path.read_bytes().splitlines(keepends=True)
        if path.suffix == ".inter":
            lines = lines[:1] + [line for line in lines[1:] if int(line[3 : line.index(b"\t")]) % KEEP_EVERY == 0]
        (raw / path.name).write_bytes(b"".join(lines))
    (project.folder / "trainer").symlink_to(ROOT / "trainer")
    for command in COMMANDS[1:]:
        done = run(command, project.folder)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return project.folder


@pytest.mark.parametrize("stage", ["00_floor", "00_gbdt_v1", "00_gbdt", "01_dnn"])
def test_a_run_is_whole_and_plausible(stage: str, folder: Path) -> None:
    run_folder = folder / "runs/movielens" / stage
    assert (run_folder / "DONE").exists()
    auc = json.loads((run_folder / "metrics.json").read_text())["splits"]["test"]["auc"]
    assert 0.55 < auc < 0.85, "on one user in 40: better than chance, and not too good to be true"


def test_the_report_shows_all_runs_and_its_answer_is_printed(folder: Path) -> None:
    printed = run(COMMANDS[-1], folder).stderr.splitlines()
    report = html.unescape((folder / "runs/movielens/report.html").read_text())
    for stage in ("00_floor", "00_gbdt_v1", "00_gbdt", "01_dnn"):
        assert stage in report
    wrote = printed.index("Wrote runs/movielens/report.html")
    assert "00_floor" in " ".join(printed[:wrote])
    assert all(line in report for line in printed[:wrote] if line)
    assert printed[wrote + 1].startswith("Next: ")


def test_movielens_events_are_the_lines_of_its_file(folder: Path) -> None:
    """event_id names the line: user, item and label of sampled events are those of that very line."""
    import duckdb

    lines = (folder / "data/raw/movielens/ml-1m.inter").read_text(encoding="utf-8").splitlines()
    with duckdb.connect(str(folder / "data/movielens.duckdb"), read_only=True) as connection:
        events = connection.sql("select event_id, user_id, item_id, label from stg_events using sample 500").fetchall()
    for event_id, user, item, label in events:
        written = lines[int(event_id.split(":")[1])].split("\t")
        assert (written[0], written[1], int(written[2]) >= 4) == (user, item, bool(label))


@pytest.mark.parametrize("command", ["dbt docs generate", "dbt test"])
def test_dbt_commands_run_by_themselves(command: str, folder: Path) -> None:
    done = run(command, folder)
    assert done.returncode == 0, done.stdout


def test_each_models_page_shows_a_row_of_the_database(folder: Path) -> None:
    import duckdb

    done = run("warehouse docs", folder)
    assert done.returncode == 0, done.stderr
    page = (folder / "target/static_index.html").read_text(encoding="utf-8")
    manifest, _ = json.JSONDecoder().raw_decode(page[page.index('{"metadata"') :])
    models = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    place = {"file_search_path": str(folder)}
    with duckdb.connect(str(folder / "data/movielens.duckdb"), read_only=True, config=place) as connection:
        for node in models:
            rows = connection.execute(f"from {node['relation_name']} limit 1").fetchall()
            assert ("**An example row" in node["description"]) == bool(rows), node["name"]
        (users,) = (node for node in models if node["unique_id"].endswith("feat_user.v2"))
        shown = re.search(r"\| `user_id` \| (\w+) \|", users["description"]).group(1)
        assert connection.execute("select count(*) from feat_user_v2 where user_id = ?", [shown]).fetchone()[0]


def test_the_makefile_runs_what_the_readme_shows() -> None:
    planned = run("make -n demo", ROOT).stdout.replace(".venv/bin/", "")
    for command in COMMANDS:
        made = command.replace("data/marts/movielens --stage", "data/marts/movielens --seed 1 --force --stage")
        assert made in planned, f"make demo no longer runs: {command}"
    assert "make test" in (ROOT / ".ci/run").read_text()
