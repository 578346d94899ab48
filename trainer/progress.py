"""Progress with rate and time left, for people; silence where standard error is no terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

console = Console(stderr=True, highlight=False)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} {task.fields.get('unit', 'rows')}/s", style="cyan")


def progress(quiet: bool = False) -> Progress:
    """A progress display on standard error: description, bar, done of total, rate, time left, and a note.

    quiet: show nothing, where processes below show their own.
    """
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"), console=console, disable=quiet or not console.is_terminal,
    )  # fmt: skip
