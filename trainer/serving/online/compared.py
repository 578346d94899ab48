"""Features served against features of the mart: the same bits, or how they differ."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


@dataclass
class Difference:
    """Of one feature: how many rows were compared, how many were equal, how many NULL on one side only.

    largest: of the rows with numbers on both sides; examples: event, served, expected.
    """

    rows: int = 0
    equal: int = 0
    null_on_one_side: int = 0
    largest: float = 0.0
    examples: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, event_ids: pa.Array, served: pa.Array, expected: pa.Array) -> np.ndarray:
        """Compare more rows. Floating-point numbers are equal if their bits are; lists if all of their elements are.

        Shapes: B rows each -> (B,) bool, the rows that differ.
        """
        differs = unequal_rows(served, expected)
        self.rows += len(differs)
        self.equal += int((~differs).sum())
        at = pa.array(np.flatnonzero(differs))
        if len(at):
            ours, theirs = served.take(at), expected.take(at)
            self.null_on_one_side += int((_null(ours) != _null(theirs)).sum())
            self.largest = max(self.largest, _largest(ours, theirs))
            for i in range(min(len(at), 3 - len(self.examples))):
                event, one, other = (values[i].as_py() for values in (event_ids.take(at), ours, theirs))
                self.examples.append((event, _short(one), _short(other)))
        return differs


def pairs(served: pa.Array, expected: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The numbers that are there on both sides, lists of one length by their elements; none where they aren't numbers.

    Shapes: B rows each -> (N,) each, float64.
    """
    both = ~(_null(served) | _null(expected))
    if _is_list(served.type) and _is_list(expected.type):
        at = pa.array(np.flatnonzero(both & (_lengths(served) == _lengths(expected))))
        return pairs(served.take(at).flatten(), expected.take(at).flatten())
    if not (_is_number(served.type) and _is_number(expected.type)):
        return np.empty(0), np.empty(0)
    at = pa.array(np.flatnonzero(both))
    ours, theirs = (each.take(at).cast(pa.float64(), safe=False).to_numpy() for each in (served, expected))
    return ours, theirs


def unequal_rows(served: pa.Array, expected: pa.Array) -> np.ndarray:
    """Shapes: B rows each -> (B,) bool."""
    assert len(served) == len(expected)
    if plain_type(served.type) != plain_type(expected.type):
        return np.ones(len(served), bool)
    null, other_null = _null(served), _null(expected)
    out: np.ndarray = null != other_null
    both = ~(null | other_null)
    if _is_list(served.type):
        lengths, other_lengths = _lengths(served), _lengths(expected)
        out |= both & (lengths != other_lengths)
        rows = np.flatnonzero(both & ~out)
        elements = (values.take(pa.array(rows)).flatten() for values in (served, expected))
        of_row = np.repeat(rows, lengths[rows])
        out[of_row[unequal_rows(*elements)]] = True
        return out
    if pa.types.is_floating(served.type):
        bits = [pc.fill_null(values.cast(pa.float64()), 0.0).to_numpy().view(np.int64) for values in (served, expected)]
        return out | (both & (bits[0] != bits[1]))
    same = pc.fill_null(pc.equal(served.cast(plain_type(served.type)), expected.cast(plain_type(expected.type))), False)
    return out | (both & ~same.to_numpy(zero_copy_only=False))


def plain_type(kind: pa.DataType) -> pa.DataType:
    """One type for the several in which Arrow keeps the same values."""
    if _is_list(kind):
        return pa.list_(plain_type(kind.value_type))
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_dictionary(kind):
        return pa.string()
    return kind


def _largest(ours: pa.Array, theirs: pa.Array) -> float:
    """The largest difference between numbers; infinite where lists have other lengths."""
    if _is_list(ours.type) and _is_list(theirs.type):
        there = ~(_null(ours) | _null(theirs))
        if (there & (_lengths(ours) != _lengths(theirs))).any():
            return math.inf
    one, other = pairs(ours, theirs)
    with np.errstate(invalid="ignore"):
        apart = np.abs(one - other)
    return float(np.fmax.reduce(apart, initial=0.0))


def _null(values: pa.Array) -> np.ndarray:
    out: np.ndarray = values.is_null().to_numpy(zero_copy_only=False)
    return out


def _lengths(lists: pa.Array) -> np.ndarray:
    out: np.ndarray = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return out


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _short(value: Any) -> str:
    text = "NULL" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
