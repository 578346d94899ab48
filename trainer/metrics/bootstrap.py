"""Metrics of many bootstrap samples of users and items, the same samples for every run that is compared.

A sample is a weight for each user and each item, and a row counts as often as their product says, so no row is ever
repeated: each function here equals its namesake in `metrics` on the rows repeated that often (a test holds them equal).
A sample in which a metric is undefined is NaN. Legend: B rows, U users, I items, R samples.

Source: Owen & Eckles 2012, "Bootstrapping data arrays of arbitrary order", with Poisson weights. Where the rows' own
noise is all there is, the product's variance is three times theirs, so intervals taken from it err on the wide side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.metrics import metrics

EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Rows:
    """Held-out rows of one run. Shapes: (B,) each; user_B in 0 .. U-1, item_B in 0 .. I-1 of the weights."""

    label_B: np.ndarray
    probability_B: np.ndarray
    user_B: np.ndarray
    item_B: np.ndarray | None = None

    def where(self, in_B: np.ndarray) -> Rows:
        item_B = None if self.item_B is None else self.item_B[in_B]
        return Rows(self.label_B[in_B], self.probability_B[in_B], self.user_B[in_B], item_B)


@dataclass(frozen=True)
class Weights:
    """How often each user, and each item, is in each sample; without items users alone are drawn.

    Shapes: user_RU (R, U), item_RI (R, I), whole numbers.
    """

    user_RU: np.ndarray
    item_RI: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.user_RU)

    def of(self, rows: Rows) -> Iterator[np.ndarray]:
        """How often each row is in each sample. Shapes: -> R times (B,), int64."""
        items = self.item_RI if rows.item_B is not None else None
        for r, weight_U in enumerate(self.user_RU):
            weight_B = weight_U[rows.user_B].astype(np.int64)
            yield weight_B if items is None else weight_B * items[r][rows.item_B]


Drawn = Weights | np.ndarray  # an array holds the weights of users, shapes (R, U)
_MOST = 15  # a Poisson number of mean 1 is larger once in 10^14; the product of two then fits a byte


def draw(users: int, resamples: int, seed: int) -> np.ndarray:
    """Users drawn with replacement. Shapes: -> (R, U), int16: how often each user is in each sample."""
    out = np.empty((resamples, users), np.int16)
    for r, weight_U in enumerate(metrics.draw_users(users, resamples, seed)):
        out[r] = weight_U
    return out


def draw_two_way(users: int, items: int, resamples: int, seed: int) -> Weights:
    """Users and items drawn independently of each other, each a Poisson number of times with mean 1."""
    generators = np.random.default_rng(seed).spawn(2)

    def drawn(generator: np.random.Generator, n: int) -> np.ndarray:
        return np.minimum(generator.poisson(1, (resamples, n)), _MOST).astype(np.uint8)

    return Weights(drawn(generators[0], users), drawn(generators[1], items))


def _weights(drawn: Drawn) -> Weights:
    return drawn if isinstance(drawn, Weights) else Weights(drawn)


def auc(rows: Rows, drawn: Drawn) -> np.ndarray:
    """Shapes: -> (R,)."""
    weights = _weights(drawn)
    return metrics.auc_samples(
        rows.label_B, rows.probability_B, rows.user_B, weights.user_RU, rows.item_B, weights.item_RI
    )


def pr_auc(rows: Rows, drawn: Drawn) -> np.ndarray:
    """Shapes: -> (R,)."""
    order = np.argsort(-rows.probability_B, kind="stable")
    rows = rows.where(order)
    score_B, label_B = rows.probability_B, rows.label_B.astype(np.int64)
    last = np.flatnonzero(np.r_[score_B[1:] != score_B[:-1], True]) if len(score_B) else np.empty(0, np.int64)
    out = []
    for weight_B in _weights(drawn).of(rows):
        hits, seen = np.cumsum(weight_B * label_B)[last], np.cumsum(weight_B)[last]
        if not len(hits) or not 0 < hits[-1] < seen[-1]:
            out.append(np.nan)
            continue
        out.append(float((np.diff(np.r_[0, hits]) * hits / np.maximum(seen, 1)).sum() / hits[-1]))
    return np.array(out)


def _sums(values_B: np.ndarray, rows: Rows, drawn: Drawn) -> np.ndarray:
    """Weighted sums over rows. Shapes: -> (R,), float64."""
    weights = _weights(drawn)
    if weights.item_RI is None or rows.item_B is None:  # one sum per user will do
        return weights.user_RU @ np.bincount(rows.user_B, values_B, minlength=weights.user_RU.shape[1])
    return np.array([weight_B @ values_B for weight_B in weights.of(rows)])


def log_loss(rows: Rows, drawn: Drawn) -> np.ndarray:
    """Shapes: -> (R,)."""
    p_B = np.clip(rows.probability_B, EPS, 1 - EPS)
    loss_B = -np.where(rows.label_B.astype(bool), np.log(p_B), np.log1p(-p_B))
    n_R = _sums(np.ones(len(p_B)), rows, drawn)
    return _divided(_sums(loss_B, rows, drawn), n_R)


def normalized_entropy(rows: Rows, drawn: Drawn) -> np.ndarray:
    """Shapes: -> (R,)."""
    rate_R = _divided(_sums(rows.label_B, rows, drawn), _sums(np.ones(len(rows.label_B)), rows, drawn))
    defined = (rate_R > 0) & (rate_R < 1)
    rate_R = np.where(defined, rate_R, 0.5)
    entropy_R = -(rate_R * np.log(rate_R) + (1 - rate_R) * np.log1p(-rate_R))
    return np.where(defined, log_loss(rows, drawn) / entropy_R, np.nan)


def gauc(rows: Rows, drawn: Drawn) -> np.ndarray:
    """Shapes: -> (R,). Where users alone are drawn, a user's own AUC never changes, only how often the user counts."""
    weights = _weights(drawn)
    users = weights.user_RU.shape[1]
    if weights.item_RI is None or rows.item_B is None:
        auc_U, n_U = metrics.auc_by_user(rows.label_B, rows.probability_B, rows.user_B, users)
        defined_U = ~np.isnan(auc_U)
        return _divided(
            weights.user_RU @ np.where(defined_U, auc_U * n_U, 0), weights.user_RU @ np.where(defined_U, n_U, 0)
        )
    rows = rows.where(np.lexsort((rows.probability_B, rows.user_B)))
    out = []
    for weight_B in weights.of(rows):
        auc_U, n_U = metrics.auc_by_sorted_user(rows.label_B, rows.probability_B, rows.user_B, users, weight_B)
        defined_U = ~np.isnan(auc_U)
        n = n_U[defined_U].sum()
        out.append(float((auc_U * n_U)[defined_U].sum() / n) if n else np.nan)
    return np.array(out)


