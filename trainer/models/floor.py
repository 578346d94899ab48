"""00_floor: the smoothed rates of user and item as of the instant, and nothing else. What every rung must beat."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from trainer.base.errors import TrainerError
from trainer.contract.schema import Input
from trainer.inputs.batch import Batch, Sizes
from trainer.models import keys

GROUPS = ("user", "item")


class Config(keys.ModelConfig):
    """Two priors and a bias."""

    rates: Annotated[
        str, Field(min_length=1, description="Which rates: what follows `user_` and `item_` in their columns' names.")
    ]

    def chosen(self, inputs: tuple[Input, ...]) -> tuple[Input, ...]:
        """The rate of the user and that of the item, as log odds: the numbers of each group that bear the name.

        Raises: TrainerError where the mart lacks one.
        """
        by_group = {i.group: i for i in inputs if i.kind == "dense" and i.name == f"{i.group}_{self.rates}"}
        missing = [f"{group}_{self.rates}" for group in GROUPS if group not in by_group]
        if missing:
            raise TrainerError(
                f"The floor reads the rates user_{self.rates} and item_{self.rates}: features of kind dense, of the "
                f"group that their name says. The mart has no {', '.join(missing)}. Name those it has in model.rates, "
                "or leave the stage out."
            )
        return tuple(replace(by_group[group], transform="logit") for group in GROUPS)


class Floor(nn.Module):
    """A logistic regression on the log odds of two rates. Legend: B rows, X the two numbers and their missing flags.

    Two priors that know nothing of each other multiply their odds, so their log odds add; the weights say how much of
    each is to be believed. Starts at 0, and the loss is convex: seeds differ by the order of the rows alone.
    """

    def __init__(self, sizes: Sizes, config: Config):
        super().__init__()
        self.line = nn.Linear(sizes.n_dense, 1)
        nn.init.zeros_(self.line.weight)
        nn.init.zeros_(self.line.bias)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Shapes: batch of B rows -> logits_B, float32."""
        return self.line(batch.dense_BX)[:, 0]
