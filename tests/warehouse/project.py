"""A throw-away copy of the dbt project, with a log of our own making: what the warehouse's tests build in."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[2]
DBT = Path(sys.executable).with_name("dbt")
MY_LOG = {"dataset": "my_log"}


@dataclass(frozen=True)
class Edit:
    """One change to the project's SQL: `old`, which must stand in `path`, becomes `new`."""

    path: str
    old: str
    new: str


def code_block(document: Path, language: str) -> str:
    """The first fenced block of `language` in a Markdown file."""
    return re.search(rf"```{language}\n(.*?)```", document.read_text(), re.DOTALL).group(1)


def edits_of(document: Path) -> tuple[Edit, ...]:
    """The changes that the diff blocks of a Markdown file ask for, a hunk each."""
    edits = []
    for block in re.findall(r"```diff\n(.*?)```", document.read_text(), re.DOTALL):
        path, *hunks = re.split(r"^@@.*\n", block, flags=re.MULTILINE)
        for hunk in hunks:
            lines = hunk.splitlines()
            old, new = ("\n".join(line[1:] for line in lines if line[:1] in kept) for kept in (" -", " +"))
            edits.append(Edit(path.strip().removeprefix("--- "), old, new))
    return tuple(edits)


class Project:
    """The project in a folder of its own, with the adapter and vars of docs/bring-your-own-log.md in place."""

    def __init__(self, folder: Path, edits: tuple[Edit, ...] = ()):
        self.folder = folder
        folder.mkdir(parents=True)
        shutil.copytree(ROOT / "warehouse", folder / "warehouse", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "profiles.yml", folder)
        (folder / "data").mkdir()
        guide = ROOT / "docs" / "bring-your-own-log.md"
        adapter = folder / "warehouse/models/sources/my_log/src_my_log.sql"
        adapter.parent.mkdir()
        adapter.write_text(code_block(guide, "sql"))
        block = "".join(f"    {line}\n" for line in code_block(guide, "yaml").splitlines())
        (folder / "dbt_project.yml").write_text((ROOT / "dbt_project.yml").read_text() + block)
        for edit in edits:
            path = folder / edit.path
            text = path.read_text()
            assert edit.old in text, f"{edit.path} no longer holds {edit.old!r}: bring this test up to date"
            path.write_text(text.replace(edit.old, edit.new))

    def dbt(self, *arguments: str, dataset_vars: dict | None = None) -> subprocess.CompletedProcess:
        """Run dbt as a user would, from the project root. The exit status is the caller's to judge."""
        given = json.dumps(dataset_vars or MY_LOG, ensure_ascii=False)
        return subprocess.run(
            [DBT, "--no-use-colors", *arguments, "--vars", given],
            cwd=self.folder,
            capture_output=True,
            text=True,
            env=os.environ | {"DBT_SEND_ANONYMOUS_USAGE_STATS": "0"},
        )

    def build_marts(self, log: pa.Table, versions: tuple[int, ...] | None = None) -> dict[int, pa.Table]:
        """training_examples of `log` in each version that there is (or that is asked for), sorted by event_id."""
        self.write_log(log)
        wanted = [f"+training_examples_v{version}" for version in versions] if versions else ["+training_examples"]
        result = self.dbt("run", "--select", *wanted)
        assert result.returncode == 0, result.stdout
        versions = versions or tuple(self.contracts())
        return {
            version: self.query(f"select * from training_examples_v{version} order by event_id") for version in versions
        }

    def contracts(self) -> dict[int, dict[str, str]]:
        """The columns of training_examples and their roles, by version, from the manifest of the last run."""
        nodes = json.loads((self.folder / "target/manifest.json").read_text())["nodes"].values()
        return {
            node["version"]: {name: column["config"]["meta"]["role"] for name, column in node["columns"].items()}
            for node in sorted(nodes, key=lambda node: node.get("version") or 0)
            if node["resource_type"] == "model" and node["name"] == "training_examples"
        }

    def forget(self) -> None:
        """Throw away the log and all that was built of it."""
        shutil.rmtree(self.folder / "data")
        (self.folder / "data").mkdir()

    def write_log(self, log: pa.Table, name: str = "part-0.parquet") -> None:
        raw = self.folder / "data/raw/my_log"
        raw.mkdir(parents=True, exist_ok=True)
        pq.write_table(log, raw / name)

    def query(self, sql: str, dataset: str = "my_log") -> pa.Table:
        database = self.folder / "data" / f"{dataset}.duckdb"
        with duckdb.connect(str(database), read_only=True, config={"file_search_path": str(self.folder)}) as connection:
            return connection.sql(sql).to_arrow_table()
