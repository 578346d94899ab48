"""What the commands share: the two consoles, the options that several have, tables of metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from storage.options import READ
from trainer.base.progress import Telling, console

__all__ = ["Bayes", "Json", "Manifest", "Mart", "Marts", "Vectors", "console", "no_value", "out", "show"]

out = Telling(highlight=False)
if not out.is_terminal:
    out.width = 140  # a log file has room; rich would fold it to 80

Marts = Annotated[
    Path, typer.Option(help="A dataset's marts, such as data/marts/movielens.", show_default=False, **READ)
]
Mart = Annotated[str | None, typer.Option(help="The mart's folder; default: the highest version of training_examples.")]
Manifest = Annotated[
    Path | None, typer.Option(help="dbt's manifest; default: target/manifest.json where there is one.", **READ)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Bayes = Annotated[
    Path | None,
    typer.Option(
        help="The true model's AUC; default: `data/raw/<dataset>/truth/bayes.json` where there is one.", **READ
    ),
]
Vectors = Annotated[
    Path | None, typer.Option(help="The folder of the vector stores; default: data/vectors, or the run's own.", **READ)
]


def show(results: dict[str, Any], as_json: bool) -> None:
    """Metrics of the held-out splits, for eyes or for a program."""
    if as_json:
        typer.echo(json.dumps(results))
        return
    title = f"{results['stage']} on {results['dataset']} {results['mart']}, seed {results['seed']}"
    table = Table(
        "split", "rows", "AUC", "95% by user", "GAUC", "log loss", "NE", "ECE", title=title, title_justify="left"
    )
    for name, split in results["splits"].items():
        for label, one in [(name, split), *((f"  {scene}", part) for scene, part in split["scenes"].items())]:
            low_high = "" if one["auc_low"] is None else f"{one['auc_low']:.4f} – {one['auc_high']:.4f}"
            numbers = ("–" if one[key] is None else f"{one[key]:.4f}" for key in ("gauc", "log_loss", "ne", "ece"))
            table.add_row(
                label, f"{one['n']:,}", "–" if one["auc"] is None else f"{one['auc']:.4f}", low_high, *numbers
            )
    out.print(table)
    for name, split in results["splits"].items():
        out.print(f"Macro AUC of {name}: {no_value(split['macro_auc'])} ({macro_scenes(split)}).")
        for label, one in [(name, split), *((f"{name}, scene {s}", part) for s, part in split["scenes"].items())]:
            if one["auc"] is None:
                out.print(f"AUC of {label}: undefined, {one['undefined']['auc']}.")


def macro_scenes(split: dict[str, Any]) -> str:
    """How many scenes a macro AUC is of: `2 of 3 scenes`."""
    return f"{split['macro_auc_scenes']} of {len(split['scenes'])} scenes"


def no_value(value: float | None, form: str = ".4f") -> str:
    """A number in the given form, a dash for none."""
    return "–" if value is None else format(value, form)
