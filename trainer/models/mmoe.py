"""02_mmoe: shared experts; each scene mixes them its own way and has a tower of its own."""

from __future__ import annotations

import torch
from torch import nn

from trainer.inputs.batch import Batch, Sizes
from trainer.models.layers import Dropout, Experts, SceneGates, SceneTowers, embedding_table, mix


class MMoE(nn.Module):
    """Multi-gate mixture of experts, with scenes as tasks.

    Differs from 01_dnn in the body, which is several experts that a scene's gate mixes, and in the towers; collapses to
    it with one expert and towers without hidden layers.
    Legend: B rows, F id and category fields, E embedding size, X input width, K experts, D their last size.
    Source: Ma et al. 2018, eq. 5 to 7. Differs from it: a row has one task, so only that gate and tower are used.
    """

    def __init__(
        self, sizes: Sizes, embedding_dim: int, experts: int, hidden: tuple[int, ...], tower: tuple[int, ...],
        dropout: float, embedding_dropout: float,
    ):  # fmt: skip
        super().__init__()
        self.embeddings = embedding_table(sizes.n_embeddings, embedding_dim)
        self.scenes = nn.Embedding(sizes.n_scenes, embedding_dim)
        self.embedding_dropout = Dropout(embedding_dropout)
        width = (sizes.n_fields + 1) * embedding_dim + sizes.n_dense
        self.experts = Experts(width, experts, hidden, dropout)
        self.gates = SceneGates(width, sizes.n_scenes, experts)
        self.towers = SceneTowers(hidden[-1], sizes.n_scenes, tower, dropout)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Shapes: batch of B rows -> logits_B, float32."""
        e_BFE = self.embeddings(batch.ids_BF)
        x_BX = torch.cat([self.embedding_dropout(e_BFE).flatten(1), self.scenes(batch.scene_B), batch.dense_BX], 1)
        mixed_BD = mix(self.gates(x_BX, batch.scene_B), self.experts(x_BX))
        return self.towers(mixed_BD, batch.scene_B)
