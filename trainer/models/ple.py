"""03_ple: experts of a scene's own beside the shared ones, in levels."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from trainer.inputs.batch import Batch, Sizes
from trainer.models.layers import Dropout, Extraction, SceneTowers, embedding_table


class PLE(nn.Module):
    """Progressive layered extraction, with scenes as tasks.

    Differs from 02_mmoe in the private experts, which learn from their own scene's rows alone, and in the levels;
    collapses to it with one level and no private experts.
    Legend: B rows, F id and category fields, E embedding size, X input width, D an expert's last size.
    Source: Tang et al. 2020. What differs from it is said at Extraction.
    """

    def __init__(
        self, sizes: Sizes, embedding_dim: int, shared: int, private: int, levels: int, hidden: tuple[int, ...],
        tower: tuple[int, ...], dropout: float, embedding_dropout: float,
    ):  # fmt: skip
        super().__init__()
        self.embeddings = embedding_table(sizes.n_embeddings, embedding_dim)
        self.scenes = nn.Embedding(sizes.n_scenes, embedding_dim)
        self.embedding_dropout = Dropout(embedding_dropout)
        width = (sizes.n_fields + 1) * embedding_dim + sizes.n_dense
        self.levels = nn.ModuleList(
            Extraction(n_in, sizes.n_scenes, shared, private, hidden, dropout, last=level == levels - 1)
            for level, (n_in, _) in enumerate(pairwise([width, *[hidden[-1]] * levels]))
        )
        self.towers = SceneTowers(hidden[-1], sizes.n_scenes, tower, dropout)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Shapes: batch of B rows -> logits_B, float32."""
        e_BFE = self.embeddings(batch.ids_BF)
        x_BX = torch.cat([self.embedding_dropout(e_BFE).flatten(1), self.scenes(batch.scene_B), batch.dense_BX], 1)
        own_BD, shared_BD = x_BX, x_BX
        for level in self.levels:
            own_BD, shared_BD = level(own_BD, shared_BD, batch.scene_B)
        return self.towers(own_BD, batch.scene_B)
