"""ladder."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from storage.options import LOCAL, READ
from storage.uris import command_line
from trainer.base.errors import TrainerError, require_extra
from trainer.cli.common import Json, Manifest, Mart, Vectors, console, out


def ladder(
    dataset: Annotated[
        str | None, typer.Option(help="Its marts are `data/marts/<dataset>`.", show_default=False)
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each rung, with the seeds 1 to N.")] = 1,
    stages: Annotated[
        list[str] | None,
        typer.Option(help="A stage's name or file, once a rung; a comma separates several. Default: all, in order."),
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(help="How rows were split: time, cold_item, cold_user. Another than time has marts of its own."),
    ] = "time",
    marts: Annotated[Path | None, typer.Option(help="Marts that lie elsewhere.", show_default=False, **READ)] = None,
    mart: Mart = None,
    manifest: Manifest = None,
    output: Annotated[Path | None, typer.Option(help="Default: `runs/ladder/<the marts' folder>`.", **LOCAL)] = None,
    vectors: Vectors = None,
    placebo: Annotated[
        bool | None,
        typer.Option(
            "--placebo/--no-placebo",
            help="Also each text rung with its texts shuffled, which its claim is measured against. Default: where any "
            "rung reads texts.",
            show_default=False,
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time, a process each.")] = 1,
    threads: Annotated[int | None, typer.Option(min=1, help="Of all jobs together; default: the stage's own.")] = None,
    resamples: Annotated[int, typer.Option(min=20, help="Bootstrap samples of users, items and seeds.")] = 2000,
    truth: Annotated[
        Path | None,
        typer.Option(
            help="True probabilities by event_id; default: `data/raw/<dataset>/truth/true_probabilities.parquet`, "
            "or its parts.",
            **LOCAL,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Fit every rung over seeds and say which step earns its place.

    Writes ladder.lock, which declares the comparisons, before anything is fitted; then ladder.json, ladder.md and
    ladder.svg beside the runs. Runs that are finished with the same stage, rows and code are kept, so a ladder that was
    killed goes on where it stopped. A difference whose interval holds 0 is *not shown*. On a simulated log a rung above
    the Bayes AUC by more than chance ends in exit code 1.

    Example: `trainer ladder --dataset movielens --seeds 3`
    """
    require_extra("report", "`trainer ladder`")
    from trainer.ladder.rungs import read_rungs
    from trainer.ladder.running import make_runs
    from trainer.ladder.table import build_table
    from trainer.ladder.truth import truth_of
    from trainer.report.ladder_table import family_lines, head_and_rows, write_pages
    from trainer.training.placebo import reads_texts

    if marts is not None and dataset is None:
        folder = marts
    elif dataset is not None and marts is None:
        folder = Path("data/marts") / (dataset if protocol == "time" else f"{dataset}-{protocol}")
    else:
        raise TrainerError("Say which log: --dataset movielens, or --marts with a folder (one of the two).")
    place = output or Path("runs/ladder") / folder.resolve().name
    chosen = [s for given in stages or [] for s in given.split(",")] or None
    if placebo is None:
        placebo = any(reads_texts(rung.stage) for rung in read_rungs(chosen))
    rungs = read_rungs(chosen, placebo=placebo)
    numbers = list(range(1, seeds + 1))
    made = make_runs(
        rungs,
        numbers,
        folder,
        place,
        mart=mart,
        manifest=manifest,
        jobs=jobs,
        threads=threads,
        vectors=vectors,
        command=command_line(["trainer", *sys.argv[1:]]),
    )
    whole = [rung for rung in rungs if rung.name not in made.failed]
    if not whole:
        raise TrainerError("No rung was fitted. " + "; ".join(f"{k}, {v}" for k, v in made.failed.items()))
    found = build_table(
        whole,
        numbers,
        place,
        resamples=resamples,
        min_class=min(r.stage.evaluation.min_class for r in whole),
        truth=truth_of(made.contract.dataset, truth),
    )
    found = {
        "dataset": made.contract.dataset,
        "marts": str(folder),
        "mart": made.contract.folder.name,
        "content_hash": made.content_hash,
        "failed": made.failed,
    } | found
    write_pages(place, found)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        _show(found, *head_and_rows(found))
        for line in family_lines(found):
            out.print(line, markup=False)
    console.print(f"Wrote {place / 'ladder.md'}, with ladder.json and ladder.svg beside it")
    console.print(f"Next: trainer report --runs {place} --output {place / 'report.html'}", soft_wrap=True, markup=False)
    for name in found["above_bayes"]:
        console.print(f"{name} is above the Bayes AUC by more than chance: look for a leak.", style="bold red")
    if made.failed:
        raise TrainerError("Not all rungs were fitted. " + "; ".join(f"{k}, {v}" for k, v in made.failed.items()))
    if found["above_bayes"]:
        raise typer.Exit(1)


def _show(found: dict[str, Any], head: list[str], rows: list[list[str]]) -> None:
    """Two tables, since one would be folded on most terminals: what is claimed, then the other metrics."""
    from trainer.report.ladder_table import halves

    seeds = f"{len(found['seeds'])} seed{'s' if len(found['seeds']) > 1 else ''}"
    title = f"The ladder on {found['dataset']} {found['mart']}, {seeds}"
    claims, others = halves(len(head))
    for columns in (claims, others):
        table = Table(*(head[k] for k in columns), title=title if columns is claims else None, title_justify="left")
        for row in rows:
            table.add_row(*(row[k] for k in columns))
        out.print(table)
