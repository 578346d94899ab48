"""The command `warehouse prove`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from storage import atomic, installed
from warehouse.project import Place, Profile, ProfilesDir, ProjectDir, ProjectError, Target, Vars, refused


def main(
    project_dir: ProjectDir = None,
    profiles_dir: ProfilesDir = None,
    profile: Profile = None,
    target: Target = None,
    vars_: Vars = None,
    seed: Annotated[int, typer.Option(help="Another seed draws other events.", min=0)] = 7,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write everything to this file as JSON; - for standard output.")
    ] = None,
) -> None:
    """Prove on a sample of your own log that no feature knows too much: with less to see, none may have another value.

    stg_events must be built; the features needn't be. Exit code 1: a feature moved; 2: no proof was possible.

    Example: warehouse prove --vars '{dataset: movielens}'
    """
    started = time.monotonic()
    to_stdout = str(json_file) == "-"
    out = Console(highlight=False, stderr=to_stdout)
    if not out.is_terminal:
        out.width = 160
    if problem := installed.lacking("warehouse", "warehouse prove"):
        raise refused(problem)
    from . import output
    from .project import compiled
    from .proof import prove

    place = Place(project_dir, profiles_dir, profile, target, vars_)
    try:
        with Console(stderr=True).status("compiling the project with dbt") as status:
            project = compiled(place)
            proof = prove(project, seed, lambda step: status.update(f"rebuilding: {step}"))
    except ProjectError as error:
        raise refused(str(error)) from error
    if to_stdout:
        typer.echo(json.dumps(output.document(proof), default=str))
    elif json_file:
        try:
            atomic.text(json_file, json.dumps(output.document(proof), default=str, indent=2) + "\n")
        except OSError as error:
            raise refused(f"--json {json_file} can't be written: {error.strerror}.") from error
    for of_mart in proof.marts:
        out.print(output.table(of_mart))
    out.print(output.described(proof), markup=False)
    for line in output.conclusions(proof):
        out.print(line, markup=False)
    out.print(f"{time.monotonic() - started:.0f} s", markup=False)
    sys.stdout.flush()
    if not proof.holds:
        raise typer.Exit(1)
