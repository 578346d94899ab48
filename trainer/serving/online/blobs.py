"""What many blobs of whole numbers hold, read at once: rows of one width, back to back, and sums over parts of them.

A blob is int64, rows of `width` numbers: first a few rows of totals, then one row per moment or day, in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NONE = -(2**63)  # stands for NULL among whole numbers; no count, day or instant is that small


@dataclass(frozen=True)
class Rows:
    """Legend: K blobs, R rows of all of them after the totals.

    totals: (K, n_totals, width). rows: (R, width). first, after: (K,), where each blob's rows begin and end.
    """

    totals: np.ndarray
    rows: np.ndarray
    first: np.ndarray
    after: np.ndarray

    @classmethod
    def of(cls, blobs: Sequence[bytes], width: int, n_totals: int) -> Rows:
        flat = np.frombuffer(b"".join(blobs), np.int64).reshape(-1, width)
        n_rows = np.fromiter(map(len, blobs), np.int64, len(blobs)) // (8 * width)
        starts = np.cumsum(n_rows) - n_rows
        heads = starts[:, None] + np.arange(n_totals)
        is_row = np.ones(len(flat), bool)
        is_row[heads] = False
        after = np.cumsum(n_rows - n_totals)
        return cls(flat[heads], flat[is_row], after - (n_rows - n_totals), after)

    def each(self, values: np.ndarray) -> np.ndarray:
        """A value per blob, repeated for each of its rows. Shapes: (K,) -> (R,)."""
        return np.repeat(values, self.after - self.first)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sums of each blob's rows. Shapes: (R, ...) -> (K, ...)."""
        running = np.zeros((len(values) + 1, *values.shape[1:]), np.int64)
        np.cumsum(values, axis=0, out=running[1:])
        return running[self.after] - running[self.first]

    def latest(self, where: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
        """The first number of each blob's last row where `where` holds. Shapes: (R,), (K,) -> (K,)."""
        if not len(where):
            return otherwise
        last = np.maximum.accumulate(np.where(where, np.arange(len(where)), -1))
        position = np.where(self.after > self.first, last[self.after - 1], -1)
        return np.where(position >= self.first, self.rows[position, 0], otherwise)
