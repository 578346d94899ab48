"""Attention of rows over those of their user's outcomes that they may see, the recent ones above all.

Legend: G users, R rows and L outcomes of a user at most, D width, H heads, E = D / H, S outcomes that a part of the
rows sees any of.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from trainer.models.layers.basic import Dropout

_ROWS = 128  # of a user that are looked at together: outcomes after what the last of them sees cost nothing
_HIDDEN = 1e30  # log minutes of an outcome that isn't seen: its weight is 0 to the last bit
_LEAST = 1e-6  # a weight of time that were 0 would show what is hidden
_MINUTE = 60e6  # microseconds


@dataclass(frozen=True)
class Sight:
    """What each row sees: the last `window` of its user's first seen_GR outcomes.

    parts: rows R and outcomes L as slices, and log(1 + minutes) between them, _HIDDEN where an outcome isn't seen; of
    the user's nothing, which stands before the outcomes and is always seen, 0.
    """

    parts: list[tuple[slice, slice, torch.Tensor]]

    @classmethod
    def of(cls, seen_GR: torch.Tensor, at_GR: torch.Tensor, at_GL: torch.Tensor, window: int) -> Sight:
        """Shapes: seen_GR int64; at_GR, at_GL int64, the instants of rows and outcomes in microseconds."""
        n_rows, n_outcomes = seen_GR.shape[1], at_GL.shape[1]  # len() would fix a size of an export
        if torch.compiler.is_exporting():  # sizes aren't known, so there is one part
            rows = slice(None)
            return cls([(rows, rows, _log_minutes(seen_GR, at_GR, at_GL, torch.arange(n_outcomes), window))])
        parts = []
        first_R, last_R = _span(seen_GR, window)
        place_L = torch.arange(n_outcomes, device=at_GL.device)
        for s in range(0, n_rows, _ROWS):
            rows = slice(s, min(s + _ROWS, n_rows))
            seen = slice(min(first_R[rows]), max(last_R[rows]))
            log_GRS = _log_minutes(seen_GR[:, rows], at_GR[:, rows], at_GL[:, seen], place_L[seen], window)
            parts.append((rows, seen, log_GRS))
        return cls(parts)


def _span(seen_GR: torch.Tensor, window: int) -> tuple[list[int], list[int]]:
    """Of each place R, the first outcome that a row there sees and the one after the last, over all users."""
    last_GR = seen_GR
    first_GR = torch.where(seen_GR > 0, (seen_GR - window).clamp(min=0), torch.iinfo(torch.int64).max)
    last_R = last_GR.amax(0)
    first_R = torch.minimum(first_GR.amin(0), last_R)
    first, last = torch.stack([first_R, last_R]).tolist()
    return first, last


def _log_minutes(
    seen_GR: torch.Tensor, at_GR: torch.Tensor, at_GS: torch.Tensor, place_S: torch.Tensor, window: int
) -> torch.Tensor:
    """Shapes: -> (G, R, 1 + S), float32."""
    ago_GRS = (at_GR[:, :, None] - at_GS[:, None, :]).float().mul_(1 / _MINUTE).clamp_(min=0).log1p_()
    seen_GR1 = seen_GR[:, :, None].to(torch.int32)
    place_S = place_S.to(torch.int32)
    hidden_GRS = place_S >= seen_GR1
    if torch.compiler.is_exporting() or window < at_GS.shape[1]:
        hidden_GRS |= place_S < seen_GR1 - window
    return nn.functional.pad(ago_GRS.masked_fill_(hidden_GRS, _HIDDEN), (1, 0))


class RecentBlock(nn.Module):
    """A transformer's layer: attention over the outcomes that are seen, or over nothing, then two linear layers.

    What an outcome weighs falls with a power of the minutes since, a power per head.
    Shapes: x_GRD, what `remember` made of the outcomes, what the rows see of them -> (G, R, D).
    Source: Vaswani et al. 2017, with the norm before each part (Xiong et al. 2020) and a bias by time in place of
    positions (as by distance in Press et al. 2022).
    """

    def __init__(self, size: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(size)
        self.query = nn.Linear(size, size)
        self.key_value = nn.Linear(size, 2 * size)
        self.nothing = nn.Parameter(torch.zeros(2, 1, 1, size))
        self.fading = nn.Parameter(torch.full((heads,), -1.5))  # softplus of it is .2
        self.out = nn.Linear(size, size)
        self.wide = nn.Sequential(
            nn.LayerNorm(size), nn.Linear(size, 2 * size), nn.GELU(), Dropout(dropout), nn.Linear(2 * size, size)
        )
        self.dropout = Dropout(dropout)

    def remember(self, memory_GLD: torch.Tensor) -> torch.Tensor:
        """Keys and values of nothing and of the outcomes. Shapes: -> (2, G, H, 1 + L, E)."""
        no_2G1D = self.nothing.expand(-1, len(memory_GLD), -1, -1)
        both_2GLD = torch.stack(self.key_value(self.norm(memory_GLD)).chunk(2, 2))
        return self._by_head(torch.cat([no_2G1D, both_2GLD], 2)).contiguous()

    def forward(self, x_GRD: torch.Tensor, memory_2GHLE: torch.Tensor, sight: Sight) -> torch.Tensor:
        query_GHRE = self._by_head(self.query(self.norm(x_GRD))).contiguous()
        fading_H11 = (nn.functional.softplus(self.fading) + _LEAST)[:, None, None]
        found = []
        for rows, seen, log_GRS in sight.parts:
            key_GHSE, value_GHSE = _part(memory_2GHLE, seen)
            found.append(attend(query_GHRE[:, :, rows], key_GHSE, value_GHSE, log_GRS, fading_H11))
        found_GRD = torch.cat(found, 2).transpose(1, 2).flatten(2)
        x_GRD = x_GRD + self.dropout(self.out(found_GRD))
        return x_GRD + self.dropout(self.wide(x_GRD))

    def _by_head(self, x_D: torch.Tensor) -> torch.Tensor:
        """Shapes: (..., L, D) -> (..., H, L, E)."""
        return x_D.unflatten(-1, (self.heads, -1)).transpose(-2, -3)


def _part(memory_2GHLE: torch.Tensor, seen: slice) -> torch.Tensor:
    """Nothing, and the outcomes that are seen. Shapes: -> (2, G, H, 1 + S, E)."""
    if not seen.start:
        return memory_2GHLE[:, :, :, : None if seen.stop is None else 1 + seen.stop]
    return torch.cat([memory_2GHLE[:, :, :, :1], memory_2GHLE[:, :, :, 1 + seen.start : 1 + seen.stop]], 3)


def attend(
    query_GHRE: torch.Tensor,
    key_GHSE: torch.Tensor,
    value_GHSE: torch.Tensor,
    log_GRS: torch.Tensor,
    fading_H11: torch.Tensor,
) -> torch.Tensor:
    """softmax(query key' / root E - fading * log) value. Shapes: -> (G, H, R, E)."""
    shape = (*query_GHRE.shape[:3], key_GHSE.shape[2])
    bias = log_GRS[:, None] * -fading_H11
    score = torch.baddbmm(
        bias.flatten(0, 1),
        query_GHRE.flatten(0, 1),
        key_GHSE.flatten(0, 1).transpose(1, 2),
        alpha=query_GHRE.shape[3] ** -0.5,
    )
    return torch.bmm(score.softmax(2), value_GHSE.flatten(0, 1)).view(*shape[:3], -1)
