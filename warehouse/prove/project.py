"""The user's dbt project, compiled once: the SQL of the models between stg_events and the marts, as of a full build.

It writes to a temporary folder, so the project's own target/ stays as it is.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.project import Place, credentials_of, run_dbt

from .models import Models, nodes_to_compile

if TYPE_CHECKING:
    from dbt.adapters.duckdb.credentials import DuckDBCredentials


@dataclass(frozen=True)
class Compiled:
    """The models with their SQL, and the credentials that dbt made of the profile."""

    models: Models
    credentials: DuckDBCredentials


def compiled(place: Place) -> Compiled:
    """Compile the project as it stands.

    Raises: ProjectError if dbt can't, if nothing is built, or if the target isn't DuckDB.
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
