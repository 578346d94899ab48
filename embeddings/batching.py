"""Which texts are encoded together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def plan_batches(lengths: Sequence[int], *, max_tokens: int, same_length: bool) -> list[np.ndarray]:
    """Group texts of similar length into batches, longest first, so that there is almost no padding.

    Args: lengths, tokens of every text; max_tokens, the most tokens in a batch after padding (a longer text is a batch
    of its own); same_length, True for an engine that knows no padding: a batch then holds one length only.
    Returns: arrays of positions in `lengths`; each position once.
    """
    lengths_N = np.asarray(lengths)
    order = np.argsort(-lengths_N, kind="stable")
    batches, start = [], 0
    while start < len(order):
        longest = int(lengths_N[order[start]])
        end = start + max(1, max_tokens // max(1, longest))
        batch = order[start:end]
        if same_length:
            batch = batch[lengths_N[batch] == longest]
        batches.append(batch)
        start += len(batch)
    return batches
