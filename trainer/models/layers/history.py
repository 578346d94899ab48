"""Attention over the user's latest outcomes.

Legend: B rows, F id and category fields, E embedding size, D size of the attention, K heads, L outcomes, U distinct
items or texts among them, V text dimensions.
"""

from __future__ import annotations

import torch
from torch import nn

from trainer.inputs.batch import Batch, Sizes
from trainer.models.layers.basic import Dropout, take_fields


class OutcomeAttention(nn.Module):
    """What the user did with items like this one: attention over the latest outcomes, clicked and not apart.

    Each of K heads spreads a weight of at most 1 over the outcomes, by how like the candidate they are; the rest stays
    on nothing, so a few that are hardly like it weigh little. It reports, for the clicked and for the others, the
    weight and the weighted sum of the keys.
    Shapes: query_BD, key_BLD, label_BL, there_BL -> (B, K * 2 * (1 + D / K)); zeros for a row without outcomes.
    Source: Zhou et al. 2018, eq. 3. Differs from it: heads with a scaled dot product (Vaswani et al. 2017) in place of
    the activation network, outcomes that were not clicked, and a softmax that may also choose nothing.
    """

    def __init__(self, size: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(size, size)
        self.key = nn.Linear(size, size, bias=False)
        self.width = 2 * (heads + size)

    def forward(
        self, query_BD: torch.Tensor, key_BLD: torch.Tensor, label_BL: torch.Tensor, there_BL: torch.Tensor
    ) -> torch.Tensor:
        query_BKD = self.query(query_BD).unflatten(1, (self.heads, -1))
        key_BKLD = self.key(key_BLD).unflatten(2, (self.heads, -1)).transpose(1, 2)
        score_BKL = (key_BKLD @ query_BKD[..., None])[..., 0] * query_BKD.shape[2] ** -0.5
        score_BKL = score_BKL.masked_fill(there_BL[:, None] == 0, -torch.inf)
        nothing_BK1 = torch.zeros_like(score_BKL[..., :1])
        weight_BKL = torch.cat([score_BKL, nothing_BK1], 2).softmax(2)[..., :-1]
        clicked_BKL = weight_BKL * label_BL[:, None].float()
        weight_BK2L = torch.stack([clicked_BKL, weight_BKL - clicked_BKL], 2)
        return torch.cat([weight_BK2L.sum(3).flatten(1), (weight_BK2L @ key_BKLD).flatten(1)], 1)


class HistoryAttention(nn.Module):
    """Attention of the candidate over the user's latest outcomes, by the item's id and in text space.

    A query is made of the item's embedding and texts, a key of an outcome's item, text and place in the list. So an
    item never seen still meets the user's taste. Texts are left out where the outcomes come without.
    Shapes: batch, its embeddings e_BFE, the embedding table -> (B, width).
    """

    def __init__(
        self,
        sizes: Sizes,
        embedding_dim: int,
        size: int,
        heads: int,
        embedding_dropout: float,
        text_dropout: float,
        dropout: float,
    ):
        super().__init__()
        self.item_field = sizes.item_field
        self.item_texts = [t for t, group in enumerate(sizes.text_groups) if group == "item"]
        self.reads_texts = sizes.past_texts
        self.item_query = nn.Linear(embedding_dim, size)
        self.item_key = nn.Linear(embedding_dim, size)
        if self.reads_texts:
            self.text_query = nn.Linear(len(self.item_texts) * sizes.text_dim, size, bias=False)
            self.text_key = nn.Linear(sizes.text_dim, size, bias=False)
        self.places = nn.Parameter(torch.zeros(sizes.history, size))
        self.attention = OutcomeAttention(size, heads)
        self.embedding_dropout = Dropout(embedding_dropout)
        self.text_dropout = Dropout(text_dropout)
        self.dropout = Dropout(dropout)
        self.width = self.attention.width

    def forward(self, batch: Batch, e_BFE: torch.Tensor, table: nn.Embedding) -> torch.Tensor:
        assert batch.past_item_BL is not None, "the stage reads the outcomes, so the batcher gives them"
        # What is distinct in the batch is projected once; rows only gather it.
        query_BD = self.item_query(self.embedding_dropout(e_BFE[:, self.item_field]))
        key_UD = self.item_key(self.embedding_dropout(table(batch.past_item_U)))
        key_BLD = nn.functional.embedding(batch.past_item_BL, key_UD) + self.places
        if self.reads_texts:
            assert batch.text_BTV is not None and batch.past_text_BL is not None
            item_text_BV = self.text_dropout(take_fields(batch.text_BTV, self.item_texts).flatten(1))
            query_BD = query_BD + self.text_query(item_text_BV)
            text_UD = self.text_key(self.text_dropout(batch.past_text_UV))
            key_BLD = key_BLD + nn.functional.embedding(batch.past_text_BL, text_UD)
        found_BX = self.attention(query_BD, key_BLD, batch.past_label_BL, batch.past_there_BL)
        return self.dropout(found_BX)
