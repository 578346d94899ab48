"""01_dnn: embeddings and numbers through one body, one head a scene."""

from __future__ import annotations

import torch
from torch import nn

from trainer.inputs.batch import Batch, Sizes
from trainer.models import keys
from trainer.models.layers import SceneHeads, embedding_table, mlp


class Config(keys.ModelConfig):
    """Embeddings and one body, with a head per scene."""

    embedding_dim: keys.EmbeddingDim
    hidden: keys.Hidden
    dropout: keys.Dropped
    embedding_dropout: keys.EmbeddingDropped


class DNN(nn.Module):
    """Shared-bottom network for several scenes.

    Legend: B rows, F id and category fields, E embedding size, X dense width, S scenes, H last hidden size.
    Input of the body: F embeddings of size E, the scene's embedding (E), X numbers.
    Source: the shared-bottom model of Caruana 1997, with scenes as tasks.
    """

    def __init__(self, sizes: Sizes, config: Config):
        super().__init__()
        self.embeddings = embedding_table(sizes.n_embeddings, config.embedding_dim)
        self.scenes = nn.Embedding(sizes.n_scenes, config.embedding_dim)
        self.embedding_dropout = nn.Dropout(config.embedding_dropout)
        width = (sizes.n_fields + 1) * config.embedding_dim + sizes.n_dense
        self.body = mlp([width, *config.hidden], config.dropout)
        self.heads = SceneHeads(config.hidden[-1], sizes.n_scenes)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Shapes: batch of B rows -> logits_B, float32."""
        e_BFE = self.embeddings(batch.ids_BF)
        x_B = torch.cat([self.embedding_dropout(e_BFE).flatten(1), self.scenes(batch.scene_B), batch.dense_BX], 1)
        return self.heads(self.body(x_B), batch.scene_B)
