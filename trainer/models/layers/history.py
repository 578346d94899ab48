"""Attention over the user's latest outcomes. Legend: B rows, L outcomes, K heads."""

from __future__ import annotations

import torch
from torch import nn


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
