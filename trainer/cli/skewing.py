"""replay --served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from storage import atomic
from storage.listing import summary
from trainer.base.progress import ticking
from trainer.cli.common import console, no_value, out

Served = Annotated[
    Path | None,
    typer.Option(help="What a service logged, by day: compare it with the mart. No --state then.", show_default=False),
]
Allow = Annotated[
    float, typer.Option(min=0, max=1, help="With --served: the share of a feature's rows that may differ, from 0 to 1.")
]
SkewOutput = Annotated[
    Path | None,
    typer.Option(
        "--output",
        help="With --served: a JSON file for `trainer report`, which finds it as skew.json in a run's folder.",
        show_default=False,
    ),
]


def compare(
    marts: Path,
    served: Path,
    allow: float,
    output: Path | None,
    mart: str | None,
    manifest: Path | None,
    as_json: bool,
) -> None:
    """Compare a service's log with the mart; exit code 1 where more differs than is allowed."""
    from trainer.contract.read import read_contract
    from trainer.serving.online.served_files import ServedFiles
    from trainer.serving.online.skew import compare_served

    log = ServedFiles.open(served)
    for line in summary(log.left_out):
        console.print(f"Not read: {line}.", style="yellow", markup=False, soft_wrap=True)
    with ticking("Comparing", log.n_rows) as tick:
        found = compare_served(log, read_contract(marts, mart, manifest), tick)
    report = found.report(allow)
    if output is not None:
        atomic.text(output, json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    if as_json:
        typer.echo(json.dumps(report, allow_nan=False))
    else:
        _show(report)
    if output is not None:
        console.print(f"Wrote {output}", soft_wrap=True, markup=False)
    if not report["passed"]:
        raise typer.Exit(1)


def _show(report: dict[str, Any]) -> None:
    table = Table(
        "feature", "rows", "differ", "rate", "NULL on one side", "SMAPE", "largest difference", "served, stored"
    )
    for one in report["features"]:
        if one["mismatches"]:
            event, ours, theirs = one["examples"][0]
            table.add_row(
                one["name"],
                *(f"{one[key]:,}" for key in ("rows", "mismatches")),
                f"{one['mismatch_rate']:.2%}",
                f"{one['null_on_one_side']:,}",
                *(no_value(one[key], ".3g") for key in ("smape", "largest")),
                f"{event}: {ours}, {theirs}",
            )
    if table.rows:
        out.print(table)
    for sentence in report["sentences"]:
        out.print(sentence, markup=False)
