"""How far a fit has come: what a checkpoint keeps beside the weights, and losses that are still on the device."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch

from trainer.base.errors import TrainerError
from trainer.config import TrainingConfig
from trainer.training.schedule import Schedule, learning_rate_factor

LARGEST_LOSS = 100.0  # nats a row: a model that knows nothing has .7, and one that is this sure and wrong has exploded


@dataclass
class Progress:
    """What the loop has counted: saved with a checkpoint. losses: summed over `seen` rows since the last evaluation."""

    step: int = 0
    losses: float = 0.0
    seen: int = 0
    best: float = -math.inf
    worse: int = 0
    best_step: int = 0
    stopped: str = ""
    evaluations: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Losses:
    """The losses of the steps, which stay on the device until they are read."""

    plan: Schedule
    config: TrainingConfig
    done: Progress
    _unread: list[torch.Tensor] = field(default_factory=list)
    _rows: list[int] = field(default_factory=list)

    @property
    def n_unread(self) -> int:
        return len(self._unread)

    def add(self, loss: torch.Tensor, n_rows: int) -> None:
        self._unread.append(loss)
        self._rows.append(n_rows)

    def read(self) -> None:
        """Wait for the device and add up. Raises: TrainerError naming the step whose loss has exploded."""
        losses = torch.stack(self._unread).tolist() if self._unread else []
        first = self.done.step - len(losses) + 1
        for k, (loss, n_rows) in enumerate(zip(losses, self._rows, strict=True)):
            if not loss <= LARGEST_LOSS:
                raise exploded(f"The training loss is {loss:g}", first + k, self.plan, self.config)
            self.done.losses += loss * n_rows
            self.done.seen += n_rows
        self._unread.clear()
        self._rows.clear()


def exploded(what: str, step: int, plan: Schedule, config: TrainingConfig) -> TrainerError:
    rate = learning_rate_factor(step - 1, plan.n_steps, plan.warmup)
    return TrainerError(
        f"{what} after step {step} of {plan.n_steps}, with training.learning_rate {config.learning_rate:g} and "
        f"embedding_learning_rate {config.embedding_learning_rate:g} (at this step {rate:.0%} of them). Expected a "
        "training loss that falls below .7, a coin's: lower both rates tenfold, or raise training.warmup_steps."
    )
