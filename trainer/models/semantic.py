"""04_semantic: what the texts say joins the ids and the numbers."""

from __future__ import annotations

import torch
from torch import nn

from trainer.inputs.batch import Batch, Sizes
from trainer.models import keys
from trainer.models.layers import Dropout, ExtractionLevels, SceneTowers, TextJoin, embedding_table


class Config(keys.ModelConfig):
    """PLE with texts among its inputs."""

    reads = frozenset({"texts"})

    embedding_dim: keys.EmbeddingDim
    hidden: keys.Hidden
    dropout: keys.Dropped
    embedding_dropout: keys.EmbeddingDropped
    shared: keys.SharedExperts
    private: keys.PrivateExperts
    levels: keys.Levels
    tower: keys.Tower
    text_size: keys.TextSize
    text_dropout: keys.TextDropped


class Semantic(nn.Module):
    """Progressive layered extraction that reads texts too.

    Differs from 03_ple in the input, which the whitened vectors of the item's and the user's texts join, each with a
    flag; collapses to it where no row has a text.
    Legend: B rows, F id and category fields, E embedding size, X input width, D an expert's last size, T text columns,
    V dimensions of a text vector.
    Source: Su et al. 2021 for the whitening; the joining is plain.
    """

    def __init__(self, sizes: Sizes, config: Config):
        super().__init__()
        self.embeddings = embedding_table(sizes.n_embeddings, config.embedding_dim)
        self.scenes = nn.Embedding(sizes.n_scenes, config.embedding_dim)
        self.embedding_dropout = Dropout(config.embedding_dropout)
        self.texts = TextJoin(len(sizes.text_groups), sizes.text_dim, config.text_size, config.text_dropout)
        width = self.texts.width + (sizes.n_fields + 1) * config.embedding_dim + sizes.n_dense
        self.levels = ExtractionLevels(
            width, sizes.n_scenes, config.shared, config.private, config.levels, config.hidden, config.dropout
        )
        self.towers = SceneTowers(config.hidden[-1], sizes.n_scenes, config.tower, config.dropout)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Shapes: batch of B rows -> logits_B, float32."""
        e_BFE = self.embeddings(batch.ids_BF)
        text_BX = self.texts(batch.text_BTV, batch.text_there_BT)
        x_BX = torch.cat(
            [self.embedding_dropout(e_BFE).flatten(1), self.scenes(batch.scene_B), batch.dense_BX, text_BX], 1
        )
        return self.towers(self.levels(x_BX, batch.scene_B), batch.scene_B)
