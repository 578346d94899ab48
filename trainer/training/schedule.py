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
    n_rows: int
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
        return cls(batch_size, epochs, n_rows, n_batches, n_steps, min(config.warmup_steps, n_steps // 3), evaluate_at)

    def rows_before(self, step: int) -> int:
        """How many rows the steps before this one, counted from 0, have seen."""
        epoch, b = divmod(step, self.n_batches)
        return epoch * self.n_rows + b * self.batch_size


def for_batch_size(config: TrainingConfig, batch_size: int, n_rows: int) -> TrainingConfig:
    """The config for another batch size: k times the rows per update, root k times the learning rates, as Adam wants.

    Warmup keeps its updates. What counts is the size that batches have on this log, which min_steps may keep smaller.
    Source: Malladi et al. 2022, definition 5 (the square root rule); its betas and epsilon stay as they are here.
    """
    other = config.model_copy(update={"batch_size": batch_size})
    factor = math.sqrt(Schedule.of(other, n_rows).batch_size / Schedule.of(config, n_rows).batch_size)
    rates = {name: getattr(config, name) * factor for name in ("learning_rate", "embedding_learning_rate")}
    return other.model_copy(update=rates)


def learning_rate_factor(step: int, n_steps: int, warmup: int) -> float:
    """Linear from 0 over `warmup` steps, then a half cosine from 1 to 0 at n_steps."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, n_steps - warmup)))
