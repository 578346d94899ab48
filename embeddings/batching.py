"""Which texts are encoded together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

# Tokens in a batch, padding included, on a GPU. The bound keeps batches, and so their vectors' last bits, the same on
# every card that has the room; a larger batch fills none of today's cards better and pads more.
_FEWEST_TOKENS, _MOST_TOKENS = 1024, 65_536


@dataclass(frozen=True)
class Batch:
    """Texts that are computed together.

    `at_B` says where they stand among all; lengths in tokens; starts, the first token of each that pooling counts.
    """

    at_B: np.ndarray
    ids: list[list[int]]
    lengths_B: np.ndarray
    starts_B: np.ndarray

    @property
    def n_computed(self) -> int:
        """Tokens after padding."""
        return len(self.ids) * int(self.lengths_B.max())


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


def longest_first(texts: Sequence[str], *, max_texts: int, max_characters: int) -> Iterator[np.ndarray]:
    """Positions of texts in groups, longest texts first; a group ends at whichever limit comes first.

    The texts of a group are of much the same length, and what is left of all texts after some groups is grouped as
    before.
    """
    lengths = [len(text) for text in texts]
    order = sorted(range(len(texts)), key=lambda i: -lengths[i])  # of equal lengths: in the order given
    group: list[int] = []
    n_characters = 0
    for i in order:
        group.append(i)
        n_characters += lengths[i]
        if len(group) == max_texts or n_characters >= max_characters:
            yield np.array(group)
            group, n_characters = [], 0
    if group:
        yield np.array(group)


def fitting_tokens(free_bytes: int, bytes_per_token: float) -> int:
    """Tokens in a batch on a device: as many as fit half of its free memory, as a power of two from 1,024 to 65,536.

    A power of two, so that some megabytes more or less of free memory don't change which texts share a batch.
    """
    fitting = int(free_bytes / 2 / max(bytes_per_token, 1))
    return min(_MOST_TOKENS, max(_FEWEST_TOKENS, 1 << max(0, fitting.bit_length() - 1)))
