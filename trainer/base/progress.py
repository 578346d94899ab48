"""Progress with rate and time left, for people; silence where standard error is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from storage.places import told


class Telling(Console):
    """A console that names what is behind a URI by that URI, not by where it was fetched to."""

    def print(self, *objects: Any, **how: Any) -> None:
        super().print(*(told(one) if isinstance(one, str) else one for one in objects), **how)


console = Telling(stderr=True, highlight=False)
Tick = Callable[[int], None]  # called with the number of rows processed


def silent(rows: int) -> None:
    """A Tick for those who show nothing."""


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if speed is None and task.finished_time:  # all of it came at once: Rich tells a rate from the second update on
            speed = task.completed / task.finished_time
        return Text("" if speed is None else f"{speed:,.0f} {task.fields.get('unit', 'rows')}/s", style="cyan")


def progress(quiet: bool = False) -> Progress:
    """A progress display on standard error: description, bar, done of total, rate, time left, and a note.

    quiet: show nothing, where processes below show their own.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=quiet or not console.is_terminal,
    )


@contextmanager
def ticking(description: str, rows: int) -> Iterator[Tick]:
    """One bar over `rows` rows, full at the end whatever was counted; the Tick advances it."""
    with progress() as bar:
        task = bar.add_task(description, total=rows, note="")
        yield lambda done: bar.update(task, advance=done)
        bar.update(task, completed=rows)


@contextmanager
def working(what: str) -> Iterator[None]:
    """A spinner with the seconds so far, for work that can't tell its end; silent where there is no terminal."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        bar.add_task(what, total=None)
        yield
