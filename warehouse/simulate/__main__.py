"""warehouse simulate: an AntM2C-like log whose true click probabilities are known."""

import json
import os
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from storage.terminal import print_anything
from warehouse.project import refused

from .bayes import bayes_report, markdown
from .ceiling import ceiling_report
from .ceiling import markdown as ceiling_table
from .events import rows_of_days
from .output import simulate
from .parameters import FULL_EVENTS, N_DAYS
from .parts import missing_parts, simulate_all_parts, simulate_part
from .request import Request, SimulationError
from .truth import read_truth

# A world's sequences fill an Arrow string column (2 GB) near 700 million events.
MIN_EVENTS, MAX_EVENTS, MAX_PARTS = 1_000, 500_000_000, 2_000
DEFAULT_OUT = Path("data/raw/simulated")
WrittenLog = Annotated[Path, typer.Option(help="Folder of a simulated log.")]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


class Format(StrEnum):
    csv = "csv"
    parquet = "parquet"


class RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f} rows/s" if task.speed else "- rows/s")


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    events: Annotated[int, typer.Option(help=f"Impressions to write; {FULL_EVENTS} is the real log's size.")] = 200_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 7,
    out: Annotated[Path, typer.Option(help="Folder of the log; it appears when it is complete.")] = DEFAULT_OUT,
    form: Annotated[Format, typer.Option("--format", help="File format of the log.")] = Format.csv,
    parts: Annotated[int, typer.Option(help="Files to cut the log into.")] = 3,
    part: Annotated[
        str, typer.Option(help="Make only this part, 1 to --parts, on any machine; all: each by a process of its own.")
    ] = "",
    threads: Annotated[
        int,
        typer.Option(
            help="Threads (with --part all, processes); 0 is one per core, of threads up to 4. "
            "The bytes don't depend on it."
        ),
    ] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Replace another simulated log at --out; with --part, the same part.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as one line of JSON.")] = False,
) -> None:
    """Write a log in AntM2C's file format from a stated model, together with every row's true click probability.

    Example: warehouse simulate --events 200000 --seed 7 --out data/raw/simulated

    Then: dbt build --vars '{dataset: simulated}'

    In parts, each on any machine: warehouse simulate --events 100000000 --parts 8 --part 7 --out data/raw/simulated
    """
    if context.invoked_subcommand:
        return
    with _errors():
        _check("--events", events, MIN_EVENTS, MAX_EVENTS, f"enough for all {N_DAYS} days")
        most = min(MAX_PARTS, int(rows_of_days(events).min()))
        _check("--parts", parts, 1, most, f"each with rows of every day of the {events} events")
        _check("--seed", seed, 0, 2**63 - 1, "a number from 0")
        _check("--threads", threads, 0, 256, "0 for one per core")
        request = Request(events, seed, parts, form.value)
        if part:
            _write_parts(request, part, out, threads, force, as_json)
        else:
            _write_whole(request, out, threads, force, as_json)


def _write_whole(request: Request, out: Path, threads: int, force: bool, as_json: bool) -> None:
    started = time.monotonic()
    with _progress() as bar:
        task = bar.add_task("simulating", total=request.events)
        written = simulate(
            request, out, threads or min(4, _cores()), force, on_rows=lambda rows: bar.advance(task, rows)
        )
    seconds = time.monotonic() - started
    overall = json.loads((out / "truth" / "bayes.json").read_text())["splits"]["test"]["overall"]
    if as_json:
        outcome = {"out": str(out), "written": written, "events": request.events, "seconds": round(seconds, 1)}
        typer.echo(json.dumps(outcome | {"bayes_auc_test": overall["auc"]}))
        return
    if written:
        files = f"{request.parts} {request.format} file(s)"
        typer.echo(f"wrote {request.events:,} events in {files} to {out} in {seconds:.1f} s")
    else:
        typer.echo(f"{out} already holds this log ({request.events:,} events, seed {request.seed}): nothing to do")
    auc = "too few rows to tell" if overall["auc"] is None else f"{overall['auc']:.4f}"
    typer.echo(f"Bayes AUC on the test split: {auc}   (all of it: warehouse simulate bayes --out {out})")


