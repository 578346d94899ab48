"""Metrics of probabilities: log loss, normalized entropy, calibration in bins. NumPy alone."""

from __future__ import annotations

import math

import numpy as np

ECE_BINS = 20


def log_loss(label_B: np.ndarray, probability_B: np.ndarray) -> float | None:
    """Mean negative log likelihood, in nats; probabilities are kept 2^-52 away from 0 and 1, as in scikit-learn."""
    if not len(label_B):
        return None
    eps = np.finfo(np.float64).eps
    p_B = np.clip(np.asarray(probability_B, np.float64), eps, 1 - eps)
    return float(-np.where(np.asarray(label_B, bool), np.log(p_B), np.log1p(-p_B)).mean())


def normalized_entropy(label_B: np.ndarray, probability_B: np.ndarray) -> float | None:
    """Log loss over that of the constant positive rate of the same rows; below 1 is better than the rate.

    Source: He et al. 2014, eq. 3. None unless both classes occur.
    """
    rate = float(np.mean(label_B)) if len(label_B) else 0.0
    loss = log_loss(label_B, probability_B)
    if loss is None or not 0 < rate < 1:
        return None
    return loss / -(rate * math.log(rate) + (1 - rate) * math.log1p(-rate))


def calibration(label_B: np.ndarray, probability_B: np.ndarray, bins: int = ECE_BINS) -> list[dict[str, float]]:
    """Rows in order of probability, cut into `bins` bins of equal size: n, mean probability, positive rate of each."""
    order = np.argsort(probability_B, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return [
        {"n": len(p), "probability": float(probability_B[p].mean()), "positive_rate": float(np.mean(label_B[p]))}
        for p in parts
    ]


def ece(label_B: np.ndarray, probability_B: np.ndarray) -> float | None:
    """Expected calibration error over ECE_BINS bins of equal size: |probability - positive rate|, weighted by n."""
    if not len(label_B):
        return None
    return sum(c["n"] * abs(c["probability"] - c["positive_rate"]) for c in calibration(label_B, probability_B)) / len(
        label_B
    )
