"""The application: routes, their documentation, and what an error looks like."""

from __future__ import annotations

import contextlib
import logging
import math
import traceback
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.exceptions import HTTPException

from storage import installed
from trainer.serving.online.state import State
from trainer.serving.online.stores import StoreError
from trainer.serving.service.bodies import Bodies, HealthAnswer, OutcomeAnswer, Problem, ScoreAnswer
from trainer.serving.service.limits import BoundedBody, Measured
from trainer.serving.service.metrics import Metrics
from trainer.serving.service.plain import PlainBodies, plain_first
from trainer.serving.service.sentences import printable, sentences
from trainer.serving.service.service import RefusedError, Service
from trainer.serving.service.worker import BusyError, Together, Worker

ROUTES = ("/score", "/outcome", "/health", "/metrics", "/openapi.json", "/docs")
_RETRY_SECONDS = 1
_OF_OUTCOMES = "Apply the outcome of an event, or of up to 1,000: all of them or none"
_TOGETHER = 32  # requests with outcomes that are applied at once
_ABOUT = """\
Probabilities of a click for one user's candidates, with features that are counted up to the instant of the request.

`POST /outcome` tells what happened. An outcome counts from the instant after its `known_at`.
Every error has one shape: `{"detail": "<what was expected, what was found, what to do>"}`.
"""
_PROBLEMS = {
    400: "The body can't be read.",
    409: "The state is past it: too old, or an event that was applied with another outcome.",
    413: "The body is larger than the service takes.",
    422: "The body holds what the service can't take; the sentence names the field.",
    500: "A mistake of the service; its standard error has the details.",
    503: "The state's store can't be reached, or too many requests wait. Try again after the seconds in Retry-After.",
}


@dataclass(frozen=True)
class Options:
    """What a service takes: candidates per request, bytes per body, requests that may wait."""

    max_candidates: int = 1000
    max_body: int = 10 << 20
    max_waiting: int = 200


def make_app(service: Service, watch: State, metrics: Metrics, options: Options | None = None) -> FastAPI:
    """watch: the same state through a connection of its own, so that /health doesn't wait for the scoring thread.

    The application closes both when it ends.
    """
    options = options or Options()
    scoring, watching = Worker("scoring", options.max_waiting), Worker("watching", options.max_waiting)
    metrics.waiting.set_function(lambda: scoring.waiting)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            scoring.close()
            watching.close()
            service.close()
            watch.store.close()

    app = FastAPI(
        title="First Impression", version=installed.version(), description=_ABOUT, lifespan=lifespan, redoc_url=None
    )
    app.state.service = service
    bodies = Bodies.of(service.names, options.max_candidates)

    async def score(body: Any) -> Response:
        return Response(await scoring.run(partial(service.score, body)), media_type="application/json")

    applying = Together(scoring, service.apply_all, _TOGETHER)

    async def outcome(body: Any) -> Response:
        told = await applying.run(body if isinstance(body, list) else [body])
        return Response(msgspec.json.encode(told), media_type="application/json")

    plain = PlainBodies(service.names, options.max_candidates)
    score.__annotations__["body"], outcome.__annotations__["body"] = bodies.score, bodies.outcomes
    for path, answer, read, model, summary in (
        ("/score", score, plain.score, ScoreAnswer, "Score the candidates of one user"),
        ("/outcome", outcome, plain.outcomes, OutcomeAnswer, _OF_OUTCOMES),
    ):
        app.router.add_api_route(
            path,
            answer,
            methods=["POST"],
            summary=summary,
            response_model=model,
            responses=_problems(400, 409, 413, 422, 500, 503),
            route_class_override=plain_first(read, answer),
        )

    async def clock() -> int | None:
        try:
            found = await watching.run(lambda: service.clock(watch))
        except StoreError:
            metrics.store_up.set(0)
            raise
        metrics.store_up.set(1)
        metrics.clock.set(math.nan if found is None else found / 1e6)
        metrics.age.set(math.nan if found is None else datetime.now(UTC).timestamp() - found / 1e6)
        return found

    @app.get("/health", summary="Whether the service can score", responses=_problems(413, 500, 503))
    async def health() -> HealthAnswer:
        return service.health(await clock())

    @app.get(
        "/metrics",
        summary="Counts and times, for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **_problems(413, 500, 503)},
    )
    async def metrics_page() -> Response:
        with contextlib.suppress(StoreError):
            await clock()
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    _add_errors(app, bodies)
    app.add_middleware(BoundedBody, most_bytes=options.max_body)
    app.add_middleware(Measured, metrics=metrics, routes=frozenset(ROUTES))
    return app


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Problem, "description": _PROBLEMS[status]} for status in statuses}


def _add_errors(app: FastAPI, bodies: Bodies) -> None:
    known = bodies.fields()

    def answer(status: int, sentence: str, headers: Any = None) -> JSONResponse:
        return JSONResponse({"detail": sentence}, status, headers)

    def later(sentence: str) -> JSONResponse:
        return answer(503, sentence, {"Retry-After": str(_RETRY_SECONDS)})

    def of_http(request: Request, error: HTTPException) -> JSONResponse:
        said, path = str(error.detail), printable(request.url.path)
        if error.status_code == 404:
            said = f"There is no {path} here. Expected one of {', '.join(ROUTES)}."
        elif error.status_code == 405:
            allowed = (error.headers or {}).get("Allow", "another method")
            said = f"{path} doesn't take {printable(request.method)}. Expected {allowed}."
        elif error.status_code == 400:
            said = "The body can't be read as JSON in UTF-8. Check its encoding and nesting."
        return answer(error.status_code, said, error.headers)

    def unexpected(request: Request, error: Exception) -> JSONResponse:
        logging.getLogger(__name__).error("".join(traceback.format_exception(error)))
        return answer(500, "The service made a mistake with this request. Its standard error has the details.")

    handlers: dict[type[Exception], Callable[[Request, Any], Response]] = {
        RequestValidationError: lambda request, error: answer(
            422, sentences(request.url.path.strip("/"), error.errors(), known)
        ),
        RefusedError: lambda _, error: answer(error.status, error.sentence),
        StoreError: lambda _, error: later(str(error)),
        BusyError: lambda _, error: later(
            "Too many requests are waiting. Send fewer at once, or start more processes."
        ),
        HTTPException: of_http,
        Exception: unexpected,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, _awaited(handler))


def _awaited(handler: Callable[[Request, Any], Response]) -> Any:
    """A handler on the event loop, without a thread."""

    async def awaited(request: Request, error: Exception) -> Response:
        return handler(request, error)

    return awaited
