"""The `trainer` command. Nothing imports this package."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from safetensors import SafetensorError

from storage import installed
from storage.terminal import print_anything
from storage.uris import RemoteError
from trainer.base.errors import TrainerError
from trainer.base.progress import console
from trainer.cli import comparing, explaining, fitting, laddering, online, service, serving

# Before OpenMP is loaded: its threads wait by spinning, which on a shared machine doubles the CPU time of the trees
# and, once there are more threads than idle cores, stretched 20 seconds to minutes. Sleeping costs a quiet one nothing.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", pretty_exceptions_enable=False)


def stoppable(command: Callable[..., None]) -> Callable[..., None]:
    """The command; Ctrl-C ends it with a line and exit code 130."""

    @functools.wraps(command)
    def wrapped(**options: Any) -> None:
        try:
            command(**options)
        except KeyboardInterrupt:
            console.print("Stopped. Nothing half-made was left behind; a fit goes on with --resume.")
            raise typer.Exit(130) from None

    return wrapped


@app.callback()
def _main(version: Annotated[bool, installed.version_option("trainer")] = False) -> None:
    """From the training mart to a run directory.

    Example: `trainer fit --stage 01_dnn --marts data/marts/movielens --run runs/01_dnn`
    """


for command in (
    fitting.fit,
    laddering.ladder,
    fitting.evaluate,
    comparing.compare,
    explaining.importance,
    serving.score,
    serving.export,
    online.replay,
    service.serve,
    fitting.report,
):
    app.command()(stoppable(command))
for of_state in (online.build, online.apply):
    online.state_app.command()(stoppable(of_state))
app.add_typer(online.state_app, name="state")


_MEND = "Nothing half-written was kept. Make room or mend the folder, then run the same command again."


def main() -> None:
    """The console script: bad input, a full disk, a folder that can't be written: a message and exit code 2."""
    print_anything()
    try:
        app()
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        _fail(f"Can't read or write{where}: {error.strerror or error}. {_MEND}")
    except SafetensorError as error:
        _fail(f"Can't read or write weights: {error}. {_MEND}")
    except (TrainerError, RemoteError) as error:
        _fail(str(error))


def _fail(message: str) -> None:
    console.print(f"Error: {message}", style="red", markup=False, soft_wrap=True)
    sys.exit(2)


if __name__ == "__main__":
    main()
