"""docs/bring-your-own-log.md followed literally, names included, from the shipped project to a trained model.

Both of its logs are built in one project: the first has no texts at first and gets them later, the second lists several
impressions per row and has none at all.
"""

import contextlib
import datetime as dt
import itertools
import random
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embeddings import read_texts
from embeddings.errors import NoTextsError
from tests.forkserver import of
from tests.system.pages import fences, run_in_process
from tests.warehouse.logs import FIRST_DAY, random_log, with_column
from tests.warehouse.project import ROOT

GUIDE = ROOT / "docs/bring-your-own-log.md"
PAGE = GUIDE.read_text(encoding="utf-8")
TEXTS = ("title", "tags", "profile")


class Checkout:
    """The shipped project in a folder of its own, and a user who does what the guide says."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir()
        shutil.copytree(ROOT / "warehouse", folder / "warehouse", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("dbt_project.yml", "profiles.yml"):
            shutil.copy(ROOT / name, folder)
        (folder / "trainer").symlink_to(ROOT / "trainer")
        (self.adapter, *self.more_adapters) = (fence.text for fence in fences(GUIDE) if fence.language == "sql")
        (self.block, *self.more_blocks) = (fence.text for fence in fences(GUIDE) if fence.language == "yaml")
        (self.commands,) = (fence.commands for fence in fences(GUIDE) if fence.commands)

    def save_adapter(self, path: str, sql: str) -> None:
        (self.folder / path).parent.mkdir(exist_ok=True)
        (self.folder / path).write_text(sql + "\n")

    def add_block(self, block: str) -> None:
        """Under `vars: datasets:`, where a block of that name gives way (a user may have followed the guide before)."""
        path, name = self.folder / "dbt_project.yml", block.split(":")[0]
        text = re.sub(rf"^    {name}:\n(?:      .*\n|\n)*", "", path.read_text(), flags=re.MULTILINE)
        indented = "".join(f"    {line}\n" for line in block.splitlines())
        assert text.count("\n  datasets:\n") == 1
        path.write_text(text.replace("\n  datasets:\n", f"\n  datasets:\n{indented}"))

    def dbt(self, command: str, fails: bool = False) -> str:
        words = shlex.split(command)
        assert words[0] == "dbt"
        server = of("spark" if "spark" in words else "dbt")
        done = server.run("dbt", "--no-use-colors", *words[1:], cwd=self.folder)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout

    def ours(self, command: str) -> tuple[int, str]:
        with contextlib.chdir(self.folder):
            code, said = run_in_process(shlex.split(command))
        return code, " ".join(said.split())

    def deliver(self, log: pa.Table, path: str) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(log, self.folder / path)

    def query(self, name: str, sql: str) -> list[tuple]:
        """Of a log's database; of files alone where it has none."""
        path, settings = self.folder / f"data/{name}.duckdb", {"file_search_path": str(self.folder)}
        database = str(path) if path.exists() else ":memory:"
        with duckdb.connect(database, read_only=path.exists(), config=settings) as connection:
            return connection.sql(sql).fetchall()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    folder = tmp_path_factory.mktemp("guide")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("FIRST_IMPRESSION_CACHE", str(folder / "cache"))
        yield Checkout(folder / "checkout")


