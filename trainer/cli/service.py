"""serve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from storage.options import LOCAL, READ
from storage.places import shown
from trainer.base.errors import require_extra
from trainer.cli.common import Json, Vectors, console
from trainer.cli.online import StateUrl

_MB = 1_000_000


def serve(
    run: Annotated[Path, typer.Option(help="A finished run, fitted on the mart that the state is of.", **READ)],
    state: StateUrl,
    vectors: Vectors = None,
    host: Annotated[
        str, typer.Option(help="The address to listen on; 0.0.0.0 for all of this machine's.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0 for any that is free.")] = 8080,
    served: Annotated[
        Path | None,
        typer.Option(
            help="A folder for the log of what was served: Parquet by day, with probabilities and features.", **LOCAL
        ),
    ] = None,
    max_candidates: Annotated[int, typer.Option(min=1, help="Candidates that one request may have.")] = 1000,
    max_body: Annotated[int, typer.Option(min=1, help="Megabytes that the body of a request may have.")] = 10,
    max_waiting: Annotated[
        int, typer.Option(min=0, help="Requests that may wait while one is scored; further ones are answered 503.")
    ] = 200,
    as_json: Json = False,
) -> None:
    """Serve a run over HTTP: score candidates with features as of now, take outcomes as they become known.

    `POST /score`, `POST /outcome`, `GET /health`, `GET /metrics` (Prometheus), and an OpenAPI schema in
    `/openapi.json`. SIGTERM and Ctrl-C let the requests in flight end.

    Example: `trainer serve --run runs/01_dnn --state sqlite:state.sqlite`
    """
    require_extra("serving", "`trainer serve`")
    from trainer.serving.service.app import Options
    from trainer.serving.service.server import Place, Served
    from trainer.serving.service.server import serve as serve_until_stopped

    options = Options(max_candidates, max_body * _MB, max_waiting)
    what = Served(run, state, vectors, served, options)

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    def started(url: str) -> None:
        if as_json:
            typer.echo(json.dumps({"url": url, "run": shown(run), "state": state}))
        say(f"Serving {run} on {url}. Ctrl-C stops it.")

    serve_until_stopped(what, Place(host, port), say, started)
