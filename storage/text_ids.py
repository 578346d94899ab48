"""Ids of texts: 64 bits as a signed integer, BIGINT in the marts. The warehouse takes the first of a hash of the text.

In earlier versions an id was text: 16 hex digits, which are the same bits. Marts and vector stores that have those are
read; any other text that stands for an id counts as the first 64 bits of its own hash. Integers are written.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

_DIGITS = re.compile(rb"[0-9a-f]{16}")


def text_id(side: str, text: str) -> int:
    """The id that the warehouse gives a text, which it trims first (macros/texts.sql)."""
    return of_name(f"{side}:{text}".encode())


def of_name(name: bytes) -> int:
    """The id that a text stands for: the bits of 16 hex digits, else the first 64 bits of its hash."""
    bits = bytes.fromhex(name.decode()) if _DIGITS.fullmatch(name) else hashlib.md5(name).digest()[:8]
    return int.from_bytes(bits, "big", signed=True)


def as_ids(values: Iterable[Any]) -> np.ndarray:
    """Ids given as integers or as text. Shapes: N values -> (N,), int64. Raises: ValueError naming the first other."""
    if isinstance(values, np.ndarray) and values.dtype == np.int64:
        return values
    listed = list(values)
    found = np.array(listed) if listed else np.empty(0, np.int64)
    if found.dtype == np.int64:
        return found
    return np.array([_as_id(value) for value in listed], np.int64)


def _as_id(value: Any) -> int:
    if isinstance(value, (str, bytes)) and value:
        return of_name(value.encode() if isinstance(value, str) else value)
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        return int(value)
    raise ValueError(f"{value!r}, which is neither a 64-bit integer nor a text")


def from_arrow(array: pa.Array) -> pa.Array:
    """A column of ids as int64; NULL stays, and an empty text is NULL.

    Raises: ValueError for a type that holds no ids.
    """
    kind = array.type
    if pa.types.is_dictionary(kind):
        return from_arrow(array.dictionary).take(array.indices)
    if pa.types.is_null(kind) or (pa.types.is_integer(kind) and kind != pa.uint64()):
        return array.cast(pa.int64())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        encoded = array.cast(pa.large_binary()).dictionary_encode()
        names = encoded.dictionary.to_pylist()
        return pa.array([of_name(name) if name else None for name in names], pa.int64()).take(encoded.indices)
    gaps = " (pandas turns whole numbers with gaps into those: read with dtype_backend='pyarrow')"
    raise ValueError(f"of the type {kind}{gaps if pa.types.is_floating(kind) else ''}, expected int64 (BIGINT)")
