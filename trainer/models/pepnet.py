"""08_pepnet: gates that know the scene scale the embeddings, gates that know user and item scale the hidden layers."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from trainer.inputs.batch import Batch, Sizes
from trainer.models import keys
from trainer.models.layers import Dropout, PriorGate, SceneHeads, embedding_table, take_fields


class Config(keys.ModelConfig):
    """Gates by scene and by ids on embeddings and hidden units."""

    embedding_dim: keys.EmbeddingDim
    hidden: keys.Hidden
    dropout: keys.Dropped
    embedding_dropout: keys.EmbeddingDropped
    gate: Annotated[int, Field(ge=1, description="Hidden width of the gates.")]


class PEPNet(nn.Module):
    """Parameter and embedding personalised network, with scenes as domains.

    Differs from 01_dnn in the gates: EPNet's on the embeddings, by scene, and PPNet's on each hidden layer, by user and
    item; collapses to it where all gates are 1.
    Legend: B rows, F id and category fields, I id fields, E embedding size, X input width, H hidden size.
    Source: Chang et al. 2023, eq. 1 to 7. Differs from it: one tower with a head a scene, since scenes are domains here
    and the label is one task.
    """

    def __init__(self, sizes: Sizes, config: Config):
        super().__init__()
        self.embeddings = embedding_table(sizes.n_embeddings, config.embedding_dim)
        self.scenes = nn.Embedding(sizes.n_scenes, config.embedding_dim)
        self.embedding_dropout = Dropout(config.embedding_dropout)
        self.id_fields = list(sizes.id_fields)
        fields = sizes.n_fields * config.embedding_dim
        width = fields + config.embedding_dim + sizes.n_dense
        self.embedding_gate = PriorGate(config.embedding_dim, fields, config.gate, fields)
        self.body = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise([width, *config.hidden]))
        prior = len(self.id_fields) * config.embedding_dim + config.embedding_dim
        self.gates = nn.ModuleList(PriorGate(prior, width, config.gate, n) for n in config.hidden)
        self.dropout = Dropout(config.dropout)
        self.heads = SceneHeads(config.hidden[-1], sizes.n_scenes)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Shapes: batch of B rows -> logits_B, float32."""
        e_BFE = self.embedding_dropout(self.embeddings(batch.ids_BF))
        scene_BE = self.scenes(batch.scene_B)
        gated_BX = e_BFE.flatten(1) * self.embedding_gate(scene_BE, e_BFE.flatten(1))
        x_BX = torch.cat([gated_BX, scene_BE, batch.dense_BX], 1)
        prior_BX = torch.cat([take_fields(e_BFE, self.id_fields).flatten(1), scene_BE], 1)
        h_BH = x_BX
        for layer, gate in zip(self.body, self.gates, strict=True):
            h_BH = self.dropout(layer(h_BH).relu()) * gate(prior_BX, x_BX)
        return self.heads(h_BH, batch.scene_B)
