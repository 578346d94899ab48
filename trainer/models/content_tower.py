"""05_content_tower: a tower on the texts beside the structured one; alpha says how much each is heard."""

from __future__ import annotations

import torch
from torch import nn

from trainer.inputs.batch import Batch, Sizes
from trainer.models import keys
from trainer.models.layers import (
    Dropout,
    ExtractionLevels,
    SceneTowers,
    TextJoin,
    embedding_table,
    one_hot_levels,
)


class Config(keys.ModelConfig):
    """Beside it a tower per scene on the texts alone, mixed by alpha."""

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
    content: keys.ContentTowerWidths
    gate: keys.GateWidths


class ContentTower(nn.Module):
    """logit = (1 - alpha) * structured + alpha * content, alpha in (0, 1) for each row, by its scene.

    Differs from 04_semantic in the content tower, which sees the texts alone, and in alpha, which is decided by the
    texts and by how cold user and item are; collapses to it where alpha is 0.
    Legend: B rows, F id and category fields, E embedding size, X input width, D an expert's last size, T text columns,
    V dimensions of a text vector, G = 2 levels.
    Source: none; the mix is a learnt linear pooling of two logits.
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
        self.content_texts = TextJoin(len(sizes.text_groups), sizes.text_dim, config.text_size, config.text_dropout)
        self.content = SceneTowers(self.content_texts.width, sizes.n_scenes, config.content, config.dropout)
        self.gate = SceneTowers(self.content_texts.width + 8, sizes.n_scenes, config.gate, config.dropout)
        nn.init.constant_(self.gate.last.bias, -2)  # the content has to earn its part

    def forward(self, batch: Batch) -> torch.Tensor:
        """Shapes: batch of B rows -> logits_B, float32."""
        alpha_B, content_B = self.alpha_and_content(batch)
        return (1 - alpha_B) * self.structured(batch) + alpha_B * content_B

    def structured(self, batch: Batch) -> torch.Tensor:
        """The logit of 04_semantic. Shapes: -> (B,)."""
        e_BFE = self.embeddings(batch.ids_BF)
        text_BX = self.texts(batch.text_BTV, batch.text_there_BT)
        x_BX = torch.cat(
            [self.embedding_dropout(e_BFE).flatten(1), self.scenes(batch.scene_B), batch.dense_BX, text_BX], 1
        )
        return self.towers(self.levels(x_BX, batch.scene_B), batch.scene_B)

    def alpha_and_content(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """How much the content is heard, and what it says. Shapes: -> alpha_B in (0, 1), logits_B."""
        text_BX = self.content_texts(batch.text_BTV, batch.text_there_BT)
        assert batch.level_BG is not None
        gate_BX = torch.cat([text_BX, one_hot_levels(batch.level_BG)], 1)
        return self.gate(gate_BX, batch.scene_B).sigmoid(), self.content(text_BX, batch.scene_B)
