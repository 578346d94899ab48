"""Single values of a request, read as the warehouse reads them: ids in one spelling, instants, texts, numbers.

Each reader takes what JSON gave and returns the value; what it can't read raises a PydanticCustomError whose message
goes on from the value's name: `is empty; expected an id`.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

_LONGEST_ID = 4096  # characters
_WHOLE = re.compile(r"[-+]?[0-9]+\.0*")
_NO_ID = re.compile(r"[-+]?(([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|(?i:nan|inf|infinity))")
_MINUS_ZERO = re.compile(r"-0+\.0*")
_DIGITS = re.compile(r"[-+]?[0-9]+")
_NAN = re.compile(r"[-+]?(?i:nan)")
_INSTANT = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d{1,6})?)?(Z|[+-]\d\d(:?\d\d)?)?)?", re.IGNORECASE | re.ASCII
)
_YEARS = range(1970, 2200)  # as in staging


def _refused(sentence: str, **found: Any) -> PydanticCustomError:
    return PydanticCustomError("value", sentence, found)


def shown(value: Any) -> str:
    """A value as an error shows it: short, and printable whatever it holds."""
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise _refused("is {found}; expected a text", found=shown(value))
    if "\0" in value:
        raise _refused("holds a NUL character. Remove it")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _refused("holds half of a surrogate pair, which is no text. Send UTF-8") from None
    return value


def id_of(value: Any) -> str:
    """An id as staging spells it: 1001.0 is 1001, and 007 stays 007."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not -(2**63) <= value < 2**63:
            raise _refused("is a number of more than 64 bits. Send it as a text")
        return str(value)
    if not isinstance(value, str):
        raise _refused("is {found}; expected an id: a text or a whole number", found=shown(value))
    if len(value) > _LONGEST_ID:
        raise _refused("has {n} characters; an id may have {most}", n=len(value), most=_LONGEST_ID)
    if value.isascii() and value.isdigit():
        return value  # as most are
    found = text(value)
    if not found.strip():
        raise _refused("is empty; expected an id")
    if _MINUS_ZERO.fullmatch(found):
        found = found[1:]
    if _WHOLE.fullmatch(found):
        return found.split(".")[0]
    if _NO_ID.fullmatch(found) and not _DIGITS.fullmatch(found):
        raise _refused(
            "is {found}: a number with a fraction, an exponent or NaN is no id. Send the id as the log has it",
            found=shown(found),
        )
    return found


def context_id(value: Any) -> str | None:
    """An id of the context; NaN is missing, as in staging."""
    if value is None or (isinstance(value, str) and _NAN.fullmatch(value)):
        return None
    return id_of(value)


def number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refused("is {found}; expected a number, or null where it isn't known", found=shown(value))
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise _refused("is not a finite number; send null where it isn't known")
    return found


def instant(value: Any) -> datetime:
    """An ISO 8601 instant, UTC where it has no offset. Nothing of it is dropped: a seventh digit is an error."""
    expected = "expected an instant in ISO 8601, such as 2024-02-01T10:00:00Z (UTC where it has no offset)"
    if not isinstance(value, str) or not _INSTANT.fullmatch(value):
        raise _refused("is {found}; {expected}", found=shown(value), expected=expected)
    try:
        read = datetime.fromisoformat(value.upper())
        read = read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _refused(
            "is {found} ({error}); {expected}", found=shown(value), error=str(error), expected=expected
        ) from None
    if read.year not in _YEARS:
        raise _refused("is {found}; expected an instant between 1970 and 2199", found=shown(value))
    return read


def label(value: Any) -> int:
    if value in (0, 1) and isinstance(value, int | float):
        return int(value)
    raise _refused("is {found}; expected 0 or 1", found=shown(value))


_NULL = {"type": "null"}
_ID = {"anyOf": [{"type": "string", "minLength": 1, "maxLength": _LONGEST_ID}, {"type": "integer"}]}
Id = Annotated[str, BeforeValidator(id_of), WithJsonSchema(_ID)]
ContextId = Annotated[str | None, BeforeValidator(context_id), WithJsonSchema({"anyOf": [*_ID["anyOf"], _NULL]})]
Number = Annotated[float, BeforeValidator(number), WithJsonSchema({"type": "number"})]
Text = Annotated[str, BeforeValidator(text), WithJsonSchema({"type": "string"})]
Instant = Annotated[datetime, BeforeValidator(instant), WithJsonSchema({"type": "string", "format": "date-time"})]
Label = Annotated[int, BeforeValidator(label), WithJsonSchema({"type": "integer", "enum": [0, 1]})]
