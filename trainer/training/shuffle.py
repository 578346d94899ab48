"""The batches in which an epoch visits the train rows, drawn from (seed, epoch) alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from trainer.columns.sequences import Sequences
from trainer.training.schedule import Schedule

WHOLE = 1 << 22  # train rows up to which an epoch is one permutation of them all
_BLOCK = 1 << 12  # rows that follow each other in the columns
_WINDOW = 1 << 6  # blocks whose rows are shuffled together: 262,144 rows


@dataclass
class Order:
    """The rows of each step that are this process's.

    sequences: for a model that reads them; a batch then has whole users. sizes: the train rows of each process, by
    rank, where there are several: each cuts its own rows into as many parts as the epoch has batches.
    """

    plan: Schedule
    train_rows: np.ndarray
    seed: int
    sequences: Sequences | None = None
    sizes: tuple[int, ...] = ()
    _epochs: dict[int, list[np.ndarray]] = field(default_factory=dict, repr=False)

    def rows(self, step: int) -> np.ndarray:
        """Positions in the columns."""
        epoch, b = divmod(step, self.plan.n_batches)
        if epoch not in self._epochs:
            self._epochs = {k: rows for k, rows in self._epochs.items() if k == epoch - 1}  # some steps are read ahead
            self._epochs[epoch] = self._batches(epoch)
        return self._epochs[epoch][b]

    def n_rows(self, step: int) -> int:
        """How many rows the step's batch has, over all processes."""
        if not self.sizes:
            return len(self.rows(step))
        b, n = step % self.plan.n_batches, self.plan.n_batches
        return sum(size // n + (b < size % n) for size in self.sizes)

    def _batches(self, epoch: int) -> list[np.ndarray]:
        if self.sequences is not None:
            generator = np.random.default_rng([self.seed, epoch])
            return self.sequences.batches(self.train_rows, self.plan.n_batches, generator)
        order = self.train_rows[epoch_order(len(self.train_rows), self.seed, epoch)]
        if self.sizes:
            return np.array_split(order, self.plan.n_batches)
        size = self.plan.batch_size
        return [order[s : s + size] for s in range(0, len(order), size)]


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
