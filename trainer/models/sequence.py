"""11_sequence: all of the user's known outcomes, each as the whole row that it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Annotated

import torch
from pydantic import AfterValidator, Field, ValidationInfo
from torch import nn

from trainer.contract.schema import Input
from trainer.inputs.batch import Batch, Outcomes, Sizes
from trainer.models import keys
from trainer.models.layers import Dropout, RecentBlock, Sight, TextJoin, embedding_table, take_fields


def _divides(heads: int, info: ValidationInfo) -> int:
    if info.data.get("embedding_dim", 0) % heads:
        raise ValueError(f"heads must divide embedding_dim, which is {info.data['embedding_dim']}")
    return heads


class Config(keys.ModelConfig):
    """A causal transformer over the user's outcomes."""

    reads = frozenset({"sequence"})
    may_read = frozenset({"texts"})

    embedding_dim: Annotated[int, Field(ge=1, description="Length of an embedding, and width of the transformer.")]
    heads: Annotated[
        int, Field(ge=1, description="Heads of the attention; they divide `embedding_dim`."), AfterValidator(_divides)
    ]
    layers: Annotated[int, Field(ge=1, description="Layers of the transformer.")]
    dropout: keys.Dropped
    head: Annotated[list[keys.Width], Field(description="Widths of the network that reads the transformer.")]
    text_size: keys.TextSize
    text_dropout: keys.TextDropped

    @property
    def reach(self) -> int:
        return self.layers

    def chosen(self, inputs: tuple[Input, ...]) -> tuple[Input, ...]:
        """All but the user's id: a user is what they did."""
        return tuple(i for i in inputs if not (i.is_id and i.group == "user"))


class Sequence(nn.Module):
    """Two streams through the same layers: outcomes, which know what happened, and rows, which ask.

    A row, and an outcome too, attends to the user's outcomes that were known before its own instant, and to nothing
    else of what happened; so the rows of a user are trained in one pass. Collapses to a network on the row alone
    where no outcome is known.
    Legend: B rows, T outcomes of their G users, D width, Q and L as in Outcomes.
    Source: Kang and McAuley 2018; two streams as in Yang et al. 2019 (XLNet); outcomes beside items as in knowledge
    tracing (Ghosh et al. 2020), whose attention also fades with time.
    """

    def __init__(self, sizes: Sizes, config: Config):
        super().__init__()
        size = config.embedding_dim
        self.window = sizes.window
        self.item_field = sizes.item_field
        self.embeddings = embedding_table(sizes.n_embeddings, size)
        self.scenes = nn.Embedding(sizes.n_scenes, size)
        self.texts = None
        if sizes.text_dim:
            self.texts = TextJoin(len(sizes.text_groups), sizes.text_dim, config.text_size, config.text_dropout)
        self.numbers = nn.Linear(sizes.n_dense + (self.texts.width if self.texts else 0), size)
        self.labels = nn.Embedding(2, size)
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(RecentBlock(size, config.heads, config.dropout) for _ in range(config.layers))
        widths = [2 * size, *config.head]
        hidden = [
            layer
            for n_in, n_out in pairwise(widths)
            for layer in (nn.Linear(n_in, n_out), nn.GELU(), Dropout(config.dropout))
        ]
        self.head = nn.Sequential(nn.LayerNorm(2 * size), *hidden, nn.Linear(widths[-1], 1))

    def forward(self, batch: Batch) -> torch.Tensor:
        """Shapes: batch of B rows -> logits_B, float32."""
        assert batch.outcomes is not None, "the stage reads sequences, so the batcher gives them"
        return self.ask(batch, self.remember(batch.outcomes))

    def remember(self, outcomes: Outcomes) -> Iterator[torch.Tensor]:
        """What each layer keeps of the outcomes, whoever asks. Shapes: -> (2, G, H, 1 + L, E) each."""
        own = outcomes.seen_GL
        item_TD, context_TD = self._read(outcomes.rows)
        happened_TD = item_TD + context_TD + self.labels(outcomes.rows.label_B.long())
        memory_GLD = nn.functional.embedding(outcomes.row_GL, self.dropout(happened_TD))
        last = len(self.layers) - 1
        of_outcomes = Sight.of(own, outcomes.at_GL, outcomes.at_GL, self.window) if last else None
        for k, layer in enumerate(self.layers):
            assert isinstance(layer, RecentBlock)
            memory = layer.remember(memory_GLD)
            yield memory
            if k < last:
                memory_GLD = layer(memory_GLD, memory, of_outcomes)

    def ask(self, batch: Batch, memories: Iterable[torch.Tensor]) -> torch.Tensor:
        """memories: what `remember` gave for the batch's outcomes. Shapes: batch of B rows -> logits_B, float32."""
        outcomes = batch.outcomes
        assert outcomes is not None
        of_rows = Sight.of(outcomes.asked_seen_GQ, outcomes.asked_at_GQ, outcomes.at_GL, self.window)
        item_BD, context_BD = self._read(batch)
        x_GQD = nn.functional.embedding(outcomes.asked_GQ, self.dropout(item_BD + context_BD))
        for layer, memory in zip(self.layers, memories, strict=True):
            x_GQD = layer(x_GQD, memory, of_rows)
        x_BD = nn.functional.embedding(outcomes.place_B, x_GQD.flatten(0, 1))
        return self.head(torch.cat([x_BD, context_BD], 1))[:, 0]

    def _read(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """A row as its item and all else that is known beforehand. Shapes: -> (B, D) each."""
        e_BFE = self.embeddings(batch.ids_BF)
        others = [f for f in range(e_BFE.shape[1]) if f != self.item_field]
        text_BX = [self.texts(batch.text_BTV, batch.text_there_BT)] if self.texts else []
        numbers_BD = self.numbers(torch.cat([batch.dense_BX, *text_BX], 1))
        context_BD = numbers_BD + self.scenes(batch.scene_B) + take_fields(e_BFE, others).sum(1)
        return e_BFE[:, self.item_field], context_BD
