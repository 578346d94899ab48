"""What the commands share: the two consoles, the options that several have, what the user hears of errors."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from safetensors import SafetensorError

from embeddings.errors import EmbeddingsError
from storage.options import LOCAL, READ, WRITE
from storage.uris import RemoteError

# A pipe has no width; give tables room there instead of folding them to 80 columns.
out, err = Console(width=None if sys.stdout.isatty() else 120), Console(stderr=True)

Marts = Annotated[Path, typer.Option("--marts", help="Folder of one dataset's marts, with texts/ in it.", **READ)]
Store = Annotated[Path, typer.Option("--vectors", help="The folder of the vector stores.", **READ)]
StoreToWrite = Annotated[Path, typer.Option("--vectors", help="The folder of the vector stores.", **WRITE)]
StoreHere = Annotated[Path, typer.Option("--vectors", help="The folder of the vector stores.", **LOCAL)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Stored = Annotated[str, typer.Option("--encoder", help="Encoder (or store key) whose vectors to use.")]
DEFAULT_STORE = Path("data/vectors")
DEFAULT_ENCODER = "e5-small"


def reporting(command: Callable) -> Callable:
    """Print our errors and those of the file system and exit with 2; on Ctrl-C print how to continue."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except (EmbeddingsError, RemoteError) as error:
            err.print("[bold red]Error:[/]", end=" ")
            err.print(str(error), markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(2) from None
        except (OSError, SafetensorError) as error:
            where = getattr(error, "filename", None) or ""
            err.print("[bold red]Error:[/]", end=" ")
            err.print(
                f"Can't read or write {where}: {getattr(error, 'strerror', None) or error}. Finished shards are kept."
                " Make room or mend the folder, then run the same command again.",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            err.print("Stopped. Finished shards are kept: the same command carries on from there.")
            raise typer.Exit(130) from None

    return wrapped


def note(message: str) -> None:
    err.print(message, markup=False, highlight=False, soft_wrap=True, style="yellow")


def print_counts(rows: list[tuple[str, int]]) -> None:
    """What a build did with the texts: a line each, but none between the first and the last that counts nothing."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    for k, (label, count) in enumerate(rows):
        if count or k in (0, len(rows) - 1):
            table.add_row(label, f"{count:,}")
    out.print(table)
