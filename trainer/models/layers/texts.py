"""What is made of text vectors. Legend: B rows, T columns of text ids, V text dimensions."""

from __future__ import annotations

import torch
from torch import nn

from trainer.inputs.batch import Sizes
from trainer.models.layers.basic import Dropout, take_fields, uniform


class TextJoin(nn.Module):
    """Text vectors made small, column by column, and the flags of those that are there; zeros for a row without texts.

    Shapes: vectors_BTV, there_BT -> (B, T * P + T).
    """

    def __init__(self, n_columns: int, n_dims: int, size: int, dropout: float):
        super().__init__()
        self.weight_TVP = uniform(n_columns, n_dims, size, fan_in=n_dims)
        self.dropout = Dropout(dropout)
        self.width = n_columns * size + n_columns

    def forward(self, vectors_BTV: torch.Tensor, there_BT: torch.Tensor) -> torch.Tensor:
        small_TBP = torch.bmm(self.dropout(vectors_BTV).transpose(0, 1), self.weight_TVP)
        return torch.cat([small_TBP.transpose(0, 1).flatten(1), there_BT], 1)


class Match(nn.Module):
    """How well the user fits the item: products of the two sides in one space, and cosines of their texts as they are.

    A side is the sum of its id's embedding and its texts, each mapped into the space; the product is kept element by
    element. A cosine, of each of the item's texts with each of the user's, is known before anything is learnt and for
    items and users never seen; it is 0 where either text is missing, whose vector is 0.
    Shapes: e_BFE, vectors_BTV -> (B, D + user texts * item texts).
    Source: Rendle 2010, eq. 1, with texts for values of a field; He et al. 2017, eq. 8, for keeping the elements.
    """

    def __init__(self, sizes: Sizes, embedding_dim: int, size: int, dropout: float):
        super().__init__()
        item_fields = [sizes.item_field]
        self.fields = ([f for f in sizes.id_fields if f not in item_fields], item_fields)
        self.columns = sides_of(sizes)
        self.dropout = Dropout(dropout)
        self.sides = nn.ModuleList(
            nn.Linear(len(fields) * embedding_dim + len(columns) * sizes.text_dim, size)
            for fields, columns in zip(self.fields, self.columns, strict=True)
        )
        users, items = map(len, self.columns)
        self.width = size + users * items

    def forward(self, e_BFE: torch.Tensor, vectors_BTV: torch.Tensor) -> torch.Tensor:
        unit_BTV = nn.functional.normalize(vectors_BTV, dim=2)
        users, items = self.columns
        cosine_BP = (take_fields(unit_BTV, users) @ take_fields(unit_BTV, items).transpose(1, 2)).flatten(1)
        heard_BTV = self.dropout(unit_BTV)
        side_BD = [
            linear(torch.cat([take_fields(e_BFE, fields).flatten(1), take_fields(heard_BTV, columns).flatten(1)], 1))
            for linear, fields, columns in zip(self.sides, self.fields, self.columns, strict=True)
        ]
        return torch.cat([side_BD[0] * side_BD[1], cosine_BP], 1)


class SpaceMatch(nn.Module):
    """How near the user's texts are to the item's in the space of their vectors; nothing in it is learnt.

    A side is the mean of its columns' vectors, each to length 1, to length 1 again. The product of both is kept element
    by element, times the dimensions, so that an element is about 1 in size; the cosine of each of the user's columns
    with each of the item's comes with it. All are 0 where a side has no text.
    Shapes: vectors_BTV -> (B, V + user texts * item texts).
    """

    def __init__(self, sizes: Sizes, dropout: float):
        super().__init__()
        self.columns = sides_of(sizes)
        self.dropout = Dropout(dropout)
        users, items = map(len, self.columns)
        self.width = sizes.text_dim + users * items

    def forward(self, vectors_BTV: torch.Tensor) -> torch.Tensor:
        user_BTV, item_BTV = (take_fields(nn.functional.normalize(vectors_BTV, dim=2), c) for c in self.columns)
        user_BV, item_BV = (nn.functional.normalize(side_BTV.sum(1), dim=1) for side_BTV in (user_BTV, item_BTV))
        product_BV = self.dropout(user_BV * item_BV * user_BV.shape[1])
        return torch.cat([product_BV, (user_BTV @ item_BTV.transpose(1, 2)).flatten(1)], 1)


def sides_of(sizes: Sizes) -> tuple[list[int], ...]:
    """The positions of the user's and of the item's text columns."""
    return tuple([t for t, group in enumerate(sizes.text_groups) if group == side] for side in ("user", "item"))
