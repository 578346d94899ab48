"""Mixtures of experts. Legend: B rows, K experts, X input width, H hidden size, D output width."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from trainer.models.layers.basic import Dropout, uniform
from trainer.models.layers.scenes import SceneGates, by_scene


def mix(gate_BK: torch.Tensor, experts_BKD: torch.Tensor) -> torch.Tensor:
    """Weighted sum of the experts. Shapes: -> (B, D). Source: Ma et al. 2018, eq. 6."""
    return torch.bmm(gate_BK[:, None], experts_BKD)[:, 0]


class Experts(nn.Module):
    """K perceptrons side by side: the first layers in one matmul, each later layer in one batched matmul.

    Shapes: x_BX -> (B, K, D), D the last of `hidden`. Linear, ReLU, dropout in each layer, as in `mlp`.
    """

    def __init__(self, n_in: int, n_experts: int, hidden: Sequence[int], dropout: float):
        super().__init__()
        self.n_experts = n_experts
        self.first = nn.Linear(n_in, n_experts * hidden[0])
        sizes = list(pairwise(hidden))
        self.weights = nn.ParameterList(uniform(n_experts, a, b, fan_in=a) for a, b in sizes)
        self.biases = nn.ParameterList(uniform(n_experts, 1, b, fan_in=a) for a, b in sizes)
        self.dropout = Dropout(dropout)

    def forward(self, x_BX: torch.Tensor, start: int = 0, stop: int | None = None) -> torch.Tensor:
        """All experts, or those from `start` to before `stop`."""
        weight_KHX = self.first.weight.unflatten(0, (self.n_experts, -1))[start:stop]
        bias_KH = self.first.bias.unflatten(0, (self.n_experts, -1))[start:stop]
        h_BX = nn.functional.linear(x_BX, weight_KHX.flatten(0, 1), bias_KH.flatten())
        h_BKH = self.dropout(h_BX.relu()).unflatten(1, bias_KH.shape)
        if not len(self.weights):
            return h_BKH
        h_KBH = h_BKH.transpose(0, 1)
        for weight_KHD, bias_K1D in zip(self.weights, self.biases, strict=True):
            h_KBH = self.dropout(torch.baddbmm(bias_K1D[start:stop], h_KBH, weight_KHD[start:stop]).relu())
        return h_KBH.transpose(0, 1)


class Extraction(nn.Module):
    """One level of progressive layered extraction: shared experts, and some for each scene alone.

    A row passes the shared experts and its own scene's; both gates mix those. The last level has no shared gate.
    Shapes: own_BX, shared_BX, scene_B -> own_BD, shared_BD.
    Source: Tang et al. 2020, eq. 1 to 5. Differs from it: the gate of the shared experts doesn't see the private
    experts of other scenes, since a row belongs to one scene and those learn from their own scene's rows alone.
    """

    def __init__(
        self, n_in: int, n_scenes: int, n_shared: int, n_private: int, hidden: Sequence[int], dropout: float, last: bool
    ):
        super().__init__()
        self.n_scenes = n_scenes
        self.shared = Experts(n_in, n_shared, hidden, dropout)
        self.private = Experts(n_in, n_scenes * n_private, hidden, dropout) if n_private else None
        self.own_gates = SceneGates(n_in, n_scenes, n_shared + n_private)
        self.shared_gate = None if last else nn.Linear(n_in, n_shared + n_private)

    def forward(
        self, own_BX: torch.Tensor, shared_BX: torch.Tensor, scene_B: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        experts_BKD = self.shared(shared_BX)
        if self.private is not None:
            private_BX = by_scene(scene_B, self.n_scenes, own_BX, self._private, self._privates)
            private_BPD = private_BX.unflatten(1, (-1, experts_BKD.shape[2]))
            experts_BKD = torch.cat([experts_BKD, private_BPD], 1)
        own_BD = mix(self.own_gates(own_BX, scene_B), experts_BKD)
        if self.shared_gate is None:
            return own_BD, own_BD
        return own_BD, mix(self.shared_gate(shared_BX).softmax(1), experts_BKD)

    def _private(self, scene: int, x_bX: torch.Tensor) -> torch.Tensor:
        assert self.private is not None
        n = self.private.n_experts // self.n_scenes
        return self.private(x_bX, scene * n, (scene + 1) * n).flatten(1)

    def _privates(self, x_BX: torch.Tensor) -> torch.Tensor:
        assert self.private is not None
        return self.private(x_BX).unflatten(1, (self.n_scenes, -1)).flatten(2)


class ExtractionLevels(nn.ModuleList):
    """Levels of extraction, one upon the other; what comes out is the row's own side of the last.

    Shapes: x_BX, scene_B -> (B, D), D the last of `hidden`.
    """

    def __init__(
        self,
        n_in: int,
        n_scenes: int,
        n_shared: int,
        n_private: int,
        levels: int,
        hidden: Sequence[int],
        dropout: float,
    ):
        widths = [n_in, *[hidden[-1]] * (levels - 1)]
        super().__init__(
            Extraction(width, n_scenes, n_shared, n_private, hidden, dropout, last=level == levels - 1)
            for level, width in enumerate(widths)
        )

    def forward(self, x_BX: torch.Tensor, scene_B: torch.Tensor) -> torch.Tensor:
        own_BD, shared_BD = x_BX, x_BX
        for level in self:
            own_BD, shared_BD = level(own_BD, shared_BD, scene_B)
        return own_BD
