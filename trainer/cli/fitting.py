"""fit, evaluate, report."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from storage.options import READ, WRITE
from storage.places import local, shown
from storage.uris import command_line
from trainer.base.errors import TrainerError
from trainer.base.fetching import fetch
from trainer.cli.common import Bayes, Json, Manifest, Mart, Marts, Vectors, console, show
from trainer.config import load_stage


class Tracker(StrEnum):
    mlflow = "mlflow"
    tensorboard = "tensorboard"


def fit(
    stage: Annotated[str, typer.Option(help="A stage file, or the name of one of the trainer's own, such as 01_dnn.")],
    marts: Marts,
    run: Annotated[Path, typer.Option(help="The run directory to write.", **WRITE)],
    mart: Mart = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the stage's own.")] = None,
    manifest: Manifest = None,
    bayes: Bayes = None,
    vectors: Vectors = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Fit a temperature a scene on validation (`calibration: temperature`).")
    ] = False,
    placebo: Annotated[
        Literal["texts"] | None, typer.Option(help="Shuffle what the stage reads; its gain must vanish.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from a killed fit's last checkpoint.")] = False,
    amp: Annotated[bool, typer.Option("--amp", help="Train in bfloat16 where that is safe.")] = False,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Rows per update instead of the stage's; k times the rows, root k times the rates."),
    ] = None,
    columns_on: Annotated[
        Literal["auto", "device", "host"],
        typer.Option(help="Where the columns lie while a GPU trains: auto, on the device if they fit."),
    ] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace a finished run.")] = False,
    track: Annotated[
        list[Tracker] | None,
        typer.Option(help="Tell a tracker of the finished run; give it once a tracker."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a stage on a mart and write its run directory.

    Example: `trainer fit --stage 01_dnn --marts data/marts/movielens --run runs/01_dnn --seed 1`
    """
    from trainer.inputs.vectors import DEFAULT_VECTORS  # torch takes seconds to import; --help doesn't need it
    from trainer.run.directory import fit_run
    from trainer.tracking import check_trackers
    from trainer.training.placebo import as_placebo

    chosen, trackers = load_stage(stage, seed), list(dict.fromkeys(track or ()))
    check_trackers([tracker.value for tracker in trackers])
    if calibrate:
        chosen = chosen.model_copy(update={"calibration": "temperature"})
    if placebo:
        chosen = as_placebo(chosen)
    results = fit_run(
        chosen,
        marts,
        run,
        mart=mart,
        manifest=manifest,
        force=force,
        bayes=bayes,
        resume=resume,
        amp=amp,
        batch_size=batch_size,
        columns_on=columns_on,
        command=command_line(["trainer", *sys.argv[1:]]),
        vectors=vectors or DEFAULT_VECTORS,
    )
    if results is None:
        return  # one of torchrun's processes that don't write
    show(results, as_json)
    run = local(shown(run))  # of one that was uploaded, what is read of it from here on
    fetch(run)
    report = run / "report.html"
    console.print(f"Wrote {run}" + (f"; its report is {report}" if report.exists() else ""))
    if [tracker for tracker in trackers if not _tracked(run, tracker)]:
        raise typer.Exit(1)


def _tracked(run: Path, tracker: Tracker) -> bool:
    """Whether the tracker took the run. It may fail in any way: the run is finished, and stays so."""
    from trainer.tracking import track

    try:
        console.print(track(run, tracker.value), markup=False, soft_wrap=True)
    except Exception as error:
        why = str(error) if isinstance(error, TrainerError) else f"{type(error).__name__}: {error}."
        text = f"--track {tracker.value} failed: {' '.join(why.split())} The run is finished and whole."
        console.print(text, style="red", markup=False, soft_wrap=True)
        return False
    return True


def evaluate(
    run: Annotated[Path, typer.Option(help="A finished run.", **READ)],
    marts: Annotated[
        Path | None, typer.Option(help="Marts to evaluate on; default: those it was trained on.", **READ)
    ] = None,
    mart: Mart = None,
    manifest: Manifest = None,
    vectors: Vectors = None,
    as_json: Json = False,
) -> None:
    """Recompute a run's metrics from its saved weights.

    On the rows it was trained with they must equal metrics.json; if they don't, the exit code is 1.

    Example: `trainer evaluate --run runs/01_dnn`
    """
    from trainer.run.directory import evaluate_run

    results, equal = evaluate_run(run, marts, mart, manifest, vectors)
    show(results, as_json)
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


def report(
    runs: Annotated[
        list[Path],
        typer.Option(help="A finished run, or a ladder's folder for all of its runs; give it once per run.", **READ),
    ],
    output: Annotated[Path, typer.Option(help="The HTML file to write.", **WRITE)],
    bayes: Bayes = None,
    ladder: Annotated[
        Path | None,
        typer.Option(help="A ladder.json to show; default: one beside or above the runs, of the same rows.", **READ),
    ] = None,
    skew: Annotated[
        Path | None,
        typer.Option(
            help="What `trainer replay` with --served wrote; default: skew.json in the runs' folders.", **READ
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write one HTML file that compares runs; it opens offline. Its first answer and the next step are printed, too.

    Example: `trainer report --runs runs/00_gbdt --runs runs/01_dnn --output runs/report.html`
    """
    from storage.remote import upload
    from trainer.report import write_report
    from trainer.report.related import runs_of
    from trainer.run.integrity import check_finished

    runs = [run for given in runs for run in runs_of(given)]
    for run in runs:
        check_finished(run)
    answers = {one.key: one.sentences for one in write_report(runs, output, bayes, ladder=ladder, skew=skew)}
    upload(output)
    if as_json:
        typer.echo(json.dumps({"output": shown(output), "runs": [shown(run) for run in runs], "answers": answers}))
    for sentence in (*answers.get("worth", ()), *answers.get("instant", ())):
        console.print(sentence, soft_wrap=True, markup=False)
    console.print(f"Wrote {output}")
    for sentence in answers.get("next", ())[:1]:
        console.print(f"Next: {sentence}", soft_wrap=True, markup=False)
