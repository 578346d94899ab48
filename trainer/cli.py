"""The `trainer` command. Nothing imports this file."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from trainer import __version__
from trainer.config import load_stage
from trainer.errors import TrainerError
from trainer.progress import console

# Before OpenMP is loaded: its threads wait by spinning, which on a shared machine doubles the CPU time of the trees
# and, once there are more threads than idle cores, stretched 20 seconds to minutes. Sleeping costs a quiet one nothing.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

out = Console(highlight=False)
if not out.is_terminal:
    out.width = 140  # a log file has room; rich would fold it to 80
app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="markdown", pretty_exceptions_enable=False, add_completion=False
)

Marts = Annotated[Path, typer.Option(help="A dataset's marts, such as data/marts/movielens.", show_default=False)]
Mart = Annotated[str | None, typer.Option(help="The mart's folder; default: the highest version of training_examples.")]
Manifest = Annotated[
    Path | None, typer.Option(help="dbt's manifest; default: target/manifest.json where there is one.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Bayes = Annotated[
    Path | None,
    typer.Option(help="The true model's AUC; default: data/raw/<dataset>/truth/bayes.json where there is one."),
]
Vectors = Annotated[
    Path | None, typer.Option(help="The folder of the vector stores; default: data/vectors, or the run's own.")
]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"trainer {__version__}")
        raise typer.Exit


@app.callback()
def _main(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False) -> None:
    """From the training mart to a run directory.

    Example: `trainer fit --stage 01_dnn --marts data/marts/movielens --run runs/01_dnn`
    """


@app.command()
def fit(
    stage: Annotated[str, typer.Option(help="A stage file, or the name of one of the trainer's own, such as 01_dnn.")],
    marts: Marts,
    run: Annotated[Path, typer.Option(help="The run directory to write.")],
    mart: Mart = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the stage's own.")] = None,
    manifest: Manifest = None,
    bayes: Bayes = None,
    vectors: Vectors = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from a killed fit's last checkpoint.")] = False,
    amp: Annotated[bool, typer.Option("--amp", help="Train in bfloat16 where that is safe.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a finished run.")] = False,
    as_json: Json = False,
) -> None:
    """Train a stage on a mart and write its run directory.

    Example: `trainer fit --stage 01_dnn --marts data/marts/movielens --run runs/01_dnn --seed 1`
    """
    from trainer.run import fit_run  # torch takes seconds to import; --help doesn't need it

    results = fit_run(
        load_stage(stage, seed), marts, run, mart=mart, manifest=manifest, force=force, bayes=bayes, resume=resume,
        amp=amp, command=shlex.join(["trainer", *sys.argv[1:]]), **({"vectors": vectors} if vectors else {}),
    )  # fmt: skip
    if results is None:
        return  # one of torchrun's processes that don't write
    _show(results, as_json)
    console.print(f"Wrote {run}; its report is {run / 'report.html'}")


@app.command()
def evaluate(
    run: Annotated[Path, typer.Option(help="A finished run.")],
    marts: Annotated[Path | None, typer.Option(help="Marts to evaluate on; default: those it was trained on.")] = None,
    mart: Mart = None,
    manifest: Manifest = None,
    vectors: Vectors = None,
    as_json: Json = False,
) -> None:
    """Recompute a run's metrics from its saved weights.

    On the rows it was trained with they must equal metrics.json; if they don't, the exit code is 1.

    Example: `trainer evaluate --run runs/01_dnn`
    """
    from trainer.run import evaluate_run

    results, equal = evaluate_run(run, marts, mart, manifest, vectors)
    _show(results, as_json)
    if equal is None:
        console.print(
            "The mart holds other rows than the run was trained with; metrics.json is not compared.", style="yellow"
        )
    elif equal:
        console.print(f"Equal to {run / 'metrics.json'}.")
    else:
        console.print(
            f"These differ from {run / 'metrics.json'}: the weights, the file or the versions have changed.",
            style="red",
        )
        raise typer.Exit(1)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Option(help="A finished run; give it once a run.")],
    output: Annotated[Path, typer.Option(help="The HTML file to write.")],
    bayes: Bayes = None,
) -> None:
    """Write one HTML file that compares runs; it opens offline.

    Example: `trainer report --runs runs/00_gbdt --runs runs/01_dnn --output runs/report.html`
    """
    from trainer.report import write_report
    from trainer.run import check_finished

    for run in runs:
        check_finished(run)
    write_report(runs, output, bayes)
    console.print(f"Wrote {output}")


def _show(results: dict[str, Any], as_json: bool) -> None:
    """Metrics of the held-out splits, for eyes or for a program."""
    if as_json:
        typer.echo(json.dumps(results, ensure_ascii=False))
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


def main() -> None:
    """The console script: bad input ends in a message and exit code 2."""
    try:
        app()
    except TrainerError as error:
        console.print(f"Error: {error}", style="red", markup=False, soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
