"""What runs differ by, and parts of one run, with the intervals that the ladder uses: by users and items at once.

An estimate is a number with the influence of each held-out row on it, so that the difference of two has an interval of
its own: rows, users and items that both see cancel. Seeds of one stage are averaged, and their spread is added.

Legend: B held-out rows, S seeds. Source: trainer/metrics/simultaneous.py; DeLong et al. 1988 (influence on an AUC).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.evaluation.held_out import HeldOut
from trainer.metrics import metrics
from trainer.metrics.simultaneous import Clusters, Comparison, critical_value, interval_of


@dataclass(frozen=True)
class Estimate:
    """Shapes: point_S of each seed; influence_B of each row on their mean, 0 for rows that it doesn't see.

    others: the seeds' variance and degrees of freedom of what was subtracted (other seeds, drawn independently).
    """

    point_S: np.ndarray
    influence_B: np.ndarray
    others: tuple[tuple[float, int], ...] = ()

    @property
    def value(self) -> float:
        return float(np.mean(self.point_S))

    @property
    def seeds(self) -> tuple[tuple[float, int], ...]:
        n = len(self.point_S)
        own = float(np.var(self.point_S, ddof=1)) / n if n > 1 else 0.0
        return (*(((own, n - 1),) if own > 0 else ()), *self.others)

    def minus(self, other: Estimate) -> Estimate:
        """The difference to another stage's estimate, whose seeds are its own."""
        return Estimate(self.point_S - other.value, self.influence_B - other.influence_B, self.others + other.seeds)

    def within(self, other: Estimate) -> Estimate:
        """The difference to an estimate of the same runs on other rows: each seed with itself."""
        return Estimate(self.point_S - other.point_S, self.influence_B - other.influence_B)


def auc_of(runs: Sequence[HeldOut], in_B: np.ndarray, min_class: int = metrics.MIN_CLASS) -> Estimate | None:
    """The AUC of some rows, averaged over runs of one stage; None where the rows are too small to have one."""
    label_B = runs[0].label_B[in_B]
    if metrics.too_small(label_B, min_class):
        return None
    influence_B, points = np.zeros(len(in_B)), []
    for run in runs:
        points.append(metrics.auc(label_B, run.probability_B[in_B]))
        influence_B[in_B] += metrics.auc_influence(label_B, run.probability_B[in_B]) / len(runs)
    return Estimate(np.array(points, np.float64), influence_B)


def mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """The plain mean of estimates of the same runs."""
    points, influences = zip(*((one.point_S, one.influence_B) for one in estimates), strict=True)
    return Estimate(np.mean(points, axis=0), np.mean(influences, axis=0))


def rate_of(run: HeldOut, in_B: np.ndarray) -> Estimate | None:
    """The positive rate of some rows; None without rows."""
    n = int(in_B.sum())
    if not n:
        return None
    rate = float(run.label_B[in_B].mean())
    return Estimate(np.array([rate]), np.where(in_B, run.label_B - rate, 0) / n)


def interval(one: Estimate, rows: HeldOut, family: int = 1) -> dict[str, Any]:
    """difference, low, high, error, smallest and verdict, as simultaneous.interval_of gives them.

    family: of how many intervals that hold at once with 95% this is one.
    """
    seen_B = one.influence_B != 0
    clusters = Clusters(rows.user_B, rows.users, rows.item_B, rows.items)
    fewest = min(len(np.unique(rows.user_B[seen_B])), len(np.unique(rows.item_B[seen_B])))
    found = Comparison(one.value, np.empty(0), one.seeds, clusters.variance(one.influence_B))
    return interval_of(found, critical_value([], family), fewest)
