"""Metrics of many bootstrap samples of users, the same users for every run that is compared.

A sample drawn with replacement is a weight for each user, so no row is ever repeated: each function here equals its
namesake in `metrics` on the rows repeated as often as their user was drawn (a test holds them equal).
A sample in which a metric is undefined is NaN. Legend: B rows, U users, R samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.metrics import metrics

EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Rows:
    """Held-out rows of one run. Shapes: (B,) each; user_B in 0 .. U-1 of the weights that go with it."""

    label_B: np.ndarray
    probability_B: np.ndarray
    user_B: np.ndarray

    def where(self, in_B: np.ndarray) -> Rows:
        return Rows(self.label_B[in_B], self.probability_B[in_B], self.user_B[in_B])


def draw(users: int, resamples: int, seed: int) -> np.ndarray:
    """Shapes: -> (R, U), int16: how often each user is in each sample."""
    out = np.empty((resamples, users), np.int16)
    for r, weight_U in enumerate(metrics.draw_users(users, resamples, seed)):
        out[r] = weight_U
    return out


def auc(rows: Rows, weight_RU: np.ndarray) -> np.ndarray:
    """Shapes: -> (R,)."""
    return metrics.auc_samples(rows.label_B, rows.probability_B, rows.user_B, weight_RU)


def pr_auc(rows: Rows, weight_RU: np.ndarray) -> np.ndarray:
    """Shapes: -> (R,)."""
    order = np.argsort(-rows.probability_B, kind="stable")
    score_B, user_B = rows.probability_B[order], rows.user_B[order]
    label_B = rows.label_B[order].astype(np.int64)
    last = np.flatnonzero(np.r_[score_B[1:] != score_B[:-1], True]) if len(score_B) else np.empty(0, np.int64)
    out = []
    for weight_U in weight_RU:
        weight_B = weight_U[user_B].astype(np.int64)
        hits, seen = np.cumsum(weight_B * label_B)[last], np.cumsum(weight_B)[last]
        if not len(hits) or not 0 < hits[-1] < seen[-1]:
            out.append(np.nan)
            continue
        out.append(float((np.diff(np.r_[0, hits]) * hits / np.maximum(seen, 1)).sum() / hits[-1]))
    return np.array(out)


def _sums(values_B: np.ndarray, rows: Rows, weight_RU: np.ndarray) -> np.ndarray:
    """Weighted sums over rows, by way of one sum a user. Shapes: -> (R,), float64."""
    return weight_RU @ np.bincount(rows.user_B, values_B, minlength=weight_RU.shape[1])


def log_loss(rows: Rows, weight_RU: np.ndarray) -> np.ndarray:
    """Shapes: -> (R,)."""
    p_B = np.clip(rows.probability_B, EPS, 1 - EPS)
    loss_B = -np.where(rows.label_B.astype(bool), np.log(p_B), np.log1p(-p_B))
    n_R = _sums(np.ones(len(p_B)), rows, weight_RU)
    return _divided(_sums(loss_B, rows, weight_RU), n_R)


def normalized_entropy(rows: Rows, weight_RU: np.ndarray) -> np.ndarray:
    """Shapes: -> (R,)."""
    rate_R = _divided(_sums(rows.label_B, rows, weight_RU), _sums(np.ones(len(rows.label_B)), rows, weight_RU))
    defined = (rate_R > 0) & (rate_R < 1)
    rate_R = np.where(defined, rate_R, 0.5)
    entropy_R = -(rate_R * np.log(rate_R) + (1 - rate_R) * np.log1p(-rate_R))
    return np.where(defined, log_loss(rows, weight_RU) / entropy_R, np.nan)


def gauc(rows: Rows, weight_RU: np.ndarray) -> np.ndarray:
    """A user's own AUC never changes, only how often the user counts. Shapes: -> (R,)."""
    auc_U, n_U = metrics.auc_by_user(rows.label_B, rows.probability_B, rows.user_B, weight_RU.shape[1])
    defined_U = ~np.isnan(auc_U)
    return _divided(weight_RU @ np.where(defined_U, auc_U * n_U, 0), weight_RU @ np.where(defined_U, n_U, 0))


def ece(rows: Rows, weight_RU: np.ndarray, bins: int = metrics.ECE_BINS) -> np.ndarray:
    """Shapes: -> (R,). A row that lies across the edge of two bins counts in each with its part of the weight."""
    order = np.argsort(rows.probability_B, kind="stable")
    gap_B, user_B = (rows.probability_B - rows.label_B)[order], rows.user_B[order]
    out = []
    for weight_U in weight_RU:
        weight_B = weight_U[user_B]
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
METRICS: dict[str, tuple[Callable[[Rows], float | None], Callable[[Rows, np.ndarray], np.ndarray]]] = {
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
