"""What differs by scene: gates, heads, towers, weights. Legend: B rows, S scenes, X input width, D output width."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import nn

from trainer.models.layers.basic import Dropout


def own_scene(x_BSD: torch.Tensor, scene_B: torch.Tensor) -> torch.Tensor:
    """What was computed for each row's own scene. Shapes: (B, S, D) -> (B, D)."""
    if x_BSD.is_cuda:  # the gradient of a gather is a sort there, that of a product is a product
        own_BS = nn.functional.one_hot(scene_B, x_BSD.shape[1]).to(x_BSD.dtype)
        return torch.bmm(own_BS[:, None], x_BSD)[:, 0]
    return x_BSD.gather(1, scene_B[:, None, None].expand(-1, 1, x_BSD.shape[2]))[:, 0]


def by_scene(
    scene_B: torch.Tensor,
    n_scenes: int,
    x_BX: torch.Tensor,
    part: Callable[[int, torch.Tensor], torch.Tensor],
    every: Callable[[torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """Send each row through its own scene's part, and no other. Shapes: -> (B, D).

    part: (s, x_bX) -> (b, D), what scene s makes of its rows. every: x_BX -> (B, S, D), what all scenes make of all
    rows. On a CPU rows are grouped by scene: three times as fast as computing all scenes and choosing, and forty times
    as fast as gathering a weight matrix for each row. A GPU would be waited for to know the groups' sizes, and a graph
    can't be exported with groups of unknown sizes: there all scenes are computed.
    """
    if x_BX.is_cuda or torch.compiler.is_exporting():
        return own_scene(every(x_BX), scene_B)
    order_B = scene_B.argsort(stable=True)
    sizes = torch.bincount(scene_B, minlength=n_scenes).tolist()
    parts = [part(s, x_bX) for s, x_bX in enumerate(x_BX.index_select(0, order_B).split(sizes))]
    return torch.cat(parts).index_select(0, order_B.argsort())


class SceneGates(nn.Module):
    """A softmax over K experts for each scene; a row gets its own scene's. Shapes: x_BX, scene_B -> (B, K)."""

    def __init__(self, n_in: int, n_scenes: int, n_experts: int):
        super().__init__()
        self.n_scenes = n_scenes
        self.gates = nn.Linear(n_in, n_scenes * n_experts)

    def forward(self, x_BX: torch.Tensor, scene_B: torch.Tensor) -> torch.Tensor:
        return own_scene(self.gates(x_BX).unflatten(1, (self.n_scenes, -1)), scene_B).softmax(1)


class SceneHeads(nn.Module):
    """One linear head a scene; a row gets its own scene's.

    Shapes: x_BH, scene_B -> logits_B. Gradients reach a head from its own scene's rows only.
    """

    def __init__(self, n_hidden: int, n_scenes: int):
        super().__init__()
        self.heads = nn.Linear(n_hidden, n_scenes)

    def forward(self, x_BH: torch.Tensor, scene_B: torch.Tensor) -> torch.Tensor:
        return own_scene(self.heads(x_BH)[..., None], scene_B)[:, 0]


class SceneTowers(nn.Module):
    """A perceptron for each scene, ending in one number; a row goes through its own scene's.

    Without `hidden` it is a linear head.

    Shapes: x_BX, scene_B -> (B,). Gradients reach a tower from its own scene's rows only.
    """

    def __init__(self, n_in: int, n_scenes: int, hidden: Sequence[int], dropout: float):
        super().__init__()
        self.n_scenes = n_scenes
        self.layers = nn.ModuleList(nn.Linear(a, n_scenes * b) for a, b in pairwise([n_in, *hidden, 1]))
        self.dropout = Dropout(dropout)

    @property
    def last(self) -> nn.Linear:
        """The layer whose biases are where the towers' numbers begin."""
        return self._layer(-1)

    def forward(self, x_BX: torch.Tensor, scene_B: torch.Tensor) -> torch.Tensor:
        return by_scene(scene_B, self.n_scenes, x_BX, self._tower, self._towers)[:, 0]

    def _layer(self, k: int) -> nn.Linear:
        layer = self.layers[k]
        assert isinstance(layer, nn.Linear)
        return layer

    def _tower(self, scene: int, x_bX: torch.Tensor) -> torch.Tensor:
        for k in range(len(self.layers)):
            layer = self._layer(k)
            n_out = layer.out_features // self.n_scenes
            own = slice(scene * n_out, (scene + 1) * n_out)
            x_bX = nn.functional.linear(x_bX, layer.weight[own], layer.bias[own])
            if k < len(self.layers) - 1:
                x_bX = self.dropout(x_bX.relu())
        return x_bX

    def _towers(self, x_BX: torch.Tensor) -> torch.Tensor:
        x_SBX = self._layer(0)(x_BX).unflatten(1, (self.n_scenes, -1)).transpose(0, 1)
        for k in range(1, len(self.layers)):
            layer = self._layer(k)
            weight_SDX, bias_SD = (p.unflatten(0, (self.n_scenes, -1)) for p in (layer.weight, layer.bias))
            x_SBX = torch.baddbmm(bias_SD[:, None], self.dropout(x_SBX.relu()), weight_SDX.transpose(1, 2))
        return x_SBX.transpose(0, 1)


class StarLinear(nn.Module):
    """A linear layer whose weights are the shared ones times the scene's, and whose biases add.

    Shapes: a scene's rows x_bX -> (b, H). A scene's weights are kept as their difference from 1, so that weight decay
    draws scenes together and not to nothing.
    Source: Sheng et al. 2021, eq. 5.
    """

    def __init__(self, n_in: int, n_out: int, n_scenes: int):
        super().__init__()
        self.shared = nn.Linear(n_in, n_out)
        self.weight_SHX = nn.Parameter(torch.zeros(n_scenes, n_out, n_in))
        self.bias_SH = nn.Parameter(torch.zeros(n_scenes, n_out))

    def forward(self, scene: int, x_bX: torch.Tensor) -> torch.Tensor:
        weight_HX = self.shared.weight * (1 + self.weight_SHX[scene])
        return nn.functional.linear(x_bX, weight_HX, self.shared.bias + self.bias_SH[scene])

    def every(self, x_SBX: torch.Tensor) -> torch.Tensor:
        """All scenes' rows at once. Shapes: -> (S, B, H)."""
        weight_SHX = self.shared.weight * (1 + self.weight_SHX)
        return torch.baddbmm((self.shared.bias + self.bias_SH)[:, None], x_SBX, weight_SHX.transpose(1, 2))


class PriorGate(nn.Module):
    """A scale in (0, 2) for each of n_out numbers, from what is known beforehand; what it scales is only looked at.

    Shapes: prior_BP, seen_BX -> (B, n_out). Source: Chang et al. 2023, eq. 1 (Gate NU, gamma = 2).
    """

    def __init__(self, n_prior: int, n_seen: int, hidden: int, n_out: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_prior + n_seen, hidden), nn.ReLU(), nn.Linear(hidden, n_out))

    def forward(self, prior_BP: torch.Tensor, seen_BX: torch.Tensor) -> torch.Tensor:
        return 2 * self.layers(torch.cat([prior_BP, seen_BX.detach()], 1)).sigmoid()
