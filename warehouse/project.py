"""The user's dbt project: where the commands are told it is, and dbt run on it in this process."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from dbt.adapters.duckdb.credentials import DuckDBCredentials
    from duckdb import DuckDBPyConnection

QUIET = ("--quiet", "--log-level", "none", "--log-level-file", "none", "--no-send-anonymous-usage-stats")

# The options of a command that say which project; Place takes their values.
ProjectDir = Annotated[Path | None, typer.Option(help="Folder of dbt_project.yml; default: this one.")]
ProfilesDir = Annotated[Path | None, typer.Option(help="Folder of profiles.yml, as dbt takes it.")]
Profile = Annotated[str | None, typer.Option(help="Another profile than the project's.")]
Target = Annotated[str | None, typer.Option(help="Another target than the profile's; a DuckDB one.")]
Vars = Annotated[str | None, typer.Option("--vars", help="dbt's vars: '{dataset: my_log}'.")]


class ProjectError(Exception):
    """dbt or its database can't be used. The message says what was expected, what was found and what to do."""


def refused(message: str) -> typer.Exit:
    """What a command raises once it has said why it does nothing."""
    typer.echo(f"Error: {message}", err=True)
    return typer.Exit(2)


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


def run_dbt(arguments: list[str], manifest: Any = None) -> Any:
    """The result of a dbt command.

    Raises: ProjectError with what dbt said.
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
        hint = "\nAnother process has the database open. Let it finish, or end it, and try again."
    raise ProjectError(f"dbt {arguments[0]} failed:\n{found.strip()}{hint}")


def credentials_of(place: Place, what: str = "warehouse prove runs the features' SQL") -> DuckDBCredentials:
    """What dbt's last command connects with.

    Raises: ProjectError unless it is a DuckDB database that is there.
    """
    from dbt.adapters.factory import FACTORY

    from warehouse.places import in_project

    (adapter,) = FACTORY.adapters.values()
    credentials = adapter.config.credentials
    if adapter.type() != "duckdb":
        raise ProjectError(
            f"The target is {adapter.config.target_name}; {what} on DuckDB only. Build the log, or some of its files,"
            " with dbt build --target duckdb, and give --target duckdb here too."
        )
    path = credentials.path
    if not credentials.is_motherduck and (":" in path or not Path(in_project(path)).exists()):
        raise ProjectError(
            f"There is no database at {in_project(path)}: nothing is built yet. Run {place.build_command()}"
        )
    return credentials