def test_the_guide_to_the_letter(checkout: Checkout) -> None:
    """A log whose texts are missing in the first file, and there in the second; then a model."""
    log = random_log(1500)
    (columns,) = re.findall(r"with these columns:\n`(.+)`", PAGE)
    assert columns.split(", ") == log.column_names
    (raw,) = re.findall(r"Parquet files in `(data/raw/\w+/)`", PAGE)
    (adapter,) = re.findall(r"Save it as `(.+\.sql)`", PAGE)
    assert "Add a block under `vars: datasets:` in `dbt_project.yml`" in PAGE
    build, fit = checkout.commands
    checkout.save_adapter(adapter, checkout.adapter)
    checkout.add_block(checkout.block)

    without = log.slice(0, 700)
    for name in TEXTS:
        without = with_column(without, name, pa.nulls(700, pa.string()).to_pylist()).cast(log.schema)
    checkout.deliver(without, f"{raw}part-0.parquet")
    assert "ERROR=0" in checkout.dbt(build)
    assert checkout.query("my_log", "select count(*) from texts") == [(0,)]
    assert checkout.query("my_log", "select count(*) from training_examples_v2") == [(700,)]
    with pytest.raises(NoTextsError, match="has no texts"):
        read_texts(checkout.folder / "data/marts/my_log")

    checkout.deliver(log.slice(700), f"{raw}part-1.parquet")
    said = checkout.dbt(build)
    assert "ERROR=0" in said
    assert "Refresh: 1 new raw file" in said
    titles = {title.strip() for title in log["title"].to_pylist()[700:]} - {""}
    assert checkout.query("my_log", "select distinct text from texts where side = 'title' order by 1") == [
        (title,) for title in sorted(titles)
    ]
    named = "select sum(n_rows) from texts where side = 'title'"
    assert checkout.query("my_log", named) == [(sum(bool(t) for t in log["title"].to_pylist()[700:]),)]
    refreshed = {name: rows_of(checkout, "my_log", name) for name in MARTS}
    checkout.dbt(f"{build.replace('dbt build', 'dbt run')} --full-refresh")
    assert {name: rows_of(checkout, "my_log", name) for name in MARTS} == refreshed

    code, said = checkout.ours(fit)
    assert code == 0, said
    assert (checkout.folder / "runs/my_log/DONE").exists()


MARTS = ("stg_events", "rejected_events", "training_examples_v1", "training_examples_v2", "texts")


def rows_of(checkout: Checkout, dataset: str, table: str) -> list[tuple]:
    return checkout.query(dataset, f"select * from {table} order by all")


def pages_of(n_rows: int, seed: int) -> list[dict]:
    """Pages of up to four items, the same item twice at times; lists that are empty, NULL or too short."""
    draw = random.Random(seed)
    rows = []
    for number in range(n_rows):
        items = [draw.randrange(30) for _ in range(draw.randrange(5))]
        clicks = [int(draw.random() < 0.4) for _ in items]
        if number % 50 == 7:
            items, clicks = None, None
        elif number % 50 == 8:
            clicks = clicks[:-1]
        elif number % 50 == 9:
            items = None
        shown_at = FIRST_DAY + dt.timedelta(seconds=draw.randrange(45 * 86_400))
        rows.append(
            {
                "user_id": draw.randrange(40),
                "surface": draw.choice(["home", "search"]),
                "shown_at": shown_at,
                "items": items,
                "clicks": clicks,
            }
        )
    return rows


def expected_of(files: dict[str, list[dict]]) -> tuple[dict[str, tuple], dict[tuple, str]]:
    """Every event by its id, and every rejected impression by its key with the reason: an independent reader."""
    events, rejected, seen = {}, {}, set()
    for file, rows in sorted(files.items()):
        for number, row in enumerate(rows, 1):
            pairs = itertools.zip_longest(row["items"] or [], row["clicks"] or [])
            if row["items"] is None and row["clicks"] is None:
                pairs = [(None, None)]
            for position, (item, clicked) in enumerate(pairs, 1):
                content = (row["user_id"], row["surface"], row["shown_at"], item, clicked, position)
                if item is None:
                    rejected[file, number, position] = "item_id is missing"
                elif clicked is None:
                    rejected[file, number, position] = "label is not 0 or 1: missing"
                elif content in seen:
                    rejected[file, number, position] = "repeats an earlier row"
                else:
                    seen.add(content)
                    events[f"{file}:{number}:{position}"] = (str(row["user_id"]), str(item), row["surface"], clicked)
    return events, rejected


