"""02_mmoe: shared experts; each scene mixes them its own way and has a tower of its own."""

from __future__ import annotations

import torch
from torch import nn

from trainer.inputs.batch import Batch, Sizes
from trainer.models import keys
from trainer.models.layers import Dropout, Experts, SceneGates, SceneTowers, embedding_table, mix


class Config(keys.ModelConfig):
    """Experts that all scenes share, mixed by a gate per scene."""

    embedding_dim: keys.EmbeddingDim
    hidden: keys.Hidden
    dropout: keys.Dropped
    embedding_dropout: keys.EmbeddingDropped
    experts: keys.Experts
    tower: keys.Tower


class MMoE(nn.Module):
    """Multi-gate mixture of experts, with scenes as tasks.

    Differs from 01_dnn in the body, which is several experts that a scene's gate mixes, and in the towers; collapses to
    it with one expert and towers without hidden layers.
    Legend: B rows, F id and category fields, E embedding size, X input width, K experts, D their last size.
    Source: Ma et al. 2018, eq. 5 to 7. Differs from it: a row has one task, so only that gate and tower are used.
    """

    def __init__(self, sizes: Sizes, config: Config):
        super().__init__()
        self.embeddings = embedding_table(sizes.n_embeddings, config.embedding_dim)
        self.scenes = nn.Embedding(sizes.n_scenes, config.embedding_dim)
        self.embedding_dropout = Dropout(config.embedding_dropout)
        width = (sizes.n_fields + 1) * config.embedding_dim + sizes.n_dense
        self.experts = Experts(width, config.experts, config.hidden, config.dropout)
        self.gates = SceneGates(width, sizes.n_scenes, config.experts)
        self.towers = SceneTowers(config.hidden[-1], sizes.n_scenes, config.tower, config.dropout)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Shapes: batch of B rows -> logits_B, float32."""
        e_BFE = self.embeddings(batch.ids_BF)
        x_BX = torch.cat([self.embedding_dropout(e_BFE).flatten(1), self.scenes(batch.scene_B), batch.dense_BX], 1)
        mixed_BD = mix(self.gates(x_BX, batch.scene_B), self.experts(x_BX))
        return self.towers(mixed_BD, batch.scene_B)
