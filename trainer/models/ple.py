"""03_ple: experts of a scene's own beside the shared ones, in levels."""

from __future__ import annotations

import torch
from torch import nn

from trainer.inputs.batch import Batch, Sizes
from trainer.models import keys
from trainer.models.layers import Dropout, ExtractionLevels, SceneTowers, embedding_table


class Config(keys.ModelConfig):
    """Shared experts and experts of each scene alone, in levels."""

    embedding_dim: keys.EmbeddingDim
    hidden: keys.Hidden
    dropout: keys.Dropped
    embedding_dropout: keys.EmbeddingDropped
    shared: keys.SharedExperts
    private: keys.PrivateExperts
    levels: keys.Levels
    tower: keys.Tower


class PLE(nn.Module):
    """Progressive layered extraction, with scenes as tasks.

    Differs from 02_mmoe in the private experts, which learn from their own scene's rows alone, and in the levels;
    collapses to it with one level and no private experts.
    Legend: B rows, F id and category fields, E embedding size, X input width, D an expert's last size.
    Source: Tang et al. 2020. What differs from it is said at Extraction.
    """

    def __init__(self, sizes: Sizes, config: Config):
        super().__init__()
        self.embeddings = embedding_table(sizes.n_embeddings, config.embedding_dim)
        self.scenes = nn.Embedding(sizes.n_scenes, config.embedding_dim)
        self.embedding_dropout = Dropout(config.embedding_dropout)
        width = (sizes.n_fields + 1) * config.embedding_dim + sizes.n_dense
        self.levels = ExtractionLevels(
            width, sizes.n_scenes, config.shared, config.private, config.levels, config.hidden, config.dropout
        )
        self.towers = SceneTowers(config.hidden[-1], sizes.n_scenes, config.tower, config.dropout)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Shapes: batch of B rows -> logits_B, float32."""
        e_BFE = self.embeddings(batch.ids_BF)
        x_BX = torch.cat([self.embedding_dropout(e_BFE).flatten(1), self.scenes(batch.scene_B), batch.dense_BX], 1)
        return self.towers(self.levels(x_BX, batch.scene_B), batch.scene_B)
