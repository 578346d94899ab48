"""Columns of a few rows as NumPy has them, with NULLs beside the data, and the same as Arrow.

Legend: B rows. `data` and `null` are (B,), or one value for all rows; where `null` holds, `data` means nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa


class Value(NamedTuple):
    """null: None where no row is NULL."""

    data: Any
    null: Any = None


class List(NamedTuple):
    """A list of the same length in each row."""

    elements: tuple[Value, ...]
    null: Any = None


def as_value(given: pa.Array) -> Value:
    """Numbers, texts, dates (days) and instants (microseconds) as NumPy has them."""
    null = given.is_null().to_numpy(zero_copy_only=False) if given.null_count else None
    if pa.types.is_timestamp(given.type):
        given = given.cast(pa.int64())
    elif pa.types.is_date(given.type):
        given = given.cast(pa.int32())
    if not pa.types.is_string(given.type) and null is not None:
        given = given.fill_null(0)
    data = given.to_numpy(zero_copy_only=False)
    return Value(data.astype(np.int64) if data.dtype == np.int32 else data, null)


def as_arrow(value: Value | List | pa.Array, kind: pa.DataType, n_rows: int) -> pa.Array:
    """Shapes: a value of n_rows rows, or one for all -> n_rows rows."""
    if isinstance(value, pa.Array):
        return value
    null = None if value.null is None else np.broadcast_to(value.null, n_rows)
    if isinstance(value, List):
        n = len(value.elements)
        elements = [as_arrow(one, kind.value_type, n_rows) for one in value.elements]
        in_order = np.arange(n * n_rows).reshape(n, n_rows).T.ravel()
        flat = pa.concat_arrays(elements).take(pa.array(in_order))
        offsets = pa.array(np.arange(0, n * n_rows + 1, n, dtype=np.int32))
        return pa.ListArray.from_arrays(offsets, flat, type=kind, mask=None if null is None else pa.array(null))
    data = np.broadcast_to(value.data, n_rows)
    if kind in (pa.date32(), pa.int32()):
        data = (data if null is None else np.where(null, 0, data)).astype(np.int32)
    return pa.array(data, kind, mask=null)
