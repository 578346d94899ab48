"""`warehouse docs`: dbt's documentation in one HTML file, each model's page with a row of the user's own data.

dbt writes the pages from the manifest's descriptions. The rows are added to these on their way into the file, so
neither the project nor its manifest changes.
"""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from storage import atomic, installed
from warehouse.project import (
    Place,
    Profile,
    ProfilesDir,
    ProjectDir,
    ProjectError,
    Target,
    Vars,
    credentials_of,
    opened_database,
    refused,
    run_dbt,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

AMONG = 10_000  # the row with the fewest missing values of so many
LONGEST = 120  # characters of a value


def main(
    project_dir: ProjectDir = None,
    profiles_dir: ProfilesDir = None,
    profile: Profile = None,
    target: Target = None,
    vars_: Vars = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the file's path as JSON.")] = False,
) -> None:
    """Write the models' documentation, with their lineage and an example row of each, to target/static_index.html.

    The models must be built: the rows are read from the database.

    Example: warehouse docs --vars '{dataset: movielens}'
    """
    if problem := installed.lacking("warehouse", "warehouse docs"):
        raise refused(problem)
    try:
        page = write_page(Place(project_dir, profiles_dir, profile, target, vars_))
    except ProjectError as error:
        raise refused(str(error)) from error
    typer.echo(json.dumps({"output": str(page)}) if as_json else f"Wrote {page}")


def write_page(place: Place) -> Path:
    """The file written. Raises: ProjectError if dbt can't make the pages, or nothing is built."""
    from dbt.task.docs import DOCS_INDEX_FILE_PATH

    run_dbt(["docs", "generate", *place.options()])
    folder = (place.project_dir or Path()) / "target"
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    credentials_of(place, "warehouse docs reads its example rows")
    with opened_database() as connection:
        for node in manifest["nodes"].values():
            if node["resource_type"] == "model" and (row := example_row(connection, node["relation_name"])):
                node["description"] += as_markdown(row)
    page = Path(DOCS_INDEX_FILE_PATH).read_text(encoding="utf-8")
    page = page.replace('"MANIFEST.JSON INLINE DATA"', json.dumps(manifest))
    page = page.replace('"CATALOG.JSON INLINE DATA"', (folder / "catalog.json").read_text(encoding="utf-8"))
    atomic.text(folder / "static_index.html", page)
    return folder / "static_index.html"


def example_row(connection: DuckDBPyConnection, relation: str | None) -> dict[str, Any]:
    """A row of a table or view by column, one with few missing values; empty if there is none or it isn't built."""
    import duckdb

    from warehouse.reading.text import quoted

    try:
        columns = [name for name, *_ in connection.execute(f"describe {relation}").fetchall()]
    except duckdb.CatalogException:
        return {}
    n_missing = " + ".join(f"({quoted(name)} is null)::integer" for name in columns)
    found = connection.execute(f"from (from {relation} limit {AMONG}) order by {n_missing} limit 1").fetchone()
    return dict(zip(columns, found, strict=True)) if found else {}


def as_markdown(row: dict[str, Any]) -> str:
    """The row as a table with a line per column, the end of what dbt's page says of a model."""

    def cell(value: object) -> str:
        text = "NULL" if value is None else str(value)
        text = text if len(text) <= LONGEST else text[: LONGEST - 2] + " …"
        return html.escape(" ".join(text.split())).replace("|", "&#124;")

    lines = [f"| `{name}` | {cell(value)} |" for name, value in row.items()]
    return "\n\n**An example row of this database**\n\n| column | value |\n|---|---|\n" + "\n".join(lines)
