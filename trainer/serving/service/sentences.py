"""What is wrong with a request, in sentences that name the field: every error body is `{"detail": "<sentence>"}`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from trainer.base.errors import nearest
from trainer.serving.service.bodies import ONE, SEVERAL
from trainer.serving.service.values import shown

_MOST_ERRORS = 3  # in one answer


def sentences(route: str, errors: Sequence[Mapping[str, Any]], known: Mapping[str, Sequence[str]]) -> str:
    """known: the fields of each object by the field that it stands in, those of a body by the name of its route."""
    said = list(dict.fromkeys(_sentence(route, one, known) for one in errors[:_MOST_ERRORS]))
    more = len(errors) - _MOST_ERRORS
    return " ".join([*said, *([f"And {more} more."] if more > 0 else [])])


def _sentence(route: str, error: Mapping[str, Any], known: Mapping[str, Sequence[str]]) -> str:
    kind, found, context = error["type"], error.get("input"), error.get("ctx") or {}
    path = [part for part in error["loc"] if part not in ("body", ONE, SEVERAL)]
    if kind == "json_invalid":
        return f"The body isn't JSON ({context.get('error', error['msg'])}, at character {error['loc'][-1]})."
    where = _where(path)
    match kind:
        case "value":
            rest = error["msg"]
        case "missing":
            rest = "is missing" if path else "is missing; expected JSON"
        case "extra_forbidden":
            of = next((str(part) for part in reversed(path[:-1]) if isinstance(part, str)), route)
            names = known.get(of, ())
            rest = f"isn't known here{nearest(str(path[-1]), names)}; known are {', '.join(names) or 'none'}"
        case "model_attributes_type" | "model_type" | "dict_type":
            rest = f"is {shown(found)}; expected an object"
            if isinstance(found, bytes):
                rest = "is no JSON; send JSON with the header content-type: application/json"
        case "list_type":
            rest = f"is {shown(found)}; expected a list"
        case "too_short" | "too_long":
            bound = "at least" if kind == "too_short" else "at most"
            n = context.get("min_length" if kind == "too_short" else "max_length")
            length = context.get("actual_length")
            rest = f"has {'more' if length is None else length} entries; expected {bound} {n}"
        case "string_unicode":
            rest = "has a name with half of a surrogate pair, which is no text. Send UTF-8"
        case "bool_type":
            rest = f"is {shown(found)}; expected true or false"
        case _:
            rest = re.sub("^Input should be", "should be", error["msg"]) + f", found {shown(found)}"
    return f"{where} {rest}."


def _where(path: Sequence[Any]) -> str:
    out = "".join(f"[{part}]" if isinstance(part, int) else f".{printable(str(part))}" for part in path)
    return out.removeprefix(".") or "The body"


def printable(text: str) -> str:
    """The text, or its escapes where it can't be shown or sent; cut off where it is long."""
    found = text if text.isprintable() else ascii(text)[1:-1]
    return found if len(found) <= 60 else f"{found[:57]}..."
