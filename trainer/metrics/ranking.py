"""AUC and its kin: of all rows, within users, under bootstrap weights. NumPy alone.

Legend: B rows, U users, R samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np

ONE_CLASS = "one class only"
NO_ROWS = "no rows"
MIN_CLASS = 30  # positives, and negatives, that rows need before their AUC is shown anywhere; a stage may ask for more
_BLOCK_ROWS, _BLOCK_SAMPLES = 2048, 64  # of auc_samples: what stays in a processor's cache


def _group_ids(sorted_B: np.ndarray) -> np.ndarray:
    """0, 1, 2 ... for the runs of equal values in a sorted array."""
    return np.cumsum(np.r_[False, sorted_B[1:] != sorted_B[:-1]])


def auc(label_B: np.ndarray, score_B: np.ndarray) -> float | None:
    """Area under the ROC curve, a tie counting one half; None unless both classes occur.

    Source: Hanley & McNeil 1982; equal to scikit-learn's roc_auc_score.
    """
    label_B = np.asarray(label_B, bool)
    n_pos, n_neg = int(label_B.sum()), int((~label_B).sum())
    if not n_pos or not n_neg:
        return None
    order = np.argsort(score_B, kind="stable")
    group_B = _group_ids(score_B[order])
    neg_G = np.bincount(group_B, ~label_B[order])
    pos_G = np.bincount(group_B, label_B[order])
    below_G = np.cumsum(neg_G) - neg_G
    return float((pos_G * (below_G + 0.5 * neg_G)).sum() / n_pos / n_neg)


def auc_influence(label_B: np.ndarray, score_B: np.ndarray) -> np.ndarray:
    """How much the AUC moves per unit of a row's weight, to first order; sums to 0. Needs both classes.

    Shapes: (B,), (B,) -> (B,), float64. Source: DeLong et al. 1988, the structural components.
    """
    positive_B = np.asarray(label_B, bool)
    sides = [np.sort(score_B[own]) for own in (~positive_B, positive_B)]
    below_B, above_B = (
        (np.searchsorted(side, score_B, "left") + np.searchsorted(side, score_B, "right")) / (2 * len(side))
        for side in sides
    )
    place_B = np.where(positive_B, below_B, 1 - above_B)
    n_B = np.where(positive_B, len(sides[1]), len(sides[0]))
    return (place_B - place_B[positive_B].mean()) / n_B


def too_small(label_B: np.ndarray, min_class: int = MIN_CLASS) -> str | None:
    """Why these rows have no AUC to show, GAUC and PR-AUC included; None where they have one.

    The AUC of a dozen rows is mostly chance, and its bootstrap interval is too narrow: it resamples the few that there
    are. So every AUC that is shown, compared or averaged asks here first.
    """
    n_pos = int(np.sum(label_B))
    return why_too_small(n_pos, len(label_B) - n_pos, min_class)


def why_too_small(n_pos: int, n_neg: int, min_class: int) -> str | None:
    if not n_pos + n_neg:
        return NO_ROWS
    if not n_pos or not n_neg:
        return ONE_CLASS
    if min(n_pos, n_neg) < min_class:
        return f"fewer than {min_class} positives or negatives ({n_pos:,} and {n_neg:,})"
    return None


def pr_auc(label_B: np.ndarray, score_B: np.ndarray) -> float | None:
    """Average precision: precision at each score, weighted by the recall gained. Equal to scikit-learn's."""
    label_B = np.asarray(label_B, bool)
    if not 0 < label_B.sum() < len(label_B):
        return None
    order = np.argsort(-score_B, kind="stable")
    last_B = np.r_[score_B[order][1:] != score_B[order][:-1], True]
    hits = np.cumsum(label_B[order])[last_B]
    seen = np.flatnonzero(last_B) + 1
    return float((np.diff(np.r_[0, hits]) * hits / seen).sum() / label_B.sum())


def auc_by_user(
    label_B: np.ndarray, score_B: np.ndarray, user_B: np.ndarray, users: int
) -> tuple[np.ndarray, np.ndarray]:
    """Each user's own AUC, NaN with one class only, and rows. Shapes: user_B in 0 .. U-1 -> (U,) and (U,)."""
    order = np.lexsort((score_B, user_B))
    return auc_by_sorted_user(label_B[order], score_B[order], user_B[order], users, np.ones(len(order), np.int64))


