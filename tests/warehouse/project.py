"""A throw-away copy of the dbt project, with a log of our own making: what the warehouse's tests build in."""

import atexit
import copy
import functools
import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from tests.forkserver import of

ROOT = Path(__file__).parents[2]
MY_LOG = {"dataset": "my_log"}


# What may stand between two words of SQL or YAML: blanks, line ends and comments.
_GAP = r"(?:\s|--[^\n]*(?:\n|$)|(?<!\S)\#[^\n]*(?:\n|$)|/\*.*?\*/|\{\#.*?\#\})"


@dataclass(frozen=True)
class Edit:
    """One change to the project: the expression `old`, which must occur in `path`, becomes `new`.

    `old` is found by its words and signs alone: case, blanks, line ends and comments don't matter, so neither lines
    added around it nor another layout hide it. It is written on one line: its neighbours are not its business.
    """

    path: str
    old: str
    new: str

    def __post_init__(self) -> None:
        assert "\n" not in self.old, f"{self.path}: an edit's anchor is one expression on one line, not {self.old!r}"

    def applied_to(self, text: str) -> str:
        """`text` with every occurrence changed.

        Raises: AssertionError naming the expression where there is none.
        """
        changed, n_found = self._pattern().subn(lambda _: self.new, text)
        assert n_found, f"{self.path} no longer holds the expression `{self.old}`: bring the edit up to date with it"
        return changed

    def _pattern(self) -> re.Pattern:
        words = re.findall(r"\w+|[^\w\s]", self.old)
        pattern = r"(?<!\w)" if re.match(r"\w", words[0]) else ""
        for word, following in zip(words, [*words[1:], ""], strict=True):
            both_are_words = re.match(r"\w", word) and re.match(r"\w", following)
            pattern += re.escape(word) + (f"{_GAP}{'+' if both_are_words else '*'}" if following else "")
        return re.compile(pattern, re.IGNORECASE | re.DOTALL)


def code_block(document: Path, language: str) -> str:
    """The first fenced block of `language` in a Markdown file."""
    return re.search(rf"```{language}\n(.*?)```", document.read_text(), re.DOTALL).group(1)


def edits_of(document: Path) -> tuple[Edit, ...]:
    """The lines that the diff blocks of a Markdown file add, each hunk before the line that follows it."""
    edits = []
    for block in re.findall(r"```diff\n(.*?)```", document.read_text(), re.DOTALL):
        path, *hunks = re.split(r"^@@.*\n", block, flags=re.MULTILINE)
        for hunk in hunks:
            added, anchor = re.fullmatch(r"((?:\+.*\n)+) (.+)\n", hunk).groups()
            added, anchor = re.sub(r"^\+ *", "", added, flags=re.MULTILINE), anchor.strip().rstrip(",")
            edits.append(Edit(path.strip().removeprefix("--- "), anchor, f"{added}        {anchor}"))
    return tuple(edits)


def dumped(document: dict) -> str:
    """A document as YAML: innermost lists and mappings on one line, in the order given."""
    return yaml.safe_dump(document, allow_unicode=True, sort_keys=False, default_flow_style=None, width=10_000)


@functools.cache
def parsed_projects() -> Path:
    """A folder of this process for what dbt parsed."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    return folder


class Project:
    """The project in a folder of its own, with the adapter and vars of docs/bring-your-own-log.md in place.

    It is made of the warehouse as it stands, features that a user has added included. Only what a user may have under
    the same name as the guide's log gives way to the guide's.
    """

    def __init__(self, folder: Path, edits: tuple[Edit, ...] = (), root: Path = ROOT):
        self.folder = folder
        self.parsed_as: tuple[str, ...] | None = None
        self.variant = ""  # projects with other files than the rest: what was parsed of one is of little use to another
        folder.mkdir(parents=True)
        shutil.copytree(root / "warehouse", folder / "warehouse", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(root / "profiles.yml", folder)
        (folder / "data").mkdir()
        guide = ROOT / "docs" / "bring-your-own-log.md"
        self._leave_out("my_log")
        adapter = folder / "warehouse/models/sources/my_log/src_my_log.sql"
        adapter.parent.mkdir()
        adapter.write_text(code_block(guide, "sql"))
        settings = yaml.safe_load((root / "dbt_project.yml").read_text())
        settings["vars"]["datasets"] |= yaml.safe_load(code_block(guide, "yaml"))
        (folder / "dbt_project.yml").write_text(dumped(settings))
        self._apply(edits)

    def copied(self, folder: Path, edits: tuple[Edit, ...]) -> "Project":
        """This project as it stands, its data and what dbt parsed of it included, with edits made to it."""
        other = copy.copy(self)
        other.folder = shutil.copytree(self.folder, folder)
        other._apply(edits)
        return other

    def _apply(self, edits: tuple[Edit, ...]) -> None:
        for edit in edits:
            path = self.folder / edit.path
            path.write_text(edit.applied_to(path.read_text()))

    def _leave_out(self, name: str) -> None:
        """Drop a user's own adapter `name`: its folder, its model wherever it lies, and what the yml says of it."""
        models = self.folder / "warehouse/models"
        shutil.rmtree(models / "sources" / name, ignore_errors=True)
        for path in models.rglob(f"src_{name}.sql"):
            path.unlink()
        for path in [*models.rglob("*.yml"), *models.rglob("*.yaml")]:
            if f"src_{name}" not in (text := path.read_text()):
                continue  # reading the YAML of them all takes longer than all else here
            document = yaml.safe_load(text) or {}
            described = document.get("models") or []
            kept = [model for model in described if model["name"] != f"src_{name}"]
            if len(kept) < len(described):
                path.write_text(dumped(document | {"models": kept}))

    def dbt(
        self, *arguments: str, dataset_vars: dict | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess:
        """Run dbt as a user would, from the project root or from `cwd`. The exit status is the caller's to judge."""
        given = json.dumps(dataset_vars or MY_LOG, ensure_ascii=False)
        target = arguments[arguments.index("--target") + 1] if "--target" in arguments else ""
        with self.parsed_before(given, target, self.variant):
            server = of("spark" if target == "spark" else "dbt")
            return server.run("dbt", "--no-use-colors", *arguments, "--vars", given, cwd=cwd or self.folder)

    def prove(self, *arguments: str, target: str = "") -> subprocess.CompletedProcess:
        """Run `warehouse prove` as a user would, from the project root."""
        given = json.dumps(MY_LOG)
        with self.parsed_before(given, target, self.variant):
            options = ("--target", target) if target else ()
            return of("dbt").run("warehouse", "prove", "--vars", given, *options, *arguments, cwd=self.folder)

    @contextmanager
    def parsed_before(self, *key: str) -> Iterator[None]:
        """Give dbt what it last parsed under these vars, here or in another copy: it parses files that differ again."""
        mine = self.folder / "target/partial_parse.msgpack"
        kept = parsed_projects() / hashlib.sha256(repr(key).encode()).hexdigest()
        if kept.exists() and self.parsed_as != key:
            mine.parent.mkdir(exist_ok=True)
            shutil.copy(kept, mine)
        self.parsed_as = key
        yield
        if mine.exists() and not kept.exists():
            shutil.copy(mine, kept)

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