def ece(rows: Rows, drawn: Drawn, bins: int = metrics.ECE_BINS) -> np.ndarray:
    """Shapes: -> (R,). A row that lies across the edge of two bins counts in each with its part of the weight."""
    rows = rows.where(np.argsort(rows.probability_B, kind="stable"))
    gap_B = rows.probability_B - rows.label_B
    out = []
    for weight_B in _weights(drawn).of(rows):
        n_B = np.cumsum(weight_B, dtype=np.int64)
        n = int(n_B[-1]) if len(n_B) else 0
        if not n:
            out.append(np.nan)
            continue
        # The sizes that numpy.array_split gives n rows.
        edges = np.cumsum([0, *((n // bins + (k < n % bins)) for k in range(bins))])
        summed = np.interp(edges, np.r_[0, n_B], np.r_[0, np.cumsum(gap_B * weight_B)])
        out.append(float(np.abs(np.diff(summed)).sum() / n))
    return np.array(out)


def _divided(top_R: np.ndarray, bottom_R: np.ndarray) -> np.ndarray:
    return np.where(bottom_R > 0, top_R / np.where(bottom_R > 0, bottom_R, 1), np.nan)


# name -> (on all rows, on samples); higher is better for the first three.
METRICS: dict[str, tuple[Callable[[Rows], float | None], Callable[[Rows, Drawn], np.ndarray]]] = {
    "auc": (lambda r: metrics.auc(r.label_B, r.probability_B), auc),
    "gauc": (lambda r: metrics.gauc(r.label_B, r.probability_B, r.user_B)[0], gauc),
    "pr_auc": (lambda r: metrics.pr_auc(r.label_B, r.probability_B), pr_auc),
    "log_loss": (lambda r: metrics.log_loss(r.label_B, r.probability_B), log_loss),
    "ne": (lambda r: metrics.normalized_entropy(r.label_B, r.probability_B), normalized_entropy),
    "ece": (lambda r: metrics.ece(r.label_B, r.probability_B), ece),
}


def difference(point_a: float | None, point_b: float | None, a_R: np.ndarray, b_R: np.ndarray) -> dict[str, Any]:
    """b minus a with its central 95%, and what may be said: `higher`, `lower`, `not shown` (the interval holds 0).

    Samples in which either is undefined are left out; fewer than 10 give no interval, and nothing is claimed.
    """
    if point_a is None or point_b is None or not (math.isfinite(point_a) and math.isfinite(point_b)):
        return {"difference": None, "low": None, "high": None, "verdict": "undefined"}
    apart_R = b_R - a_R
    low, high = metrics.interval(apart_R[~np.isnan(apart_R)])
    shown = low is not None and high is not None and (low > 0 or high < 0)
    verdict = ("higher" if point_b > point_a else "lower") if shown else "not shown"
    return {"difference": point_b - point_a, "low": low, "high": high, "verdict": verdict}