def _write_parts(request: Request, part: str, out: Path, threads: int, force: bool, as_json: bool) -> None:
    started = time.monotonic()
    parts = range(1, request.parts + 1)
    if part != "all" and not (part.isascii() and part.isdigit() and int(part) in parts):
        raise SimulationError(f"--part: expected 1 to {request.parts} (--parts) or all, found {part}")
    written = []
    with _progress() as bar:
        if part == "all":
            task = bar.add_task("parts", total=request.parts)
            for number, wrote in simulate_all_parts(request, out, threads or _cores(), force):
                written += [number] if wrote else []
                bar.advance(task)
        else:
            task = bar.add_task(f"part {part}", total=request.events // request.parts)
            tick = lambda rows: bar.advance(task, rows)  # noqa: E731 - as in _write_whole
            wrote = simulate_part(request, int(part), out, threads or min(4, _cores()), force, on_rows=tick)
            written += [int(part)] if wrote else []
    seconds, missing = time.monotonic() - started, missing_parts(request, out)
    if as_json:
        outcome = {"out": str(out), "written": sorted(written), "events": request.events, "parts": request.parts}
        typer.echo(json.dumps(outcome | {"missing": missing, "seconds": round(seconds, 1)}))
        return
    what = f"{'all parts' if part == 'all' else f'part {part}'} of {request.parts}"
    if written:
        typer.echo(f"wrote {what} of {request.events:,} events to {out} in {seconds:.1f} s")
    else:
        typer.echo(f"{out} already holds {what} ({request.events:,} events, seed {request.seed}): nothing to do")
    if missing:
        typer.echo(f"{len(missing)} of {request.parts} parts are missing there")
    else:
        typer.echo(f"The log is complete. Its Bayes AUC: warehouse simulate bayes --out {out}")


@app.command()
def bayes(
    out: WrittenLog = DEFAULT_OUT,
    as_json: Annotated[bool, typer.Option("--json", help="The whole report as JSON.")] = False,
) -> None:
    """The best AUC that any model can expect: overall, by scene, by level and by cold-start cell, from the truth file.

    Example: warehouse simulate bayes --out data/raw/simulated
    """
    with _errors(), _progress() as bar:
        task = bar.add_task("reading the truth", total=None)
        report = bayes_report(read_truth(out, lambda rows, total: bar.update(task, advance=rows, total=total)))
    typer.echo(json.dumps(report) if as_json else markdown(report))


@app.command()
def ceiling(
    out: WrittenLog = DEFAULT_OUT,
    as_json: Annotated[bool, typer.Option("--json", help="The report of all splits as JSON.")] = False,
) -> None:
    """How much of the Bayes AUC comes from effects that no row reveals: the AUC without them. Draws the log again.

    Example: warehouse simulate ceiling --out data/raw/simulated
    """
    with _errors(), _progress() as bar:
        task = bar.add_task("drawing again", total=None)
        report = ceiling_report(out, lambda rows: bar.advance(task, rows))
    typer.echo(json.dumps(report) if as_json else ceiling_table(report))


class _errors:  # noqa: N801 - reads as a statement
    """Turns a SimulationError into its message and exit code 2, and Ctrl-C into 130."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, SimulationError):
            raise refused(str(error)) from error
        if isinstance(error, KeyboardInterrupt):
            typer.echo("Stopped. What wasn't finished is gone; the same command starts again.", err=True)
            raise typer.Exit(130) from error


def _check(name: str, value: int, low: int, high: int, why: str) -> None:
    if not low <= value <= high:
        raise SimulationError(f"{name}: expected {low} to {high} ({why}), found {value}")


def _progress() -> Progress:
    done = TextColumn("{task.percentage:3.0f}%")
    columns = [TextColumn("{task.description}"), BarColumn(), done, RateColumn(), TimeRemainingColumn()]
    return Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    print_anything()
    app(prog_name="warehouse simulate")
