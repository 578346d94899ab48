"""The warehouse's own SQL as dbt compiled it, in a database in memory: half a second per log instead of fifteen.

What dbt does around the models is not in here: hooks, tests, refreshes and the raw files' own checks.
"""

import contextlib
import copy
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from tests.warehouse.logs import random_log
from tests.warehouse.project import Edit, Project
from warehouse.reading.scan import raw_scan

MALFORMED = "source_file varchar, source_line bigint, problem varchar, line varchar, n_lines_taken_in bigint"


@dataclass(frozen=True)
class Built:
    """What a log came to. Each table is sorted by its key."""

    events: pa.Table
    rejected: pa.Table
    marts: dict[int, pa.Table]


class Compiled:
    """The models that training_examples needs, in an order in which they can be made.

    The scan of the raw file is made anew for each log, since it depends on the file's own types.
    """

    def __init__(self, folder: Path):
        self.project = Project(folder)
        self.project.build_marts(random_log(60))
        nodes = self._nodes()
        self.models: dict[str, str] = {}
        self.needed: dict[int, set[str]] = {}  # by version of training_examples

        def add(name: str, needed: set[str]) -> None:
            node = nodes.get(name)
            if node is None or node["relation_name"] in needed or node["name"] in ("raw_files", "touched_days"):
                return
            for parent in node["depends_on"]["nodes"]:
                add(parent, needed)
            needed.add(node["relation_name"])
            self.models.setdefault(node["relation_name"], node["compiled_code"])

        for version in (1, 2):
            self.needed[version] = set()
            add(f"model.first_impression.training_examples.v{version}", self.needed[version])
        self.columns = random_log(1).column_names

    def mutated(self, folder: Path, edits: tuple[Edit, ...]) -> "Compiled":
        """The same with edits made to the project: dbt compiles the models that these change."""
        mutant = copy.copy(self)
        mutant.project = Project(folder, edits)
        shutil.copytree(self.project.folder / "data", folder / "data", dirs_exist_ok=True)
        state = ("--state", str(self.project.folder / "target"))
        command = ("compile", "--full-refresh", "--select", "state:modified,+training_examples", *state)
        result = mutant.project.dbt(*command)
        assert result.returncode == 0, result.stdout
        changed = {
            node["relation_name"]: node["compiled_code"]
            for node in mutant._nodes().values()
            if node["resource_type"] == "model" and node.get("compiled_code")
        }
        assert changed, "the edits change no model"
        mutant.models = self.models | changed
        return mutant

    def _nodes(self) -> dict[str, dict]:
        return json.loads((self.project.folder / "target/manifest.json").read_text())["nodes"]

    def _scan(self) -> str:
        request = {"kind": "parquet", "folder": "data/raw/my_log", "pattern": "*.parquet", "remedy": ""}
        with contextlib.chdir(self.project.folder):
            return json.loads(raw_scan(json.dumps(request | {"columns": self.columns}), "{}"))["sql"]

    def build(self, log: pa.Table, versions: tuple[int, ...] = (1, 2)) -> Built:
        """Stage `log` as the one raw file there is, and build these versions of the mart."""
        pq.write_table(log, self.project.folder / "data/raw/my_log/part-0.parquet", row_group_size=7)
        needed = set().union(*(self.needed[version] for version in versions))
        with contextlib.chdir(self.project.folder), duckdb.connect(":memory:", config={"threads": 1}) as connection:
            connection.execute("set TimeZone = 'UTC'")
            connection.execute("attach ':memory:' as my_log")
            connection.execute(f'create table "my_log"."main".malformed_lines ({MALFORMED})')
            (view,) = set(re.findall(r'"my_log"."main"."raw_scan_\w+"', " ".join(self.models.values())))
            connection.execute(f"create view {view} as {self._scan()}")
            for relation, sql in self.models.items():
                if relation in needed:
                    connection.execute(f"create table {relation} as {sql}")

            def table(name: str, key: str) -> pa.Table:
                return connection.sql(f'select * from "my_log"."main".{name} order by {key}').to_arrow_table()

            return Built(
                table("stg_events", "event_id"),
                table("rejected_events", "source_row"),
                {version: table(f"training_examples_v{version}", "event_id") for version in versions},
            )
