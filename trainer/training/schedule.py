"""How many updates a fit makes on a log of a given size, when it evaluates, and at which learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

from trainer.config import TrainingConfig

SMALLEST_BATCH = 64


@dataclass(frozen=True)
class Schedule:
    """What a config comes to on a log of a given size. Counts are of update steps."""

    batch_size: int
    epochs: int
    n_batches: int
    n_steps: int
    warmup: int
    evaluate_at: frozenset[int]

    @classmethod
    def of(cls, config: TrainingConfig, n_rows: int) -> Schedule:
        """The config's own schedule where that gives `min_steps` updates; else smaller batches, and then more epochs.

        Evaluations are spread evenly: `epochs` times `evaluations_per_epoch` of them, however many epochs there are.
        """
        batch_size = min(config.batch_size, max(SMALLEST_BATCH, n_rows * config.epochs // config.min_steps))
        n_batches = -(-n_rows // batch_size)
        epochs = max(config.epochs, -(-config.min_steps // n_batches))
        n_steps = n_batches * epochs
        n_evaluations = min(config.epochs * config.evaluations_per_epoch, n_steps)
        evaluate_at = frozenset(round(n_steps * (k + 1) / n_evaluations) for k in range(n_evaluations))
        return cls(batch_size, epochs, n_batches, n_steps, min(config.warmup_steps, n_steps // 3), evaluate_at)


def learning_rate_factor(step: int, n_steps: int, warmup: int) -> float:
    """Linear from 0 over `warmup` steps, then a half cosine from 1 to 0 at n_steps."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, n_steps - warmup)))
