"""The `embeddings` command. Nothing imports this package."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any

import typer
import typer.core

from embeddings.cli import building, inspecting, maintaining, pulling, whitening
from embeddings.cli.common import reporting
from storage import installed
from storage.terminal import print_anything

# No hub is contacted unless a hub id was given; this must be set before transformers is first imported.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

print_anything()


class _Commands(typer.core.TyperGroup):
    """The commands, which also accept --store, the former name of --vectors; help doesn't show it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [re.sub(r"^--store(?==|$)", "--vectors", arg) for arg in args])


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback()
def _main(version: Annotated[bool, installed.version_option("embeddings")] = False) -> None:
    """Texts to vectors: encode the texts mart once per text, whiten, and look at the result."""


for command in (
    pulling.models,
    pulling.pull,
    building.build,
    inspecting.inspect,
    whitening.whiten,
    maintaining.check,
    maintaining.gc,
):
    app.command()(reporting(command))
