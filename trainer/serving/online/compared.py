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

    def add(self, event_ids: pa.Array, served: pa.Array, expected: pa.Array) -> None:
        """Compare more rows. Floating-point numbers are equal if their bits are; lists if all of their elements are."""
        differs = unequal_rows(served, expected)
        self.rows += len(differs)
        self.equal += int((~differs).sum())
        at = pa.array(np.flatnonzero(differs))
        if not len(at):
            return
        ids, ours, theirs = (values.take(at).to_pylist() for values in (event_ids, served, expected))
        for event, one, other in zip(ids, ours, theirs, strict=True):
            self.null_on_one_side += (one is None) != (other is None)
            self.largest = max(self.largest, _distance(one, other))
            if len(self.examples) < 3:
                self.examples.append((event, _short(one), _short(other)))


def unequal_rows(served: pa.Array, expected: pa.Array) -> np.ndarray:
    """Shapes: B rows each -> (B,) bool."""
    assert len(served) == len(expected)
    if _plain(served.type) != _plain(expected.type):
        return np.ones(len(served), bool)
    null = served.is_null().to_numpy(zero_copy_only=False)
    other_null = expected.is_null().to_numpy(zero_copy_only=False)
    out: np.ndarray = null != other_null
    both = ~(null | other_null)
    if pa.types.is_list(served.type) or pa.types.is_large_list(served.type):
        lengths, other_lengths = (
            pc.fill_null(pc.list_value_length(each), 0).to_numpy(zero_copy_only=False) for each in (served, expected)
        )
        out |= both & (lengths != other_lengths)
        rows = np.flatnonzero(both & ~out)
        elements = (values.take(pa.array(rows)).flatten() for values in (served, expected))
        of_row = np.repeat(rows, lengths[rows])
        out[of_row[unequal_rows(*elements)]] = True
        return out
    if pa.types.is_floating(served.type):
        bits = [pc.fill_null(values.cast(pa.float64()), 0.0).to_numpy().view(np.int64) for values in (served, expected)]
        return out | (both & (bits[0] != bits[1]))
    same = pc.fill_null(pc.equal(served.cast(_plain(served.type)), expected.cast(_plain(expected.type))), False)
    return out | (both & ~same.to_numpy(zero_copy_only=False))


def _plain(kind: pa.DataType) -> pa.DataType:
    """One type for the several in which Arrow keeps the same values."""
    if pa.types.is_large_list(kind) or pa.types.is_list(kind):
        return pa.list_(_plain(kind.value_type))
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_dictionary(kind):
        return pa.string()
    return kind


def _distance(one: Any, other: Any) -> float:
    if isinstance(one, list) and isinstance(other, list):
        return max(map(_distance, one, other), default=0.0) if len(one) == len(other) else math.inf
    numbers = all(isinstance(each, int | float) for each in (one, other))
    return abs(float(one) - float(other)) if numbers else 0.0


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
