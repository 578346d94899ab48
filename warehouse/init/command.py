"""The command `warehouse init`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from storage import installed
from warehouse.project import refused

COLUMN = "COLUMN"


def main(
    project: Annotated[Path, typer.Argument(help="The new project's folder; its name is the project's and the log's.")],
    log: Annotated[list[str], typer.Option(help="The log's files: a pattern in quotes, a file or a folder.")],
    more: Annotated[
        list[str] | None, typer.Argument(help="More files, where the shell has taken the pattern apart.")
    ] = None,
    user: Annotated[str | None, typer.Option(metavar=COLUMN, help="Who saw it.")] = None,
    item: Annotated[
        str | None, typer.Option(metavar=COLUMN, help="What was shown; a list where a row is a page. A field: page.id")
    ] = None,
    label: Annotated[str | None, typer.Option(metavar=COLUMN, help="The outcome to predict.")] = None,
    positive: Annotated[
        str | None,
        typer.Option(metavar="VALUES", help="Which labels are 1, if they aren't 0 and 1: '>=4', or click,buy"),
    ] = None,
    time: Annotated[str | None, typer.Option(metavar=COLUMN, help="When it was shown.")] = None,
    time_format: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="How to read that time: '%d.%m.%Y %H:%M'; common forms need none."),
    ] = None,
    known: Annotated[
        str | None,
        typer.Option(metavar=COLUMN, help="When the outcome was known: ingestion; or none."),
    ] = None,
    scene: Annotated[str | None, typer.Option(metavar=COLUMN, help="Where it was shown; none: one scene.")] = None,
    event_id: Annotated[
        str | None, typer.Option(metavar=COLUMN, help="The impression's own id; none: made of file and row.")
    ] = None,
    title: Annotated[str | None, typer.Option(metavar=COLUMN, help="A text of the item, or none.")] = None,
    entities: Annotated[
        str | None, typer.Option(metavar=COLUMN, help="Tags, genres or names of the item, or none.")
    ] = None,
    user_texts: Annotated[
        str | None, typer.Option(metavar="COLUMNS", help="Texts of the user, with commas between them, or none.")
    ] = None,
    context: Annotated[
        str | None,
        typer.Option(metavar="COLUMNS", help="What else is known when it is shown: with commas between them, or none."),
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option(help="Between the fields of CSV files, if it isn't found: ';' or tab.")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Of the columns of CSV files without a header: user,item,time,..."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what was found and written as one line of JSON.")
    ] = False,
) -> None:
    """Write a dbt project for a log of your own, outside of this warehouse, from the log's files.

    It looks at the files, maps their columns to the warehouse's, and writes the adapter, vars, a profile and a README.
    What can't be guessed is asked on a terminal, and named in an error elsewhere; the options answer beforehand. Run it
    again to renew files that nobody has edited.

    Example: warehouse init my_shop --log 'logs/*.parquet'
    """
    try:
        if lacking := installed.lacking("warehouse", "warehouse init"):
            raise refused(lacking)
        from warehouse.init.choice import Answers
        from warehouse.init.errors import InitError
        from warehouse.init.run import init
        from warehouse.reading.errors import ReadingError

        answers = Answers(
            user, item, label, positive, time, time_format, known, scene, event_id, title, entities, user_texts, context
        )  # fmt: skip
        try:
            told = init(project, [*log, *(more or [])], delimiter, columns.split(",") if columns else None, answers)
        except (InitError, ReadingError) as error:
            raise refused(str(error)) from None
    except OSError as error:
        raise refused(f"{error.filename or project}: {error.strerror or error}") from None
    except KeyboardInterrupt:
        typer.echo("Stopped. The same command starts again.", err=True)
        raise typer.Exit(130) from None
    typer.echo(json.dumps(told.as_json(), ensure_ascii=False) if as_json else told.as_text())
