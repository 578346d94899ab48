"""What models see and the small layers they share.

Legend: B rows, F id and category fields, E embedding size, X dense width, H hidden size, S scenes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn


@dataclass(frozen=True)
class Batch:
    """B rows as tensors.

    ids_BF:   int64, rows of the one embedding table; a field's rows start at its offset with its UNSEEN row
    dense_BX: float32, the D standardised numbers, then the missing flags
    scene_B:  int64
    label_B:  float32
    """

    ids_BF: torch.Tensor
    dense_BX: torch.Tensor
    scene_B: torch.Tensor
    label_B: torch.Tensor


@dataclass(frozen=True)
class Sizes:
    """What a model must know of its inputs: embedding rows (all fields), fields F, dense width X, scenes S."""

    n_embeddings: int
    n_fields: int
    n_dense: int
    n_scenes: int


def embedding_table(n_rows: int, size: int) -> nn.Embedding:
    """One table for all fields, a field's rows starting at its offset; sparse gradients: a step costs what it touches.

    Starts near zero: a value seen once or twice then says little, and the UNSEEN row nothing.
    """
    table = nn.Embedding(n_rows, size, sparse=True)
    nn.init.normal_(table.weight, std=0.01)
    return table


def mlp(sizes: Sequence[int], dropout: float) -> nn.Sequential:
    """Linear, ReLU, dropout for each step of `sizes`. Shapes: (B, sizes[0]) -> (B, sizes[-1])."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers)


class SceneHeads(nn.Module):
    """One linear head a scene; a row gets its own scene's.

    Shapes: x_BH, scene_B -> logits_B. Gradients reach a head from its own scene's rows only.
    """

    def __init__(self, n_hidden: int, n_scenes: int):
        super().__init__()
        self.heads = nn.Linear(n_hidden, n_scenes)

    def forward(self, x_BH: torch.Tensor, scene_B: torch.Tensor) -> torch.Tensor:
        return self.heads(x_BH).gather(1, scene_B[:, None])[:, 0]
