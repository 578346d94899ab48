"""compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from storage.options import READ
from storage.places import shown
from trainer.cli.common import Json, no_value, out

TITLES = {
    "auc": "AUC",
    "macro_auc": "macro AUC",
    "gauc": "GAUC",
    "pr_auc": "PR-AUC",
    "log_loss": "log loss",
    "ne": "NE",
    "ece": "ECE",
}


def compare(
    run1: Annotated[Path, typer.Argument(help="A finished run.", show_default=False, **READ)],
    run2: Annotated[Path, typer.Argument(help="Another, held to the same rows.", show_default=False, **READ)],
    split: Annotated[Literal["val", "test"], typer.Option(help="Which held-out rows.")] = "test",
    resamples: Annotated[int, typer.Option(min=20, help="Bootstrap samples of users and items.")] = 200,
    by_part: Annotated[bool, typer.Option("--parts/--no-parts", help="Also by scene and by level.")] = True,
    as_json: Json = False,
) -> None:
    """Say what the second run does better or worse than the first, with 95% intervals.

    Differences are RUN2 minus RUN1 on the same rows, by a paired bootstrap that draws users and items. Where the
    interval holds 0, the difference is *not shown*.

    Example: `trainer compare runs/00_gbdt runs/01_dnn`
    """
    from trainer.evaluation.compare import compare_runs
    from trainer.run.integrity import check_finished

    for run in (run1, run2):
        check_finished(run)
    found = compare_runs(run1, run2, split=split, resamples=resamples, by_part=by_part)
    if as_json:
        typer.echo(json.dumps(found))
        return
    title = f"{split}: {shown(run2)} minus {shown(run1)}, 95% by {found['users']:,} users and {found['items']:,} items"
    table = Table("rows", "metric", "run 1", "run 2", "difference", "95%", "", title=title, title_justify="left")
    for part in found["parts"]:
        _add_part(table, part)
    out.print(table)


def _add_part(table: Table, part: dict[str, Any]) -> None:
    name = "all rows" if part["kind"] == "all" else f"{part['kind']} {part['name']}"
    label = f"{name} ({part['n']:,})"
    if part["too_small"]:
        table.add_row(label, f"too small: {part['positives']:,} positives", "", "", "", "", "", end_section=True)
        return
    for k, metric in enumerate(m for m in TITLES if m in part["metrics"]):
        one = part["metrics"][metric]
        low_high = "" if one["low"] is None else f"{one['low']:+.4f} – {one['high']:+.4f}"
        table.add_row(
            label if not k else "",
            TITLES[metric] + (f" ({one['scenes']} of {one['of_scenes']} scenes)" if "of_scenes" in one else ""),
            no_value(one["a"]),
            no_value(one["b"]),
            no_value(one["difference"], "+.4f"),
            low_high,
            one["verdict"],
            end_section=k == len(part["metrics"]) - 1,
        )
