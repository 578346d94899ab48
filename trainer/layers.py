"""What models see and the small layers they share.

Legend: B rows, F id and category fields, E embedding size, X dense width, H hidden size, S scenes, T columns of text
ids, V text dimensions, L outcomes in a history, U distinct items or texts of a batch's histories.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn


@dataclass(frozen=True)
class Batch:
    """B rows as tensors. What a stage doesn't read is None.

    ids_BF:   int64, rows of the one embedding table; a field's rows start at its offset with its UNSEEN row
    dense_BX: float32, the D standardised numbers, then the missing flags
    scene_B:  int64
    label_B:  float32
    level_BG: int64, how much is known of the user and of the item (G = 2, in this order): 0 zero, 1 few, 2 warm,
        3 unknown

    Texts, already gathered: a column's vectors, whitened, told from the column's mean, averaged over the row's list.
    text_BTV:       float32; zero, the mean, where the row has no text with a vector
    text_there_BT:  float32, 1 where it has one
    llm_BTV, llm_there_BT: the same by the language model, for cold rows (user or item zero or few) only; 0 elsewhere

    The user's latest known outcomes, the most recent first, as tables of what is distinct in the batch and positions:
    past_item_U:    int64, rows of the embedding table, in the item id's field
    past_item_BL:   int64, positions in past_item_U
    past_text_UV:   float32, text vectors as above, without averaging; None where the mart lists no texts
    past_text_BL:   int64, positions in past_text_UV
    past_label_BL:  int64, 0 or 1
    past_there_BL:  float32, 1 where there is such an outcome; the other tensors hold 0 where there isn't
    """

    ids_BF: torch.Tensor
    dense_BX: torch.Tensor
    scene_B: torch.Tensor
    label_B: torch.Tensor
    level_BG: torch.Tensor | None = None
    text_BTV: torch.Tensor | None = None
    text_there_BT: torch.Tensor | None = None
    llm_BTV: torch.Tensor | None = None
    llm_there_BT: torch.Tensor | None = None
    past_item_U: torch.Tensor | None = None
    past_item_BL: torch.Tensor | None = None
    past_text_UV: torch.Tensor | None = None
    past_text_BL: torch.Tensor | None = None
    past_label_BL: torch.Tensor | None = None
    past_there_BL: torch.Tensor | None = None


@dataclass(frozen=True)
class Sizes:
    """What a model must know of its inputs: embedding rows (all fields), fields F, dense width X, scenes S.

    item_field: the item id's field; id_fields: the user's and the item's. text_groups: the group ("user" or "item") of
    each of the T text columns; text_dim, llm_dim: dimensions V of their vectors, 0 for a stage without. history:
    outcomes L at most, 0 for a stage without; past_texts: whether the outcomes come with texts.
    """

    n_embeddings: int
    n_fields: int
    n_dense: int
    n_scenes: int
    item_field: int = 0
    id_fields: tuple[int, ...] = ()
    text_groups: tuple[str, ...] = ()
    text_dim: int = 0
    llm_dim: int = 0
    history: int = 0
    past_texts: bool = False


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


def mix(gate_BK: torch.Tensor, experts_BKD: torch.Tensor) -> torch.Tensor:
    """Weighted sum of the experts. Shapes: -> (B, D). Source: Ma et al. 2018, eq. 6."""
    return torch.bmm(gate_BK[:, None], experts_BKD)[:, 0]


def own_scene(x_BSD: torch.Tensor, scene_B: torch.Tensor) -> torch.Tensor:
    """What was computed for each row's own scene. Shapes: (B, S, D) -> (B, D)."""
    return x_BSD.gather(1, scene_B[:, None, None].expand(-1, 1, x_BSD.shape[2]))[:, 0]


