"""07_star: one network for all scenes, each of its weights multiplied by one of the scene's own."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from trainer.inputs.batch import Batch, Sizes
from trainer.models import keys
from trainer.models.layers import Dropout, StarLinear, by_scene, embedding_table, mlp


class Config(keys.ModelConfig):
    """Weights of a scene times shared weights."""

    embedding_dim: keys.EmbeddingDim
    hidden: keys.Hidden
    dropout: keys.Dropped
    embedding_dropout: keys.EmbeddingDropped
    auxiliary: Annotated[int, Field(ge=1, description="Hidden width of the network that sees the scene alone.")]


class STAR(nn.Module):
    """Star topology adaptive recommender, with scenes as domains.

    Differs from 01_dnn in the body and head, whose weights are shared ones times the scene's own, in the input's scale
    and shift by scene, and in a small network that reads the scene alone; collapses to it, with one head for all
    scenes, where the scene's weights are 1 (kept as their difference from 1) and its shifts 0.
    Legend: B rows, F id and category fields, E embedding size, X input width, H hidden size.
    Source: Sheng et al. 2021, eq. 2 to 9. Differs from it: no batch statistics in the partitioned normalisation
    (numbers are standardised on train rows already, and a row's logit shouldn't depend on its neighbours in a batch).
    """

    def __init__(self, sizes: Sizes, config: Config):
        super().__init__()
        self.embeddings = embedding_table(sizes.n_embeddings, config.embedding_dim)
        self.scenes = nn.Embedding(sizes.n_scenes, config.embedding_dim)
        self.embedding_dropout = Dropout(config.embedding_dropout)
        width = (sizes.n_fields + 1) * config.embedding_dim + sizes.n_dense
        self.scale = nn.Embedding.from_pretrained(torch.zeros(sizes.n_scenes, width), freeze=False)
        self.shift = nn.Embedding.from_pretrained(torch.zeros(sizes.n_scenes, width), freeze=False)
        self.layers = nn.ModuleList(StarLinear(a, b, sizes.n_scenes) for a, b in pairwise([width, *config.hidden, 1]))
        self.dropout = Dropout(config.dropout)
        self.auxiliary = nn.Sequential(
            mlp([config.embedding_dim, config.auxiliary], 0.0), nn.Linear(config.auxiliary, 1)
        )

    def forward(self, batch: Batch) -> torch.Tensor:
        """Shapes: batch of B rows -> logits_B, float32."""
        e_BFE = self.embeddings(batch.ids_BF)
        scene_BE = self.scenes(batch.scene_B)
        x_BH = torch.cat([self.embedding_dropout(e_BFE).flatten(1), scene_BE, batch.dense_BX], 1)
        x_BH = x_BH * (1 + self.scale(batch.scene_B)) + self.shift(batch.scene_B)
        body_B1 = by_scene(batch.scene_B, self.scenes.num_embeddings, x_BH, self._body, self._bodies)
        return (body_B1 + self.auxiliary(scene_BE))[:, 0]

    def _body(self, scene: int, x_bH: torch.Tensor) -> torch.Tensor:
        for layer in self.layers[:-1]:
            x_bH = self.dropout(layer(scene, x_bH).relu())
        return self.layers[-1](scene, x_bH)

    def _bodies(self, x_BH: torch.Tensor) -> torch.Tensor:
        *hidden, last = (layer for layer in self.layers if isinstance(layer, StarLinear))
        x_SBH = x_BH.expand(self.scenes.num_embeddings, -1, -1)
        for layer in hidden:
            x_SBH = self.dropout(layer.every(x_SBH).relu())
        return last.every(x_SBH).transpose(0, 1)
