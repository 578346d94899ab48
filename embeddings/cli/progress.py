"""Spinners and bars on a terminal; silent where standard error is none."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from embeddings.cli.common import err

Counts = Callable[[int, int], None]  # of units, and of their characters
_TEXT_COST = 12  # characters' worth of work that every text costs before its first one


@contextmanager
def doing(what: str) -> Iterator[Callable[[str], None]]:
    """A spinner with a changing line and the seconds so far; silent where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield lambda message: None
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bars:
        task = bars.add_task(what, total=None)
        yield lambda message: bars.update(task, description=f"{what}: {message}")


@contextmanager
def progress(what: str = "encoding", unit: str = "texts") -> Iterator[tuple[Counts, Counts]]:
    """Callbacks (started, advance) that draw a bar with rate and time left; silent where stderr is no terminal.

    Both take how many units there are (were done) and, where units differ in what they cost, their characters.
    """
    if not sys.stderr.isatty():
        yield (lambda n_texts, n_characters: None), (lambda n_texts, n_characters: None)
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(
        TextColumn(what),
        BarColumn(),
        TextColumn("{task.fields[done]:,} of {task.fields[n_texts]:,} " + unit),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=err,
        transient=True,
    ) as bars:
        task = bars.add_task(what, total=None, done=0, n_texts=0, rate="")

        def started(n_texts: int, n_characters: int) -> None:
            # A text costs its characters and its special tokens; with both counted the time left is steady.
            bars.update(task, total=n_characters + _TEXT_COST * n_texts, n_texts=n_texts)

        def advance(n_texts: int, n_characters: int) -> None:
            state = bars.tasks[0]
            done = state.fields["done"] + n_texts
            rate = f"{done / state.elapsed:,.0f} per second" if state.elapsed else ""
            bars.update(task, advance=n_characters + _TEXT_COST * n_texts, done=done, rate=rate)

        yield started, advance
