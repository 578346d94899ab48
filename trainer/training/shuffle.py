"""The order in which an epoch visits the train rows, drawn from (seed, epoch) alone."""

from __future__ import annotations

import numpy as np

WHOLE = 1 << 22  # train rows up to which an epoch is one permutation of them all
_BLOCK = 1 << 12  # rows that follow each other in the columns
_WINDOW = 1 << 6  # blocks whose rows are shuffled together: 262,144 rows


def epoch_order(n_rows: int, seed: int, epoch: int, whole: int = WHOLE) -> np.ndarray:
    """Positions among the train rows in the order of one epoch, each once. Shapes: -> (n_rows,), int64.

    Of more than `whole` rows the blocks are shuffled, then the rows within each window of blocks: a batch then holds
    rows of dozens of moments of the log, and yet only the window's pages are read, not one for each row.
    """
    generator = np.random.default_rng([seed, epoch])
    if n_rows <= whole:
        return generator.permutation(n_rows)
    starts = generator.permutation(-(-n_rows // _BLOCK)) * _BLOCK
    order = (starts[:, None] + np.arange(_BLOCK)).ravel()
    order = order[order < n_rows]  # the last block of the columns may be short, wherever it came to stand
    for s in range(0, n_rows, _WINDOW * _BLOCK):
        generator.shuffle(order[s : s + _WINDOW * _BLOCK])
    return order
