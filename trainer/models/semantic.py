"""04_semantic: what the texts say joins the ids and the numbers."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from trainer.inputs.batch import Batch, Sizes
from trainer.models.layers import Dropout, Extraction, SceneTowers, TextJoin, embedding_table


class Semantic(nn.Module):
    """Progressive layered extraction that reads texts too.

    Differs from 03_ple in the input, which the whitened vectors of the item's and the user's texts join, each with a
    flag; collapses to it where no row has a text.
    Legend: B rows, F id and category fields, E embedding size, X input width, D an expert's last size, T text columns,
    V dimensions of a text vector.
    Source: Su et al. 2021 for the whitening; the joining is plain.
    """

    def __init__(
        self, sizes: Sizes, embedding_dim: int, text_size: int, shared: int, private: int, levels: int,
        hidden: tuple[int, ...], tower: tuple[int, ...], dropout: float, embedding_dropout: float, text_dropout: float,
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

    def forward(self, batch: Batch) -> torch.Tensor:
        """Shapes: batch of B rows -> logits_B, float32."""
        e_BFE = self.embeddings(batch.ids_BF)
        text_BX = self.texts(batch.text_BTV, batch.text_there_BT)
        x_BX = torch.cat(
            [self.embedding_dropout(e_BFE).flatten(1), self.scenes(batch.scene_B), batch.dense_BX, text_BX], 1
        )
        own_BD, shared_BD = x_BX, x_BX
        for level in self.levels:
            own_BD, shared_BD = level(own_BD, shared_BD, batch.scene_B)
        return self.towers(own_BD, batch.scene_B)
