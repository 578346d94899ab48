"""10_match: how well what is known of the user fits what is known of the item."""

from __future__ import annotations

import torch
from torch import nn

from trainer.inputs.batch import Batch, Sizes
from trainer.models import keys
from trainer.models.layers import (
    Dropout,
    ExtractionLevels,
    HistoryAttention,
    Match,
    SceneTowers,
    TextJoin,
    embedding_table,
)


class Config(keys.ModelConfig):
    """The attention, and how well the user fits the item."""

    reads = frozenset({"history", "texts"})

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
    match: keys.MatchSize


class Matching(nn.Module):
    """Progressive layered extraction that reads texts, the user's latest outcomes and the match of user and item.

    Differs from 09_interest in the input, which the match joins: of the user's side (id and texts) with the item's, as
    products and as cosines; collapses to it where the weights on the match are 0.
    Legend: B rows, F id and category fields, E embedding size, X input width.
    Source: Rendle 2010 and He et al. 2017 for the products. What differs from them is said at Match.
    """

    def __init__(self, sizes: Sizes, config: Config):
        super().__init__()
        self.embeddings = embedding_table(sizes.n_embeddings, config.embedding_dim)
        self.scenes = nn.Embedding(sizes.n_scenes, config.embedding_dim)
        self.embedding_dropout = Dropout(config.embedding_dropout)
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
        self.match = Match(sizes, config.embedding_dim, config.match, config.text_dropout)
        width = (sizes.n_fields + 1) * config.embedding_dim + sizes.n_dense
        width += self.history.width + self.texts.width + self.match.width
        self.levels = ExtractionLevels(
            width, sizes.n_scenes, config.shared, config.private, config.levels, config.hidden, config.dropout
        )
        self.towers = SceneTowers(config.hidden[-1], sizes.n_scenes, config.tower, config.dropout)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Shapes: batch of B rows -> logits_B, float32."""
        e_BFE = self.embeddings(batch.ids_BF)
        text_BX = self.texts(batch.text_BTV, batch.text_there_BT)
        history_BX = self.history(batch, e_BFE, self.embeddings)
        kept_BFE = self.embedding_dropout(e_BFE)
        match_BX = self.match(kept_BFE, batch.text_BTV)
        e_BX, scene_BE = kept_BFE.flatten(1), self.scenes(batch.scene_B)
        x_BX = torch.cat([e_BX, scene_BE, batch.dense_BX, text_BX, history_BX, match_BX], 1)
        return self.towers(self.levels(x_BX, batch.scene_B), batch.scene_B)
