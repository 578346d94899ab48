"""10_match: how well what is known of the user fits what is known of the item."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from trainer.inputs.batch import Batch, Sizes
from trainer.models.layers import Dropout, Extraction, Match, OutcomeAttention, SceneTowers, TextJoin, embedding_table


class Matching(nn.Module):
    """Progressive layered extraction that reads texts, the user's latest outcomes and the match of user and item.

    Differs from 09_interest in the input, which the match joins: of the user's side (id and texts) with the item's, as
    products and as cosines; collapses to it where the weights on the match are 0.
    Legend: B rows, F id and category fields, E embedding size, X input width, D an attention's or an expert's size,
    T text columns, V dimensions of a text vector, L outcomes, U distinct items or texts among them.
    Source: Rendle 2010 and He et al. 2017 for the products. What differs from them is said at Match.
    """

    def __init__(
        self, sizes: Sizes, embedding_dim: int, text_size: int, attention: int, heads: int, shared: int, private: int,
        levels: int, hidden: tuple[int, ...], tower: tuple[int, ...], dropout: float, embedding_dropout: float,
        text_dropout: float, history_dropout: float, match: int,
    ):  # fmt: skip
        super().__init__()
        self.embeddings = embedding_table(sizes.n_embeddings, embedding_dim)
        self.scenes = nn.Embedding(sizes.n_scenes, embedding_dim)
        self.embedding_dropout = Dropout(embedding_dropout)
        self.text_dropout = Dropout(text_dropout)
        self.history_dropout = Dropout(history_dropout)
        self.item_field = sizes.item_field
        self.item_texts = [t for t, group in enumerate(sizes.text_groups) if group == "item"]
        self.texts = TextJoin(len(sizes.text_groups), sizes.text_dim, text_size, text_dropout)
        self.item_query = nn.Linear(embedding_dim, attention)
        self.item_key = nn.Linear(embedding_dim, attention)
        if sizes.past_texts:
            self.text_query = nn.Linear(len(self.item_texts) * sizes.text_dim, attention, bias=False)
            self.text_key = nn.Linear(sizes.text_dim, attention, bias=False)
        self.past_texts = sizes.past_texts
        self.places = nn.Parameter(torch.zeros(sizes.history, attention))
        self.attention = OutcomeAttention(attention, heads)
        self.match = Match(sizes, embedding_dim, match, text_dropout)
        width = self.match.width + self.attention.width + self.texts.width
        width += (sizes.n_fields + 1) * embedding_dim + sizes.n_dense
        self.levels = nn.ModuleList(
            Extraction(n_in, sizes.n_scenes, shared, private, hidden, dropout, last=level == levels - 1)
            for level, (n_in, _) in enumerate(pairwise([width, *[hidden[-1]] * levels]))
        )
        self.towers = SceneTowers(hidden[-1], sizes.n_scenes, tower, dropout)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Shapes: batch of B rows -> logits_B, float32."""
        e_BFE = self.embeddings(batch.ids_BF)
        text_BX = self.texts(batch.text_BTV, batch.text_there_BT)
        interest_BX = self.interest(batch, e_BFE)
        kept_BFE = self.embedding_dropout(e_BFE)
        match_BX = self.match(kept_BFE, batch.text_BTV)
        x_BX = torch.cat(
            [kept_BFE.flatten(1), self.scenes(batch.scene_B), batch.dense_BX, text_BX, interest_BX, match_BX], 1
        )
        own_BD, shared_BD = x_BX, x_BX
        for level in self.levels:
            own_BD, shared_BD = level(own_BD, shared_BD, batch.scene_B)
        return self.towers(own_BD, batch.scene_B)

    def interest(self, batch: Batch, e_BFE: torch.Tensor) -> torch.Tensor:
        """Attention of the candidate over the user's latest outcomes. Shapes: -> (B, attention.width)."""
        # What is distinct in the batch is projected once; rows only gather it.
        query_BD = self.item_query(self.embedding_dropout(e_BFE[:, self.item_field]))
        key_UD = self.item_key(self.embedding_dropout(self.embeddings(batch.past_item_U)))
        key_BLD = nn.functional.embedding(batch.past_item_BL, key_UD) + self.places
        if self.past_texts:
            item_text_BV = self.text_dropout(batch.text_BTV[:, self.item_texts].flatten(1))
            query_BD = query_BD + self.text_query(item_text_BV)
            text_UD = self.text_key(self.text_dropout(batch.past_text_UV))
            key_BLD = key_BLD + nn.functional.embedding(batch.past_text_BL, text_UD)
        found_BX = self.attention(query_BD, key_BLD, batch.past_label_BL, batch.past_there_BL)
        return self.history_dropout(found_BX)