def auc_by_sorted_user(
    label_B: np.ndarray, score_B: np.ndarray, user_B: np.ndarray, users: int, weight_B: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`auc_by_user` of rows sorted by user, then score, each counted as often as its weight says."""
    user, score, label = user_B, score_B, np.asarray(label_B, bool)
    first_B = np.r_[True, (user[1:] != user[:-1]) | (score[1:] != score[:-1])][: len(user)]
    tie_B = np.cumsum(first_B) - 1
    neg_B, pos_B = weight_B * ~label, weight_B * label
    neg_T, pos_T, user_of_T = np.bincount(tie_B, neg_B), np.bincount(tie_B, pos_B), user[first_B]
    neg_U, pos_U, n_U = (np.bincount(user, w, minlength=users) for w in (neg_B, pos_B, weight_B))
    # Negatives of the same user below each tie: all negatives below, less those of earlier users.
    below_T = np.cumsum(neg_T) - neg_T - (np.cumsum(neg_U) - neg_U)[user_of_T]
    won_U = np.bincount(user_of_T, pos_T * (below_T + 0.5 * neg_T), minlength=users)
    pairs_U = neg_U * pos_U
    return np.where(pairs_U > 0, won_U / np.maximum(pairs_U, 1), np.nan), n_U


def gauc(label_B: np.ndarray, score_B: np.ndarray, user_B: np.ndarray) -> tuple[float | None, float | None]:
    """AUC within each user, weighted by the user's rows; and the share of rows that count, None of no rows.

    Users with one class only have no AUC and are left out.
    Source: Zhu et al. 2017 (OCPC), with impressions as weights.
    """
    if not len(label_B):
        return None, None
    user_B, users = dense_ids(user_B)
    auc_U, n_U = auc_by_user(label_B, score_B, user_B, users)
    counts_U = ~np.isnan(auc_U)
    if not counts_U.any():
        return None, 0.0
    n = float(n_U[counts_U].sum())
    return float((auc_U * n_U)[counts_U].sum() / n), n / float(n_U.sum())


def auc_bootstrap(
    label_B: np.ndarray, score_B: np.ndarray, user_B: np.ndarray, resamples: int, seed: int
) -> np.ndarray:
    """AUC of `resamples` bootstrap samples of users, drawn with replacement. Shapes: -> (resamples,), float64.

    Samples that hold one class only are left out.
    """
    user_B, users = dense_ids(user_B)
    samples = auc_samples(label_B, score_B, user_B, draw_users(users, resamples, seed))
    return samples[~np.isnan(samples)]


def draw_users(users: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each user is in each bootstrap sample. Shapes: -> `resamples` times (U,), int64."""
    generator = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.bincount(generator.integers(0, users, users), minlength=users)


def auc_samples(
    label_B: np.ndarray,
    score_B: np.ndarray,
    user_B: np.ndarray,
    weights_U: Iterable[np.ndarray],
    item_B: np.ndarray | None = None,
    weights_I: Iterable[np.ndarray] | None = None,
) -> np.ndarray:
    """AUC under each of the weights, NaN where one class has no weight. Shapes: user_B in 0 .. U-1 -> (R,).

    A row counts as often as its user does, times its item where item weights are given. Weights are whole numbers.
    The rows are sorted once. Then a few samples at a time go through blocks of the sorted rows, so memory beyond the
    weights is that of a block; the sums are whole numbers, exact up to 2^53 pairs.
    """
    label_B = np.asarray(label_B, bool)
    users = _weight_columns(weights_U)
    items = _weight_columns(weights_I) if item_B is not None and weights_I is not None else None
    # Rows of weights are gathered, so the narrower the faster.
    most = int(users.max(initial=0)) * (int(items.max(initial=0)) if items is not None else 1)
    kind = np.uint8 if most < 256 else np.int64
    order = np.argsort(score_B, kind="stable")
    label_B, score_B, user_B = label_B[order], score_B[order], user_B[order]
    item_B = item_B[order] if items is not None and item_B is not None else None
    ties = np.flatnonzero(np.r_[True, score_B[1:] != score_B[:-1]][: len(score_B)])
    tie_B = np.searchsorted(ties, np.arange(len(score_B)), "right") - 1
    first_B, last_B = ties[tie_B], np.r_[ties[1:], len(score_B)][tie_B]
    # Blocks of whole ties.
    cuts = np.searchsorted(ties, np.arange(0, len(score_B), _BLOCK_ROWS))
    edges = [*dict.fromkeys(int(ties[c]) for c in cuts if c < len(ties)), len(score_B)]
    out = np.full(users.shape[1], np.nan)
    for first in range(0, users.shape[1], _BLOCK_SAMPLES):
        some = slice(first, first + _BLOCK_SAMPLES)
        user_UR = np.ascontiguousarray(users[:, some], kind)
        item_IR = None if items is None else np.ascontiguousarray(items[:, some], kind)
        negatives_R = np.zeros(user_UR.shape[1], np.int64)
        positives_R, won_R = negatives_R.copy(), np.zeros(user_UR.shape[1])
        for a, b in pairwise(edges):
            weight_bR = user_UR[user_B[a:b]]
            if item_IR is not None and item_B is not None:
                weight_bR *= item_IR[item_B[a:b]]
            # Negatives before each row, and one past the last. Sums of a block fit 32 bits, or else 64.
            before_bR = np.zeros((b - a + 1, weight_bR.shape[1]), np.int32 if most * (b - a) < 2**31 else np.int64)
            np.cumsum(weight_bR * ~label_B[a:b, None], axis=0, out=before_bR[1:])
            own = np.flatnonzero(label_B[a:b])
            first_b, last_b = first_B[a + own] - a, last_B[a + own] - a
            # Twice what a positive has won: the negatives before its tie, and those before the tie's end.
            tied = bool((last_b - first_b > 1).any())
            beaten_pR = before_bR[first_b] + before_bR[last_b] if tied else 2 * before_bR[own]
            positive_R = weight_bR[own].sum(0, dtype=np.int64)
            won_R += np.einsum("pr,pr->r", weight_bR[own], beaten_pR, dtype=np.float64) + 2 * positive_R * negatives_R
            positives_R += positive_R
            negatives_R += before_bR[-1]
        pairs_R = positives_R * negatives_R
        out[some] = np.where(pairs_R > 0, won_R / (2 * np.maximum(pairs_R, 1)), np.nan)
    return out


def _weight_columns(weights: Iterable[np.ndarray]) -> np.ndarray:
    """Shapes: R times (U,) -> (U, R)."""
    return np.stack(list(weights), axis=1) if not isinstance(weights, np.ndarray) else weights.T


def dense_ids(values_B: np.ndarray) -> tuple[np.ndarray, int]:
    """The values as 0 .. U-1 in their sorted order, and U."""
    unique, inverse = np.unique(values_B, return_inverse=True)
    return inverse, len(unique)


def interval(samples: np.ndarray) -> tuple[float | None, float | None]:
    """The central 95% of bootstrap samples; None with fewer than 10."""
    if len(samples) < 10:
        return None, None
    low, high = np.quantile(samples, [0.025, 0.975])
    return float(low), float(high)