def by_scene(
    scene_B: torch.Tensor, n_scenes: int, x_BX: torch.Tensor, part: Callable[[int, torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Send each row through its own scene's part, and no other. Shapes: -> (B, D), where part(s, x_bX) is (b, D).

    Rows are grouped by scene: three times as fast as computing all scenes and choosing, and forty times as fast as
    gathering a weight matrix for each row. A graph can't be exported with groups of unknown sizes, so there all are
    computed.
    """
    if torch.compiler.is_exporting():
        return own_scene(torch.stack([part(s, x_BX) for s in range(n_scenes)], 1), scene_B)
    order_B = scene_B.argsort(stable=True)
    sizes = torch.bincount(scene_B, minlength=n_scenes).tolist()
    parts = [part(s, x_bX) for s, x_bX in enumerate(x_BX.index_select(0, order_B).split(sizes))]
    return torch.cat(parts).index_select(0, order_B.argsort())


class Dropout(nn.Module):
    """As nn.Dropout, from one random byte an element: nine times as fast on a CPU. The share is a multiple of 1/256."""

    def __init__(self, share: float):
        super().__init__()
        self.dropped = round(share * 256)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or not self.dropped:
            return x
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64, device=x.device).random_(-(2**63), None)
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= self.dropped
        return x * kept * (256 / (256 - self.dropped))


class Experts(nn.Module):
    """K perceptrons side by side: the first layers in one matmul, each later layer in one batched matmul.

    Shapes: x_BX -> (B, K, D), D the last of `hidden`. Linear, ReLU, dropout in each layer, as in `mlp`.
    """

    def __init__(self, n_in: int, n_experts: int, hidden: Sequence[int], dropout: float):
        super().__init__()
        self.n_experts = n_experts
        self.first = nn.Linear(n_in, n_experts * hidden[0])
        sizes = list(pairwise(hidden))
        self.weights = nn.ParameterList(_uniform(n_experts, a, b, fan_in=a) for a, b in sizes)
        self.biases = nn.ParameterList(_uniform(n_experts, 1, b, fan_in=a) for a, b in sizes)
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


class SceneGates(nn.Module):
    """A softmax over K experts for each scene; a row gets its own scene's. Shapes: x_BX, scene_B -> (B, K)."""

    def __init__(self, n_in: int, n_scenes: int, n_experts: int):
        super().__init__()
        self.n_scenes = n_scenes
        self.gates = nn.Linear(n_in, n_scenes * n_experts)

    def forward(self, x_BX: torch.Tensor, scene_B: torch.Tensor) -> torch.Tensor:
        return own_scene(self.gates(x_BX).unflatten(1, (self.n_scenes, -1)), scene_B).softmax(1)


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

    def forward(self, x_BX: torch.Tensor, scene_B: torch.Tensor) -> torch.Tensor:
        return by_scene(scene_B, self.n_scenes, x_BX, self._tower)[:, 0]

    def _tower(self, scene: int, x_bX: torch.Tensor) -> torch.Tensor:
        for k, layer in enumerate(self.layers):
            n_out = layer.out_features // self.n_scenes
            own = slice(scene * n_out, (scene + 1) * n_out)
            x_bX = nn.functional.linear(x_bX, layer.weight[own], layer.bias[own])
            if k < len(self.layers) - 1:
                x_bX = self.dropout(x_bX.relu())
        return x_bX


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
            private_BX = by_scene(scene_B, self.n_scenes, own_BX, self._private)
            private_BPD = private_BX.unflatten(1, (-1, experts_BKD.shape[2]))
            experts_BKD = torch.cat([experts_BKD, private_BPD], 1)
        own_BD = mix(self.own_gates(own_BX, scene_B), experts_BKD)
        if self.shared_gate is None:
            return own_BD, own_BD
        return own_BD, mix(self.shared_gate(shared_BX).softmax(1), experts_BKD)

    def _private(self, scene: int, x_bX: torch.Tensor) -> torch.Tensor:
        n = self.private.n_experts // self.n_scenes
        return self.private(x_bX, scene * n, (scene + 1) * n).flatten(1)


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


class PriorGate(nn.Module):
    """A scale in (0, 2) for each of n_out numbers, from what is known beforehand; what it scales is only looked at.

    Shapes: prior_BP, seen_BX -> (B, n_out). Source: Chang et al. 2023, eq. 1 (Gate NU, gamma = 2).
    """

    def __init__(self, n_prior: int, n_seen: int, hidden: int, n_out: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_prior + n_seen, hidden), nn.ReLU(), nn.Linear(hidden, n_out))

    def forward(self, prior_BP: torch.Tensor, seen_BX: torch.Tensor) -> torch.Tensor:
        return 2 * self.layers(torch.cat([prior_BP, seen_BX.detach()], 1)).sigmoid()


class TextJoin(nn.Module):
    """Text vectors made small, column by column, and the flags of those that are there; zeros for a row without texts.

    Shapes: vectors_BTV, there_BT -> (B, T * P + T).
    """

    def __init__(self, n_columns: int, n_dims: int, size: int, dropout: float):
        super().__init__()
        self.weight_TVP = _uniform(n_columns, n_dims, size, fan_in=n_dims)
        self.dropout = Dropout(dropout)
        self.width = n_columns * size + n_columns

    def forward(self, vectors_BTV: torch.Tensor, there_BT: torch.Tensor) -> torch.Tensor:
        small_TBP = torch.bmm(self.dropout(vectors_BTV).transpose(0, 1), self.weight_TVP)
        return torch.cat([small_TBP.transpose(0, 1).flatten(1), there_BT], 1)


class OutcomeAttention(nn.Module):
    """What the user did with items like this one: attention over the latest outcomes, clicked and not apart.

    Each of K heads spreads a weight of at most 1 over the outcomes, by how like the candidate they are; the rest stays
    on nothing, so a few that are hardly like it weigh little. It reports, for the clicked and for the others, the
    weight and the weighted sum of the keys.
    Shapes: query_BD, key_BLD, label_BL, there_BL -> (B, K * 2 * (1 + D / K)); zeros for a row without outcomes.
    Source: Zhou et al. 2018, eq. 3. Differs from it: heads with a scaled dot product (Vaswani et al. 2017) in place of
    the activation network, outcomes that were not clicked, and a softmax that may also choose nothing.
    """

    def __init__(self, size: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(size, size)
        self.key = nn.Linear(size, size, bias=False)
        self.width = 2 * (heads + size)

    def forward(
        self, query_BD: torch.Tensor, key_BLD: torch.Tensor, label_BL: torch.Tensor, there_BL: torch.Tensor
    ) -> torch.Tensor:
        query_BKD = self.query(query_BD).unflatten(1, (self.heads, -1))
        key_BKLD = self.key(key_BLD).unflatten(2, (self.heads, -1)).transpose(1, 2)
        score_BKL = (key_BKLD @ query_BKD[..., None])[..., 0] * query_BKD.shape[2] ** -0.5
        score_BKL = score_BKL.masked_fill(there_BL[:, None] == 0, -torch.inf)
        nothing_BK1 = torch.zeros_like(score_BKL[..., :1])
        weight_BKL = torch.cat([score_BKL, nothing_BK1], 2).softmax(2)[..., :-1]
        clicked_BKL = weight_BKL * label_BL[:, None].float()
        weight_BK2L = torch.stack([clicked_BKL, weight_BKL - clicked_BKL], 2)
        return torch.cat([weight_BK2L.sum(3).flatten(1), (weight_BK2L @ key_BKLD).flatten(1)], 1)


class Match(nn.Module):
    """How well the user fits the item: products of the two sides in one space, and cosines of their texts as they are.

    A side is the sum of its id's embedding and its texts, each mapped into the space; the product is kept element by
    element. A cosine, of each of the item's texts with each of the user's, is known before anything is learnt and for
    items and users never seen; it is 0 where either text is missing, whose vector is 0.
    Shapes: e_BFE, vectors_BTV -> (B, D + user texts * item texts).
    Source: Rendle 2010, eq. 1, with texts for values of a field; He et al. 2017, eq. 8, for keeping the elements.
    """

    def __init__(self, sizes: Sizes, embedding_dim: int, size: int, dropout: float):
        super().__init__()
        item_fields = [sizes.item_field]
        self.fields = ([f for f in sizes.id_fields if f not in item_fields], item_fields)
        self.columns = tuple(
            [t for t, group in enumerate(sizes.text_groups) if group == side] for side in ("user", "item")
        )
        self.dropout = Dropout(dropout)
        self.sides = nn.ModuleList(
            nn.Linear(len(fields) * embedding_dim + len(columns) * sizes.text_dim, size)
            for fields, columns in zip(self.fields, self.columns, strict=True)
        )
        users, items = map(len, self.columns)
        self.width = size + users * items

    def forward(self, e_BFE: torch.Tensor, vectors_BTV: torch.Tensor) -> torch.Tensor:
        unit_BTV = nn.functional.normalize(vectors_BTV, dim=2)
        users, items = self.columns
        cosine_BP = (unit_BTV[:, users] @ unit_BTV[:, items].transpose(1, 2)).flatten(1)
        heard_BTV = self.dropout(unit_BTV)
        side_BD = [
            linear(torch.cat([e_BFE[:, fields].flatten(1), heard_BTV[:, columns].flatten(1)], 1))
            for linear, fields, columns in zip(self.sides, self.fields, self.columns, strict=True)
        ]
        return torch.cat([side_BD[0] * side_BD[1], cosine_BP], 1)


def one_hot_levels(level_BG: torch.Tensor) -> torch.Tensor:
    """Shapes: (B, G) of 0 .. 3 -> (B, G * 4), float32."""
    return nn.functional.one_hot(level_BG, 4).flatten(1).float()


def _uniform(*shape: int, fan_in: int) -> nn.Parameter:
    """Weights as nn.Linear draws them."""
    return nn.Parameter(torch.empty(shape).uniform_(-(fan_in**-0.5), fan_in**-0.5))


class SceneHeads(nn.Module):
    """One linear head a scene; a row gets its own scene's.

    Shapes: x_BH, scene_B -> logits_B. Gradients reach a head from its own scene's rows only.
    """

    def __init__(self, n_hidden: int, n_scenes: int):
        super().__init__()
        self.heads = nn.Linear(n_hidden, n_scenes)

    def forward(self, x_BH: torch.Tensor, scene_B: torch.Tensor) -> torch.Tensor:
        return self.heads(x_BH).gather(1, scene_B[:, None])[:, 0]
