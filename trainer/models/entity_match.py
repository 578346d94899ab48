"""12_entity_match: the user's and the item's texts, multiplied in one space that needs no learning."""

from __future__ import annotations

import torch
from torch import nn

from trainer.inputs.batch import Batch, Sizes
from trainer.models import keys
from trainer.models.layers import Dropout, Experts, SceneGates, SceneTowers, SpaceMatch, embedding_table, mix


class Config(keys.ModelConfig):
    """Shared experts, and the texts of user and item multiplied in their own space."""

    reads = frozenset({"texts"})

    embedding_dim: keys.EmbeddingDim
    hidden: keys.Hidden
    dropout: keys.Dropped
    embedding_dropout: keys.EmbeddingDropped
    experts: keys.Experts
    tower: keys.Tower
    text_dropout: keys.TextDropped


class EntityMatch(nn.Module):
    """Multi-gate mixture of experts that reads the match of the user's texts with the item's.

    Differs from 02_mmoe in the input, which the match joins; collapses to it where no row has a text on both sides.
    Differs from 10_match in the match, which is of texts alone and has no weights of its own.
    Legend: B rows, F id and category fields, E embedding size, X input width, K experts, D their last size.
    Source: Ma et al. 2018 for the experts; He et al. 2017, eq. 8, for keeping the elements of the product.
    """

    def __init__(self, sizes: Sizes, config: Config):
        super().__init__()
        self.embeddings = embedding_table(sizes.n_embeddings, config.embedding_dim)
        self.scenes = nn.Embedding(sizes.n_scenes, config.embedding_dim)
        self.embedding_dropout = Dropout(config.embedding_dropout)
        self.match = SpaceMatch(sizes, config.text_dropout)
        width = (sizes.n_fields + 1) * config.embedding_dim + sizes.n_dense + self.match.width
        self.experts = Experts(width, config.experts, config.hidden, config.dropout)
        self.gates = SceneGates(width, sizes.n_scenes, config.experts)
        self.towers = SceneTowers(config.hidden[-1], sizes.n_scenes, config.tower, config.dropout)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Shapes: batch of B rows -> logits_B, float32."""
        e_BX = self.embedding_dropout(self.embeddings(batch.ids_BF)).flatten(1)
        match_BX = self.match(batch.text_BTV)
        x_BX = torch.cat([e_BX, self.scenes(batch.scene_B), batch.dense_BX, match_BX], 1)
        mixed_BD = mix(self.gates(x_BX, batch.scene_B), self.experts(x_BX))
        return self.towers(mixed_BD, batch.scene_B)