SCHEMA = pa.schema(
    {
        "user_id": pa.int64(),
        "surface": pa.string(),
        "shown_at": pa.timestamp("us"),
        "items": pa.list_(pa.int64()),
        "clicks": pa.list_(pa.int64()),
    }
)


def compare_with(checkout: Checkout, files: dict[str, list[dict]], table: str = "{}") -> None:
    """Raw = accepted + rejected, each with its key. table: where a table's rows are found, `{}` for its name."""
    accepted, refused, parsed = (table.format(name) for name in ("stg_events", "rejected_events", "parsed_events"))
    events, rejected = expected_of(files)
    found = checkout.query("pages", f"select event_id, user_id, item_id, scene, label from {accepted}")
    assert {row[0]: row[1:] for row in found} == events
    assert len(found) == len(events)
    keyed = checkout.query("pages", f"select source_file, source_row, source_position, reason from {refused}")
    assert {row[:3]: row[3] for row in keyed} == rejected
    assert checkout.query("pages", f"select count(*) from {parsed}") == [(len(events) + len(rejected),)]


def add_pages(checkout: Checkout, old: str = "", new: str = "") -> None:
    """The guide's second adapter, with a change, and its block."""
    (adapter,), (block,) = checkout.more_adapters, checkout.more_blocks
    assert old in adapter
    checkout.save_adapter("warehouse/models/sources/pages/src_pages.sql", adapter.replace(old, new) if old else adapter)
    checkout.add_block(block)


def test_a_page_of_items_per_row_and_no_texts(checkout: Checkout) -> None:
    """The guide's second log, under its own name next to the first, built, refreshed and built in full."""
    add_pages(checkout)
    files = {"a.parquet": pages_of(500, seed=1)}
    files["b.parquet"] = [*pages_of(300, seed=2), *files["a.parquet"][:20]]
    assert {"item_id is missing", "label is not 0 or 1: missing", "repeats an earlier row"} == set(
        expected_of(files)[1].values()
    )
    build = "dbt build --vars '{dataset: pages}'"
    checkout.deliver(pa.Table.from_pylist(files["a.parquet"], SCHEMA), "data/raw/pages/a.parquet")
    assert "ERROR=0" in checkout.dbt(build)
    compare_with(checkout, {"a.parquet": files["a.parquet"]})
    checkout.deliver(pa.Table.from_pylist(files["b.parquet"], SCHEMA), "data/raw/pages/b.parquet")
    said = checkout.dbt(build)
    assert "Refresh: 1 new raw file" in said
    compare_with(checkout, files)
    refreshed = {name: rows_of(checkout, "pages", name) for name in MARTS}
    checkout.dbt("dbt run --full-refresh --vars '{dataset: pages}'")
    assert {name: rows_of(checkout, "pages", name) for name in MARTS} == refreshed

    assert refreshed["texts"] == []
    marts = "--marts data/marts/pages"
    code, said = checkout.ours(f"embeddings build {marts} --encoder e5-small")
    assert code == 2
    assert "The log behind data/marts/pages/texts has no texts" in said
    code, said = checkout.ours(f"trainer fit --stage trainer/stages/04_semantic.yaml {marts} --run runs/text")
    assert code != 0
    assert "No train row has a text" in said
    code, said = checkout.ours(f"trainer fit --stage trainer/stages/00_gbdt.yaml {marts} --run runs/pages")
    assert code == 0, said
    checkout.folder.joinpath("runs/pages/DONE").stat()


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
def test_an_adapter_that_is_wrong_is_told_what_to_do(old: str, new: str, message: str, checkout: Checkout) -> None:
    add_pages(checkout, old, new)
    checkout.deliver(pa.Table.from_pylist(pages_of(50, seed=3), SCHEMA), "data/raw/pages/c.parquet")
    said = checkout.dbt("dbt run --select src_pages parsed_events --vars '{dataset: pages}'", fails=True)
    assert message in " ".join(said.split())
