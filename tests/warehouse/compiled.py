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
import yaml

from tests.warehouse.logs import random_log
from tests.warehouse.project import Edit, Project, dumped
from warehouse.prove.models import Models
from warehouse.prove.proof import Proof, prove_sample
from warehouse.reading.scan import raw_scan

MALFORMED = "source_file varchar, source_line bigint, problem varchar, line varchar, n_lines_of_file bigint"


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
        self.project = _smaller(Project(folder))
        self.project.write_log(random_log(60))
        self._dbt("run", "--select", "raw_files")
        self._dbt("compile", "--select", "+training_examples")
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
        """The same with edits made to the project."""
        mutant = copy.copy(self)
        mutant.project = self.project.copied(folder, edits)
        mutant._dbt("compile", "--full-refresh", "--select", "+training_examples")
        nodes = mutant._nodes().values()
        compiled = {node["relation_name"]: node["compiled_code"] for node in nodes if node.get("compiled_code")}
        mutant.models = {relation: compiled[relation] for relation in self.models}
        assert mutant.models != self.models, "the edits change no model"
        return mutant

    def _dbt(self, *command: str) -> None:
        result = self.project.dbt(*command)
        assert result.returncode == 0, result.stdout

    def _nodes(self) -> dict[str, dict]:
        return json.loads((self.project.folder / "target/manifest.json").read_text())["nodes"]

    def _scan(self) -> str:
        request = {"kind": "parquet", "folder": "data/raw/my_log", "pattern": "*.parquet", "remedy": ""}
        with contextlib.chdir(self.project.folder):
            return json.loads(raw_scan(json.dumps(request | {"columns": self.columns}), "{}"))["sql"]

    def prove(self, log: pa.Table) -> Proof:
        """What `warehouse prove` finds in these models, on all of `log`."""
        models = Models.of(json.loads((self.project.folder / "target/manifest.json").read_text()))
        with duckdb.connect(config={"threads": 1}) as connection:
            connection.execute("set TimeZone = 'UTC'")
            return prove_sample(models, [connection], self.build(log).events)

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


def _smaller(project: Project) -> Project:
    """The project without what no training_examples needs: dbt parses and compiles it in less time."""
    project.variant = "training_examples alone"
    models = project.folder / "warehouse/models"
    shutil.rmtree(project.folder / "warehouse/data_tests")
    for path in (models / "monitoring", models / "sources/movielens", models / "sources/antm2c"):
        shutil.rmtree(path)
    for path in (*models.rglob("*_latest.*"), *models.rglob("*unit_tests.yml"), models / "exposures.yml"):
        path.unlink()
    there = {path.stem for path in models.rglob("*.sql")}
    for path in models.rglob("*.yml"):
        document = _without_tests(yaml.safe_load(path.read_text()))
        described = document.get("models", [])
        if isinstance(described, list):
            stems = [
                {model["name"], *(f"{model['name']}_v{v['v']}" for v in model.get("versions", []))}
                for model in described
            ]
            document["models"] = [model for model, stem in zip(described, stems, strict=True) if stem & there]
        path.write_text(dumped(document))
    path = project.folder / "dbt_project.yml"
    path.write_text(dumped(yaml.safe_load(path.read_text()) | {"on-run-end": []}))
    return project


def _without_tests(part: object) -> object:
    if isinstance(part, dict):
        return {key: _without_tests(value) for key, value in part.items() if key != "data_tests"}
    return [_without_tests(each) for each in part] if isinstance(part, list) else part
