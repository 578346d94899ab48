"""Bodies of requests read in one go, straight into what the service needs, where there is nothing to object to.

A body that isn't plain (an id that is a number, anything unknown, missing or wrong) is nobody's business here: None is
returned, and the models of bodies.py read it, which know every spelling and say what is wrong. Whatever is read here,
they read to the same values.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import lru_cache
from typing import Any, TypeAlias

import msgspec
from fastapi import Request, Response
from fastapi.routing import APIRoute
from msgspec import UNSET, Struct, UnsetType
from pydantic_core import PydanticCustomError

from trainer.serving.service.bodies import MOST_OUTCOMES, Names, user_texts_of
from trainer.serving.service.values import context_id, id_of, instant

_SHORT = 64  # characters of an id whose spelling is remembered
_ESCAPED_NUL = rb"\u0000"
_Texts: TypeAlias = list[str | None] | dict[str, str | None] | None


class PlainBodies:
    """Readers of the two requests. max_candidates: as the service takes."""

    def __init__(self, names: Names, max_candidates: int):
        self._scenes, self._user_texts, self._most = frozenset(names.scenes), names.user_texts, max_candidates
        self._ids = [f"id_{at}" for at in range(len(names.ids))]
        context = _context_struct(names)
        candidate = _struct("PlainCandidate", [*_OF_ITEM, ("event_id", str | None, None), ("context", context, None)])
        shared: list[Any] = [("user_id", str), ("scene", str), ("context", context, None), ("user_texts", _Texts, None)]
        score: list[Any] = [("candidates", list[candidate]), ("event_at", str | None, None)]  # type: ignore[valid-type]
        score += [("request_id", str | None, None), ("features", bool, False)]
        told = [("event_id", str), ("event_at", str), ("label", int), ("known_at", str | None, None)]
        outcome = _struct("PlainOutcome", [*shared, *told, *_OF_ITEM])
        self._score = msgspec.json.Decoder(_struct("PlainScore", [*shared, *score]))
        self._outcomes = msgspec.json.Decoder(outcome | list[outcome])  # type: ignore[valid-type]

    def score(self, body: bytes) -> Any:
        """The request as the service takes it, or None."""
        return self._read(body, self._score, self._checked_score)

    def outcomes(self, body: bytes) -> list[Any] | None:
        """The events of the request, or None."""
        return self._read(body, self._outcomes, self._checked_outcomes)

    def _read(self, body: bytes, decoder: msgspec.json.Decoder[Any], checked: Callable[[Any], Any]) -> Any:
        if _ESCAPED_NUL in body:
            return None
        try:
            return checked(decoder.decode(body))
        except (msgspec.MsgspecError, PydanticCustomError, UnicodeError, RecursionError):
            return None

    def _checked_score(self, body: Any) -> Any:
        if not 1 <= len(body.candidates) <= self._most:
            return None
        body.event_at = None if body.event_at is None else instant(body.event_at)
        body.request_id = None if body.request_id is None else _id(body.request_id)
        for one in body.candidates:
            one.item_id = _id(one.item_id)
            if one.event_id is not None:
                one.event_id = _id(one.event_id)
            if one.context is not None:
                self._check_context(one.context)
        return self._checked(body)

    def _checked_outcomes(self, body: Any) -> list[Any] | None:
        events = body if isinstance(body, list) else [body]
        if not 1 <= len(events) <= MOST_OUTCOMES:
            return None
        for one in events:
            one.event_id, one.item_id = _id(one.event_id), _id(one.item_id)
            one.event_at = instant(one.event_at)
            one.known_at = None if one.known_at is None else instant(one.known_at)
            if one.label not in (0, 1) or self._checked(one) is None:
                return None
        return events

    def _checked(self, one: Any) -> Any:
        """What a request for scores and an outcome have in common."""
        if one.scene not in self._scenes:
            return None
        one.user_id = _id(one.user_id)
        one.user_texts = user_texts_of(self._user_texts, one.user_texts)
        if one.context is not None:
            self._check_context(one.context)
        return one

    def _check_context(self, context: Any) -> None:
        for name in self._ids:
            if (value := getattr(context, name)) is not UNSET and value is not None:
                setattr(context, name, _context_id(value))


_OF_ITEM: list[Any] = [("item_id", str), ("item_title", str | None, None), ("item_entities", str | None, None)]


class _Context(Struct):
    def given(self) -> dict[str, Any]:
        """The fields that were given."""
        found = ((name, getattr(self, name)) for name in self.__struct_fields__)
        return {name: value for name, value in found if value is not UNSET}


def _struct(name: str, fields: list[Any]) -> Any:
    return msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True)


def _context_struct(names: Names) -> Any:
    fields = [
        (f"{kind}_{at}", type_ | None | UnsetType, msgspec.field(default=UNSET, name=name))
        for kind, type_, of in (("dense", float, names.dense), ("id", str, names.ids))
        for at, name in enumerate(of)
    ]
    made: Any = msgspec.defstruct("PlainContext", fields, bases=(_Context,), kw_only=True, forbid_unknown_fields=True)
    return made | None


_short_id = lru_cache(1 << 16)(id_of)
_short_context_id = lru_cache(1 << 16)(context_id)


def _id(value: str) -> str:
    return _short_id(value) if len(value) <= _SHORT else id_of(value)


def _context_id(value: str) -> str | None:
    return _short_context_id(value) if len(value) <= _SHORT else context_id(value)


def plain_first(read: Callable[[bytes], Any], answer: Callable[[Any], Awaitable[Response]]) -> type[APIRoute]:
    """Routes that answer a body which `read` reads at once, and leave all others to FastAPI and its models."""

    class PlainFirst(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            by_models = super().get_route_handler()

            async def handler(request: Request) -> Response:
                if request.headers.get("content-type") == "application/json":
                    body = read(await request.body())
                    if body is not None:
                        return await answer(body)
                return await by_models(request)

            return handler

    return PlainFirst
