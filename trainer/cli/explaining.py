"""importance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from storage.installed import lacking
from storage.options import LOCAL, READ
from trainer.cli.common import Json, Mart, Vectors, console, out


def importance(
    run: Annotated[Path, typer.Option(help="A finished run.", **LOCAL)],
    rows: Annotated[
        int, typer.Option(min=100, help="Validation rows to measure on; a random sample where there are more.")
    ] = 20_000,
    repeats: Annotated[int, typer.Option(min=1, help="Parts of the rows, each permuted by itself.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Of the sample and the permutations.")] = 0,
    marts: Annotated[
        Path | None, typer.Option(help="Marts to measure on; default: those it was trained on.", **READ)
    ] = None,
    mart: Mart = None,
    vectors: Vectors = None,
    top: Annotated[int, typer.Option(min=1, help="Inputs to print; the file holds all.")] = 20,
    as_json: Json = False,
) -> None:
    """Measure what validation AUC loses when an input, or a group of inputs, is shuffled among rows.

    Writes importance.csv into the run and, where the extra `report` is installed, draws it in the run's report.

    Example: `trainer importance --run runs/01_dnn`
    """
    from trainer.run.importance import run_importance

    found = run_importance(run, rows=rows, repeats=repeats, seed=seed, marts=marts, mart=mart, vectors=vectors)
    missing = lacking("report", "A report")
    if not missing:
        from trainer.report import write_report

        write_report([run], run / "report.html")
    if as_json:
        typer.echo(json.dumps(found))
        return
    title = f"{run}: AUC {found[0]['auc']:.4f} on {found[0]['rows']:,} validation rows"
    for what, word in (("group", "group"), ("feature", "input")):
        table = Table(word, "drop in AUC", "sd", title=title if what == "group" else None, title_justify="left")
        for row in [row for row in found if row["what"] == what][:top]:
            table.add_row(row["name"], f"{row['drop']:+.4f}", f"{row['sd']:.4f}")
        out.print(table)
    console.print(f"Wrote {run / 'importance.csv'}" + ("" if missing else f" and {run / 'report.html'}"))
    if missing:
        console.print(missing, style="yellow", markup=False, soft_wrap=True)
