"""A language model for the cold texts only, and the mean of a side for texts without a vector.

A text is cold when it occurs in a row whose user or item has no or little history (`n_cold_rows` > 0). Whole user texts
(`side` = user) are many and long, so every encoder leaves out those that occur in warm rows alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embeddings.errors import EmbeddingsError
from embeddings.texts import Texts

USER_SIDE = "user"


@dataclass(frozen=True)
class Selection:
    """Which texts are to be encoded, as masks over a mart's texts. Each text is counted once, in this order."""

    wanted: np.ndarray
    empty: np.ndarray
    warm_only: np.ndarray
    unused: np.ndarray
    unasked: np.ndarray  # whole user texts under user_texts="none"


def select(texts: Texts, *, only: str = "all", user_texts: str = "cold") -> Selection:
    """Pick the texts to encode.

    Args: only, "all" or "cold" (texts of cold rows, for the language model); user_texts, "cold", "all" or "none",
    the whole user texts where `only` is "all".
    Returns: disjoint masks that together cover every text.
    Raises: EmbeddingsError where nothing is left.
    """
    for name, value, known in (("only", only, ("all", "cold")), ("user-texts", user_texts, ("all", "cold", "none"))):
        if value not in known:
            raise EmbeddingsError(f"--{name} {value}: expected {', '.join(known[:-1])} or {known[-1]}.")
    empty = texts.empty
    cold = texts.n_cold_rows > 0
    used = texts.n_rows > 0
    whole_user = texts.side == USER_SIDE
    needs_cold = whole_user & (user_texts == "cold") if only == "all" else np.ones(len(texts), bool)
    unasked = ~empty & used & whole_user & (only == "all" and user_texts == "none")
    warm_only = ~empty & used & needs_cold & ~cold
    unused = ~empty & ~used
    wanted = ~empty & ~warm_only & ~unused & ~unasked
    if not wanted.any():
        raise EmbeddingsError(
            f"Nothing to encode: of {len(texts):,} texts {empty.sum():,} are empty, {unused.sum():,} occur in no row"
            f" and {warm_only.sum():,} only in rows of users and items with history (n_cold_rows = 0)."
        )
    return Selection(wanted, empty, warm_only, unused, unasked)


@dataclass(frozen=True)
class SideMeans:
    """The mean vector of each side (title, entity, user): what a text without a vector gets, instead of zeros.

    After centring or whitening the mean is the origin, so a missing text pulls nowhere; zeros before centring would be
    a place that no text is near, and the model would learn "missing" from it as if it were content.
    """

    means: dict[str, np.ndarray]
    overall: np.ndarray

    @classmethod
    def fit(cls, vectors_ND: np.ndarray, found_N: np.ndarray, side_N: np.ndarray) -> SideMeans:
        """Means over the texts that have a vector. Give texts of the training period only.

        Raises: EmbeddingsError where no text has one.
        """
        if not found_N.any():
            raise EmbeddingsError(
                "No text has a vector, so there is no mean to fall back to. Run `embeddings build` first."
            )
        sides = sorted(set(side_N[found_N]))
        exact = np.asarray(vectors_ND, np.float64)
        means = {side: exact[found_N & (side_N == side)].mean(axis=0).astype(np.float32) for side in sides}
        return cls(means, exact[found_N].mean(axis=0).astype(np.float32))

    def fill(self, vectors_ND: np.ndarray, found_N: np.ndarray, side_N: np.ndarray) -> np.ndarray:
        """The same vectors, with the side's mean in place of those not found (of all sides, for a side never seen)."""
        filled_ND = np.array(vectors_ND, np.float32)
        for row in np.flatnonzero(~found_N):
            filled_ND[row] = self.means.get(side_N[row], self.overall)
        return filled_ND


@dataclass(frozen=True)
class Saving:
    """What leaving out the texts of warm rows saved.

    Units: tokens include the template's; seconds_saved is at this run's own speed, None where it encoded nothing.
    """

    tokens_encoded: int
    tokens_already_there: int
    n_left_out: int
    tokens_left_out: int
    seconds_saved: float | None

    @property
    def share_left_out(self) -> float:
        """Of all tokens, those that no encoder had to read. In [0, 1]."""
        all_tokens = self.tokens_encoded + self.tokens_already_there + self.tokens_left_out
        return self.tokens_left_out / max(1, all_tokens)
