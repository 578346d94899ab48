"""From the files of a log to a report, from an empty folder with an installed wheel: docs/bring-your-own-log.md.

Three logs: impressions whose texts are missing at first and come later, which follows the guide's commands; pages of
items; ratings in compressed CSV without a header, scenes, texts or ids.
"""

import datetime as dt
import gzip
import random
from pathlib import Path

import pyarrow as pa
import pytest

from embeddings import read_texts
from embeddings.errors import NoTextsError
from tests.system.own_project import OwnProject, compare_with, expected_of, pages_of, pages_table
from tests.system.pages import fences
from tests.warehouse.logs import FIRST_DAY, random_log, with_column
from tests.warehouse.project import ROOT

GUIDE = ROOT / "docs/bring-your-own-log.md"
TEXTS = ("title", "tags", "profile")
BUILD = "dbt build --exclude test_type:unit"  # unit tests see no log: the first test runs them


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRST_IMPRESSION_CACHE", str(tmp_path / "cache"))


def commands_of(page: Path) -> list[str]:
    """A page's first fence of commands, one command each: `cd a && b` is two."""
    fence = next(fence for fence in fences(page) if fence.commands)
    return [part for line in fence.commands for part in line.split(" && ")]


def run(project: OwnProject, command: str) -> str:
    if command.startswith("dbt "):
        return project.dbt(command)
    if command == "warehouse prove":
        return project.prove(command)
    code, said = project.ours(command)
    assert code == 0, f"{command}: {said}"
    return said


def proved_and_reported(project: OwnProject) -> None:
    """The last three of the five commands."""
    assert "training_examples_v2: " in " ".join(run(project, "warehouse prove").split())
    run(project, f"trainer fit --stage 00_gbdt --marts data/marts/{project.folder.name} --run runs/00_gbdt")
    run(project, "trainer report --runs runs/00_gbdt --output runs/report.html")
    assert (project.folder / "runs/report.html").stat().st_size > 10_000


def test_the_five_commands(tmp_path: Path, site: Path) -> None:
    """The guide's and the project's README's; then a second file, with the texts that the first one lacked."""
    project = OwnProject(tmp_path, "my_log", site)
    log = random_log(1500).append_column("bought", pa.array([n % 7 == 0 for n in range(1500)]))
    without = log.slice(0, 700)
    for name in TEXTS:
        without = with_column(without, name, pa.nulls(700, pa.string()).to_pylist()).cast(log.schema)
    project.deliver(without, "part-0.parquet")
    init, enter, *commands = commands_of(GUIDE)
    assert (init, enter) == ("warehouse init my_log --log 'logs/*.parquet'", "cd my_log")
    assert "Several columns may be the label" in project.init("--log", "logs/*.parquet", fails=True)
    assert not project.folder.exists()
    texts = ("--title", "title", "--entities", "tags", "--user-texts", "profile")
    project.init("--log", "logs/*.parquet", "--label", "clicked", *texts)
    package = (project.folder / "packages.yml").read_text()
    assert f'local: "{site / "warehouse"}"' in package, "the installed wheel, not the checkout"

    assert commands[:2] == ["dbt deps", "dbt build"]
    assert "Installed from <local" in run(project, commands[0])
    assert "ERROR=0" in run(project, commands[1])
    assert project.query("select count(*) from texts") == [(0,)]
    assert project.query("select count(*) from training_examples_v2") == [(700,)]
    with pytest.raises(NoTextsError, match="has no texts"):
        read_texts(project.folder / "data/marts/my_log")

    project.deliver(log.slice(700), "part-1.parquet")
    said = run(project, commands[1])
    assert "ERROR=0" in said
    assert "Refresh: 1 new raw file" in said
    titles = [title.strip() for title in log["title"].to_pylist()[700:]]
    assert project.query("select distinct text from texts where side = 'title' order by 1") == [
        (title,) for title in sorted(set(titles) - {""})
    ]
    assert project.query("select sum(n_rows) from texts where side = 'title'") == [(sum(map(bool, titles)),)]
    refreshed = project.all_rows()
    project.dbt("dbt run --full-refresh")
    assert project.all_rows() == refreshed

    assert commands[2] == "warehouse prove"
    for command in commands[2:]:
        run(project, command)
    assert (project.folder / "runs/report.html").stat().st_size > 10_000
    readme = commands_of(project.folder / "README.md")
    assert readme == commands, "the project's README goes on as the guide does"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, site: Path) -> OwnProject:
    """A log of pages, its project written."""
    project = OwnProject(tmp_path_factory.mktemp("own"), "pages", site)
    project.deliver(pages_table(pages_of(500, seed=1)), "a.parquet")
    project.init("--log", "logs/*.parquet")
    project.dbt("dbt deps")
    return project


