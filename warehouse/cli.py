"""The `warehouse` command: what makes raw logs. The models themselves are built by dbt."""

from __future__ import annotations

from typing import Annotated

import typer

from storage import installed
from storage.terminal import print_anything
from warehouse import fetch
from warehouse.prove import command as prove
from warehouse.simulate.__main__ import app as simulate

print_anything()
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, no_args_is_help=True)
app.command("fetch")(fetch.main)
app.command("prove")(prove.main)
app.add_typer(simulate, name="simulate")


@app.callback()
def _main(version: Annotated[bool, installed.version_option("warehouse")] = False) -> None:
    """Raw logs for the feature warehouse: fetch a public one, or simulate one whose true probabilities are known.

    Example: warehouse fetch movielens

    Then: dbt build
    """
