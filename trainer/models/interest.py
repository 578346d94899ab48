"""09_interest: what the user did with their latest items, those like this one above all."""

from __future__ import annotations

import torch
from torch import nn

from trainer.inputs.batch import Batch, Sizes
from trainer.models import keys
from trainer.models.layers import (
    Dropout,
    ExtractionLevels,
    HistoryAttention,
    SceneTowers,
    TextJoin,
    embedding_table,
)


class Config(keys.ModelConfig):
    """Attention over the user's latest outcomes."""

    reads = frozenset({"history"})
    may_read = frozenset({"texts"})

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
    attention: keys.AttentionSize
    heads: keys.Heads
    history_dropout: keys.HistoryDropped


class Interest(nn.Module):
    """Progressive layered extraction that reads texts and the user's latest outcomes.

    Differs from 04_semantic in the input, which attention over the latest outcomes joins; collapses to it where no
    row has a history.
    Legend: B rows, F id and category fields, E embedding size, X input width.
    Source: Zhou et al. 2018. What differs from it is said at OutcomeAttention.
    """

    def __init__(self, sizes: Sizes, config: Config):
        super().__init__()
        self.embeddings = embedding_table(sizes.n_embeddings, config.embedding_dim)
        self.scenes = nn.Embedding(sizes.n_scenes, config.embedding_dim)
        self.embedding_dropout = Dropout(config.embedding_dropout)
        self.texts = None
        if sizes.text_dim:
            self.texts = TextJoin(len(sizes.text_groups), sizes.text_dim, config.text_size, config.text_dropout)
        self.history = HistoryAttention(
            sizes,
            config.embedding_dim,
            config.attention,
            config.heads,
            config.embedding_dropout,
            config.text_dropout,
            config.history_dropout,
        )
        width = (sizes.n_fields + 1) * config.embedding_dim + sizes.n_dense
        width += self.history.width + (self.texts.width if self.texts else 0)
        self.levels = ExtractionLevels(
            width, sizes.n_scenes, config.shared, config.private, config.levels, config.hidden, config.dropout
        )
        self.towers = SceneTowers(config.hidden[-1], sizes.n_scenes, config.tower, config.dropout)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Shapes: batch of B rows -> logits_B, float32."""
        e_BFE = self.embeddings(batch.ids_BF)
        text_BX = [self.texts(batch.text_BTV, batch.text_there_BT)] if self.texts else []
        history_BX = self.history(batch, e_BFE, self.embeddings)
        kept_BFE = self.embedding_dropout(e_BFE)
        e_BX, scene_BE = kept_BFE.flatten(1), self.scenes(batch.scene_B)
        x_BX = torch.cat([e_BX, scene_BE, batch.dense_BX, *text_BX, history_BX], 1)
        return self.towers(self.levels(x_BX, batch.scene_B), batch.scene_B)