def test_a_page_of_items_per_row_and_no_texts(pages: OwnProject) -> None:
    """Built, refreshed and built in full; then with the adapter that the guide has for such a log."""
    project = pages
    files = {"a.parquet": pages_of(500, seed=1)}
    files["b.parquet"] = [*pages_of(300, seed=2), *files["a.parquet"][:20]]
    assert {"item_id is missing", "label is not 0 or 1: missing", "repeats an earlier row"} == set(
        expected_of(files)[1].values()
    )
    assert "ERROR=0" in project.dbt(BUILD)
    compare_with(project, {"a.parquet": files["a.parquet"]})
    project.deliver(pages_table(files["b.parquet"]), "b.parquet")
    assert "Refresh: 1 new raw file" in project.dbt("dbt run")
    compare_with(project, files)
    refreshed = project.all_rows()
    project.dbt("dbt run --full-refresh")
    assert project.all_rows() == refreshed

    assert refreshed["texts"] == []
    marts = "--marts data/marts/pages"
    code, said = project.ours(f"embeddings build {marts} --encoder e5-small")
    assert code == 2
    assert "The log behind data/marts/pages/texts has no texts" in said
    code, said = project.ours(f"trainer fit --stage 04_semantic {marts} --run runs/text")
    assert code != 0
    assert "No train row has a text" in said
    proved_and_reported(project)

    the_guides_adapter(project)
    project.dbt("dbt run --select +stg_events rejected_events")
    compare_with(project, files)


def the_guides_adapter(project: OwnProject, old: str = "", new: str = "") -> None:
    """The guide's second adapter, with a change."""
    _, adapter = (fence.text for fence in fences(GUIDE) if fence.language == "sql")
    assert old in adapter
    (project.folder / "models/src_pages.sql").write_text((adapter.replace(old, new) if old else adapter) + "\n")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    impression.source_position,\n", "", "If it takes a list apart, it must pass on each event's position"),
        ("as item_id", "as item", "lacks item_id, and has item, which no later model reads"),
        (
            "as label",
            "as label, user_id as item_titel",
            "lacks event_id, known_at, item_title, item_entities, user_texts, ctx_dense, ctx_ids, and has item_titel",
        ),
        ("as label", "as label, [user_id] as item_title", "gives item_title as varchar[], expected a text"),
        ("as label", "as label, cast(null as string) as user_texts", "gives user_texts as text, expected a list"),
    ],
    ids=["no position", "required", "misspelt", "list for a text", "text for a list"],
)
def test_an_adapter_that_is_wrong_is_told_what_to_do(old: str, new: str, message: str, pages: OwnProject) -> None:
    the_guides_adapter(pages, old, new)
    said = pages.dbt("dbt run --select raw_files src_pages parsed_events", fails=True)
    assert message in " ".join(said.split())


def test_ratings_without_header_scenes_texts_or_ids(tmp_path: Path, site: Path) -> None:
    """Semicolons, an odd name, times that the warehouse doesn't read by itself, and a threshold."""
    project, draw = OwnProject(tmp_path, "rated", site), random.Random(5)
    rows = []
    for _ in range(1200):
        at = FIRST_DAY + dt.timedelta(minutes=draw.randrange(30 * 1440))
        rows.append((f"u{draw.randrange(50)}", draw.randrange(40), draw.choice(["1", "2", "3.5", "4", "5"]), at))
    for n in range(2):
        with gzip.open(project.home / f"logs/{n}.csv.gz", "wt") as file:
            for user, item, stars, at in rows[n::2]:
                file.write(f"{user};{item};{stars};{at:%d.%m.%Y %H:%M}\n")
    options = ("--log", "logs", "--columns", "user id,item,stars,rated")
    assert "Which values are positive? Answer with --positive" in project.init(*options, fails=True)
    project.init(*options, "--positive", ">=3.5", "--user", "user id", "--time", "rated")
    project.dbt("dbt deps")
    assert "ERROR=0" in project.dbt(BUILD)
    found = project.query("select user_id, item_id, scene, label, event_at from stg_events")
    expected = {(user, str(item), "all", int(float(stars) >= 3.5), at) for user, item, stars, at in rows}
    assert set(found) == expected
    assert len(found) + len(project.rows_of("rejected_events")) == len(rows)
    assert {reason for (reason,) in project.query("select distinct reason from rejected_events")} <= {
        "repeats an earlier row"
    }
    proved_and_reported(project)
