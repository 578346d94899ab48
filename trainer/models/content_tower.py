"""05_content_tower: a tower on the texts beside the structured one; alpha says how much each is heard."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from trainer.inputs.batch import Batch, Sizes
from trainer.models.layers import Dropout, Extraction, SceneTowers, TextJoin, embedding_table, one_hot_levels


class ContentTower(nn.Module):
    """logit = (1 - alpha) * structured + alpha * content, alpha in (0, 1) for each row, by its scene.

    Differs from 04_semantic in the content tower, which sees the texts alone, and in alpha, which is decided by the
    texts and by how cold user and item are; collapses to it where alpha is 0.
    Legend: B rows, F id and category fields, E embedding size, X input width, D an expert's last size, T text columns,
    V dimensions of a text vector, G = 2 levels.
    Source: none; the mix is a learnt linear pooling of two logits.
    """

    def __init__(
        self, sizes: Sizes, embedding_dim: int, text_size: int, shared: int, private: int, levels: int,
        hidden: tuple[int, ...], tower: tuple[int, ...], content: tuple[int, ...], gate: tuple[int, ...],
        dropout: float, embedding_dropout: float, text_dropout: float,
    ):  # fmt: skip
        super().__init__()
        self.embeddings = embedding_table(sizes.n_embeddings, embedding_dim)
        self.scenes = nn.Embedding(sizes.n_scenes, embedding_dim)
        self.embedding_dropout = Dropout(embedding_dropout)
        self.texts = TextJoin(len(sizes.text_groups), sizes.text_dim, text_size, text_dropout)
        width = self.texts.width + (sizes.n_fields + 1) * embedding_dim + sizes.n_dense
        self.levels = nn.ModuleList(
            Extraction(n_in, sizes.n_scenes, shared, private, hidden, dropout, last=level == levels - 1)
            for level, (n_in, _) in enumerate(pairwise([width, *[hidden[-1]] * levels]))
        )
        self.towers = SceneTowers(hidden[-1], sizes.n_scenes, tower, dropout)
        self.content_texts = TextJoin(len(sizes.text_groups), sizes.text_dim, text_size, text_dropout)
        self.content = SceneTowers(self.content_texts.width, sizes.n_scenes, content, dropout)
        self.gate = SceneTowers(self.content_texts.width + 8, sizes.n_scenes, gate, dropout)
        nn.init.constant_(self.gate.layers[-1].bias, -2)  # the content has to earn its part

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
        own_BD, shared_BD = x_BX, x_BX
        for level in self.levels:
            own_BD, shared_BD = level(own_BD, shared_BD, batch.scene_B)
        return self.towers(own_BD, batch.scene_B)

    def alpha_and_content(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """How much the content is heard, and what it says. Shapes: -> alpha_B in (0, 1), logits_B."""
        text_BX = self.content_texts(batch.text_BTV, batch.text_there_BT)
        gate_BX = torch.cat([text_BX, one_hot_levels(batch.level_BG)], 1)
        return self.gate(gate_BX, batch.scene_B).sigmoid(), self.content(text_BX, batch.scene_B)
