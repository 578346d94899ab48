"""Differences between rungs, over users, items and seeds at once, with intervals that hold together.

A rung's AUC is the mean over its seeds. In each sample the users and items are the same for all rungs and seeds
(bootstrap.draw_two_way), and each rung's seeds are drawn with replacement, for each rung by itself. n drawn seeds
spread less than n new ones would, so their spread is stretched by sqrt(n / (n - 1)).

The intervals of a family are simultaneous: difference +- q * standard error, where q is the 95% quantile over the
samples of the largest |deviation| / spread of the family (max-t), which takes account of how much the comparisons have
in common. With few seeds, users or items a standard error is itself uncertain: q becomes the quantile of Student's t at
the same probability, with the degrees of freedom of Welch and Satterthwaite.

The samples' own spread would be too large: a row that counts as often as user times item varies three times as much as
a row does. So the standard error's part over rows is that of both clusterings at once: by users, plus by items, less by
rows, which both hold; never less than by users or by items alone. The part over seeds is added.

Legend: B rows, C comparisons, R samples, S seeds. Source: Westfall & Young 1993 (max-t); Cameron, Gelbach & Miller 2011
(two-way clusters); Welch 1947; Owen & Eckles 2012.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

LEVEL = 0.95
POWER = 0.8
FEWEST = 10  # samples, below which there is no interval


@dataclass(frozen=True)
class Clusters:
    """Whose rows they are. Shapes: user_B in 0 .. users-1, item_B in 0 .. items-1."""

    user_B: np.ndarray
    users: int
    item_B: np.ndarray
    items: int

    @property
    def fewest(self) -> int:
        return min(self.users, self.items)

    def variance(self, influence_B: np.ndarray) -> float:
        """Of a metric whose rows have this influence on it."""
        by_user, by_item = (
            float((np.bincount(code_B, influence_B, minlength=n) ** 2).sum())
            for code_B, n in ((self.user_B, self.users), (self.item_B, self.items))
        )
        return max(by_user + by_item - float((influence_B**2).sum()), by_user, by_item)


@dataclass(frozen=True)
class Scores:
    """One rung's metric. point_S: of each seed on all rows; sample_SR: of each seed in each sample.

    influence_B: of each row on the mean over seeds; without it a standard error is the samples' own spread.
    """

    name: str
    point_S: np.ndarray
    sample_SR: np.ndarray
    influence_B: np.ndarray | None = None

    @property
    def mean(self) -> float:
        return float(np.mean(self.point_S))

    @property
    def seed_variance(self) -> float:
        """Of the mean over seeds; 0 for one seed, of whose like nothing is known."""
        n = len(self.point_S)
        return float(np.var(self.point_S, ddof=1)) / n if n > 1 else 0.0

    def drawn(self, seed: int) -> np.ndarray:
        """The mean over drawn seeds in each sample; a rung draws the same ones whatever else is in the ladder.

        Shapes: -> (R,).
        """
        n, resamples = self.sample_SR.shape
        mean_R = self.sample_SR.mean(0)
        if n == 1:
            return mean_R
        generator = np.random.default_rng([seed, zlib.crc32(self.name.encode())])
        share_RS = generator.multinomial(n, np.full(n, 1 / n), size=resamples) / n
        return mean_R + math.sqrt(n / (n - 1)) * ((share_RS.T * self.sample_SR).sum(0) - mean_R)


@dataclass(frozen=True)
class Comparison:
    """`one` minus `other`. deviation_R: of each sample's difference from the difference itself.

    seed_variances: of each rung's mean over seeds, with its degrees of freedom. row_variance: over users and items.
    """

    difference: float
    deviation_R: np.ndarray
    seed_variances: tuple[tuple[float, int], ...]
    row_variance: float | None = None

    @classmethod
    def of(cls, one: Scores, other: Scores, seed: int, clusters: Clusters | None = None) -> Comparison:
        difference = one.mean - other.mean
        apart_R = one.drawn(seed) - other.drawn(seed)
        seeds = tuple((s.seed_variance, len(s.point_S) - 1) for s in (one, other) if s.seed_variance > 0)
        rows = None
        if clusters is not None and one.influence_B is not None and other.influence_B is not None:
            rows = clusters.variance(one.influence_B - other.influence_B)
        return cls(difference, apart_R - difference, seeds, rows)

    @property
    def spread(self) -> float:
        """Of the samples; NaN with too few."""
        known_R = self.deviation_R[~np.isnan(self.deviation_R)]
        return float(np.sqrt(np.mean(known_R**2))) if len(known_R) >= FEWEST else math.nan

    @property
    def error(self) -> float:
        """The standard error; NaN where it is that of samples and those are too few."""
        if self.row_variance is None:
            return self.spread
        return math.sqrt(self.row_variance + self._of_seeds)

    @property
    def _of_seeds(self) -> float:
        return sum(variance for variance, _ in self.seed_variances)

    def freedom(self, clusters: int) -> float:
        """Degrees of freedom of the standard error, given the smaller of the numbers of users and items."""
        of_rows = max(self.error**2 - self._of_seeds, 0.0)
        parts = [*self.seed_variances, (of_rows, max(clusters - 1, 1))]
        below = sum(variance**2 / df for variance, df in parts)
        return (self._of_seeds + of_rows) ** 2 / below if below > 0 else math.inf


def critical_value(family: Sequence[Comparison], declared: int | None = None) -> float:
    """q of a family. declared: how many comparisons it has, where not all are at hand.

    Then it is at least that of as many independent ones (Sidak), which is never too small.
    """
    spread_C = np.array([c.spread for c in family])
    known = [k for k, spread in enumerate(spread_C) if spread > 0]
    size = max(declared or 0, len(family), 1)
    independent = float(stats.norm.isf((1 - LEVEL ** (1 / size)) / 2))
    if not known:
        return independent
    t_CR = np.stack([np.abs(family[k].deviation_R) / spread_C[k] for k in known])
    largest_R = t_CR[:, ~np.isnan(t_CR).any(0)].max(0)
    if len(largest_R) < FEWEST:
        return independent
    q = float(np.quantile(largest_R, LEVEL))
    return max(q, independent) if size > len(family) else q


def interval_of(one: Comparison, q: float, clusters: int) -> dict[str, Any]:
    """difference, low, high, error, smallest (the least effect that has POWER to be shown), and the verdict."""
    error, found = one.error, {"difference": one.difference}
    if math.isnan(error):
        return found | {"low": None, "high": None, "error": None, "smallest": None, "verdict": "not shown"}
    wide, power = (as_t(z, one.freedom(clusters)) for z in (q, float(stats.norm.ppf(POWER))))
    low, high = one.difference - wide * error, one.difference + wide * error
    verdict = "higher" if low > 0 else "lower" if high < 0 else "not shown"
    return found | {"low": low, "high": high, "error": error, "smallest": (wide + power) * error, "verdict": verdict}


def as_t(z: float, freedom: float) -> float:
    """Student's quantile at the probability of a normal one."""
    return float(stats.t.isf(stats.norm.sf(z), freedom)) if math.isfinite(freedom) else z


def alone(one: Comparison, clusters: int) -> dict[str, Any]:
    """The interval of a comparison by itself: 95% of its own, whatever else is compared."""
    return interval_of(one, critical_value([one]), clusters)
