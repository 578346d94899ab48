"""A user with a log of their own and an installed wheel; and a log of pages with an independent reader."""

import contextlib
import datetime as dt
import itertools
import os
import random
import shlex
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from tests.forkserver import of
from tests.system.pages import run_in_process
from tests.warehouse.logs import FIRST_DAY
from tests.warehouse.project import ROOT

MARTS = ("stg_events", "rejected_events", "training_examples_v1", "training_examples_v2", "texts")


class OwnProject:
    """The project `name` in an empty folder, made by `warehouse init` from the files in logs/ next to it.

    site: where the package is installed. With the checkout (None) a test does without a wheel.
    """

    def __init__(self, folder: Path, name: str, site: Path | None = None):
        self.home, self.folder, self.name, self.site = folder, folder / name, name, site
        (folder / "logs").mkdir(parents=True)

    def init(self, *options: str, fails: bool = False) -> str:
        """`warehouse init NAME OPTIONS`, from the folder around the project."""
        script = str((self.site or Path(sys.executable).parents[1]) / "bin/warehouse")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        done = subprocess.run(
            [sys.executable, script, "init", self.name, *options],
            cwd=self.home,
            capture_output=True,
            text=True,
            env=environment | {"PYTHONPATH": str(self.site or ROOT)},
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    def dbt(self, command: str, fails: bool = False) -> str:
        """A dbt command as a user types it, in the project's folder, with the installed package's Python."""
        words = shlex.split(command)
        assert words[0] == "dbt"
        server = of("spark" if "spark" in words else "dbt", site=self.site or ROOT)
        done = server.run("dbt", "--no-use-colors", *words[1:], cwd=self.folder)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout

    def prove(self, command: str) -> str:
        """`warehouse prove`, which runs dbt, as a user types it."""
        done = of("dbt", site=self.site or ROOT).run(*shlex.split(command), cwd=self.folder)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ours(self, command: str) -> tuple[int, str]:
        """A command of the trainer or the embeddings."""
        with contextlib.chdir(self.folder):
            code, said = run_in_process(shlex.split(command))
        return code, " ".join(said.split())

    def deliver(self, log: pa.Table, name: str) -> None:
        pq.write_table(log, self.home / "logs" / name)

    def query(self, sql: str) -> list[tuple]:
        """Of the project's database; of files alone where it has none."""
        path, settings = self.folder / f"data/{self.name}.duckdb", {"file_search_path": str(self.folder)}
        database = str(path) if path.exists() else ":memory:"
        with duckdb.connect(database, read_only=path.exists(), config=settings) as connection:
            return connection.sql(sql).fetchall()

    def rows_of(self, table: str) -> list[tuple]:
        return self.query(f"select * from {table} order by all")

    def all_rows(self) -> dict[str, list[tuple]]:
        return {name: self.rows_of(name) for name in MARTS}


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


def pages_table(rows: list[dict]) -> pa.Table:
    return pa.Table.from_pylist(rows, SCHEMA)


def compare_with(project: OwnProject, files: dict[str, list[dict]], table: str = "{}") -> None:
    """Raw = accepted + rejected, each with its key. table: where a table's rows are found, `{}` for its name."""
    accepted, refused, parsed = (table.format(name) for name in ("stg_events", "rejected_events", "parsed_events"))
    events, rejected = expected_of(files)
    found = project.query(f"select event_id, user_id, item_id, scene, label from {accepted}")
    assert {row[0]: row[1:] for row in found} == events
    assert len(found) == len(events)
    keyed = project.query(f"select source_file, source_row, source_position, reason from {refused}")
    assert {row[:3]: row[3] for row in keyed} == rejected
    assert project.query(f"select count(*) from {parsed}") == [(len(events) + len(rejected),)]
