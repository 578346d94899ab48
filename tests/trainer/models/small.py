"""Models of a few weights, and what compares them."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import nn

from trainer.inputs.batch import Batch, Sizes

SIZES = Sizes(
    50,
    4,
    6,
    3,
    item_field=1,
    id_fields=(0, 1),
    text_groups=("item", "item", "user"),
    text_dim=7,
    llm_dim=5,
    history=4,
    past_texts=True,
)
DROP = {"dropout": 0.0, "embedding_dropout": 0.0}
EXTRACTION: dict[str, Any] = {"embedding_dim": 8, "hidden": [12, 10], "tower": [6], **DROP}
PLE_2 = EXTRACTION | {"shared": 2, "private": 2, "levels": 2}
TEXT = {"text_size": 3, "text_dropout": 0.0}
TOWER = {"content": [6], "gate": [4]}
PAST = {"attention": 8, "heads": 2, "history_dropout": 0.0}


def made(cls: type[nn.Module], seed: int, **arguments: Any) -> nn.Module:
    torch.manual_seed(seed)
    module = sys.modules[cls.__module__]
    model = cls(SIZES, module.Config(kind=module.__name__.rpartition(".")[2], **arguments)).eval()
    with torch.no_grad():
        # A table near zero, and layers that each halve what they get, would hide differences.
        model.embeddings.weight.normal_()
        for parameter in model.parameters():
            parameter.mul_(2)
            if (parameter == 0).all():
                parameter.normal_(std=0.3)
    return model


def copied(source: nn.Module, target: nn.Module) -> None:
    """Copy every weight that the target has under the source's name.

    Where the target's is wider, its first columns: further inputs are joined on the right. The rest stays as drawn.
    """
    weights = source.state_dict()
    with torch.no_grad():
        for name, parameter in target.named_parameters():
            if name in weights:
                parameter[tuple(slice(n) for n in weights[name].shape)] = weights[name]


def same(one: nn.Module, other: nn.Module, batch: Batch) -> None:
    torch.testing.assert_close(one(batch), other(batch), rtol=1e-5, atol=1e-5)


def different(one: nn.Module, other: nn.Module, batch: Batch) -> None:
    assert (one(batch) - other(batch)).abs().max() > 1e-3
