"""The user's dbt project, compiled once: the SQL of the models between stg_events and the marts, as of a full build.

dbt runs in this process. It writes to a temporary folder, so the project's own target/ stays as it is.
"""

from __future__ import annotations

import json
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.places import in_project

from .errors import ProofError
from .models import Models, nodes_to_compile

if TYPE_CHECKING:
    from dbt.adapters.duckdb.credentials import DuckDBCredentials
    from duckdb import DuckDBPyConnection

QUIET = ("--quiet", "--log-level", "none", "--log-level-file", "none", "--no-send-anonymous-usage-stats")


@dataclass(frozen=True)
class Place:
    """Which project, profile, target and vars, as they are given to dbt."""

    project_dir: Path | None = None
    profiles_dir: Path | None = None
    profile: str | None = None
    target: str | None = None
    vars: str | None = None

    def options(self) -> list[str]:
        given = {
            "--project-dir": self.project_dir,
            "--profiles-dir": self.profiles_dir,
            "--profile": self.profile,
            "--target": self.target,
            "--vars": self.vars,
        }
        return [word for name, value in given.items() if value is not None for word in (name, str(value))]

    def build_command(self) -> str:
        """What the user would run to build this project."""
        return shlex.join(["dbt", "build", *self.options()])


@dataclass(frozen=True)
class Compiled:
    """The models with their SQL, and the credentials that dbt made of the profile."""

    models: Models
    credentials: DuckDBCredentials


@contextmanager
def opened_database() -> Iterator[DuckDBPyConnection]:
    """The database that `dbt build` filled, on the connection that dbt's last command opened; closed afterwards."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    environment = DuckDBConnectionManager.env()
    try:
        yield environment.handle().cursor()
    finally:
        environment.close()
        DuckDBConnectionManager.close_all_connections()


def compiled(place: Place) -> Compiled:
    """Compile the project as it stands.

    Raises: ProofError if dbt can't, if nothing is built, or if the target isn't DuckDB.
    """
    with tempfile.TemporaryDirectory(prefix="warehouse-prove-") as folder:
        options = [*place.options(), "--target-path", folder, "--log-path", folder]
        before = (place.project_dir or Path()) / "target/partial_parse.msgpack"
        if before.exists():
            shutil.copy(before, folder)
        manifest = run_dbt(["parse", *options])
        credentials = credentials_of(place)
        wanted = nodes_to_compile(manifest.writable_manifest().to_dict())
        selected = ["fqn:" + ".".join(node["fqn"]) for node in wanted]
        run_dbt(
            ["compile", "--full-refresh", "--indirect-selection", "empty", *options, "--select", *selected], manifest
        )
        document = json.loads((Path(folder) / "manifest.json").read_text(encoding="utf-8"))
    return Compiled(Models.of(document), credentials)


def run_dbt(arguments: list[str], manifest: Any = None) -> Any:
    """The result of a dbt command.

    Raises: ProofError with what dbt said.
    """
    from dbt.cli.main import dbtRunner

    ended = dbtRunner(manifest=manifest).invoke([*QUIET, *arguments])
    if ended.success:
        return ended.result
    results = getattr(ended.result, "results", [])
    said = [str(result.message) for result in results if result.message and str(result.status) in ("error", "fail")]
    found = "\n".join(said) or str(ended.exception or ended.result)
    hint = ""
    if "lock" in found.lower():
        hint = "\nAnother process has the database open. Let it finish, or end it, and prove again."
    raise ProofError(f"dbt {arguments[0]} failed:\n{found.strip()}{hint}")


def credentials_of(place: Place, what: str = "warehouse prove runs the features' SQL") -> DuckDBCredentials:
    """What dbt's last command connects with.

    Raises: ProofError unless it is a DuckDB database that is there.
    """
    from dbt.adapters.factory import FACTORY

    (adapter,) = FACTORY.adapters.values()
    credentials = adapter.config.credentials
    if adapter.type() != "duckdb":
        raise ProofError(
            f"The target is {adapter.type()}; {what} on DuckDB only. Build the log, or some of its files, with"
            " dbt build --target duckdb, and give --target duckdb here too."
        )
    path = credentials.path
    if not credentials.is_motherduck and (":" in path or not Path(in_project(path)).exists()):
        raise ProofError(
            f"There is no database at {in_project(path)}: nothing is built yet. Run {place.build_command()}"
        )
    return credentials
