"""The `warehouse` command: raw logs, and a project on one's own. The models themselves are built by dbt."""

from __future__ import annotations

from typing import Annotated

import typer

from storage import installed
from storage.terminal import print_anything
from warehouse import docs_page, fetch
from warehouse.init.command import main as init
from warehouse.prove import command as prove
from warehouse.simulate.__main__ import app as simulate

print_anything()
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, no_args_is_help=True)
app.command("init")(init)
app.command("fetch")(fetch.main)
app.command("prove")(prove.main)
app.command("docs")(docs_page.main)
app.add_typer(simulate, name="simulate")


@app.callback()
def _main(version: Annotated[bool, installed.version_option("warehouse")] = False) -> None:
    """The feature warehouse on a log: of your own, a public one, or a simulated one whose true probabilities are known.

    Example: warehouse init my_shop --log 'logs/*.parquet'

    Then: dbt build
    """
