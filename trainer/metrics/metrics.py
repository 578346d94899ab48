"""Every metric of a set of rows: of a split, of its scenes, of cold-start cells. The formulas are in ranking.py and
probability.py, and can be had from here too.

Undefined is None with a reason, never 0 or 1. Legend: B rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from trainer.base.progress import Tick, silent
from trainer.contract.schema import LEVELS
from trainer.metrics.probability import ECE_BINS, calibration, ece, log_loss, normalized_entropy
from trainer.metrics.ranking import (
    MIN_CLASS,
    NO_ROWS,
    ONE_CLASS,
    auc,
    auc_bootstrap,
    auc_by_sorted_user,
    auc_by_user,
    auc_influence,
    auc_samples,
    dense_ids,
    draw_users,
    gauc,
    interval,
    pr_auc,
    too_small,
    why_too_small,
)

__all__ = [
    "ANY",
    "ECE_BINS",
    "MIN_CLASS",
    "NO_ROWS",
    "ONE_CLASS",
    "auc",
    "auc_bootstrap",
    "auc_by_sorted_user",
    "auc_by_user",
    "auc_influence",
    "auc_samples",
    "calibration",
    "cold_start",
    "dense_ids",
    "draw_users",
    "ece",
    "evaluation",
    "gauc",
    "interval",
    "log_loss",
    "normalized_entropy",
    "pr_auc",
    "summary",
    "too_small",
    "without_small",
]

ANY = "all"


def summary(
    label_B: np.ndarray,
    probability_B: np.ndarray,
    user_B: np.ndarray,
    *,
    resamples: int,
    seed: int,
    min_class: int = MIN_CLASS,
) -> dict[str, Any]:
    """Every metric of one set of rows. `undefined` maps each metric that is None to the reason.

    Rows with fewer than `min_class` positives or negatives have no AUC, GAUC or PR-AUC.
    """
    out: dict[str, Any] = {"n": len(label_B), "positives": int(np.sum(label_B))}
    out["users"] = len(np.unique(user_B))
    out["positive_rate"] = float(np.mean(label_B)) if len(label_B) else None
    out["mean_probability"] = float(np.mean(probability_B)) if len(label_B) else None
    small = too_small(label_B, min_class)
    out["auc"] = None if small else auc(label_B, probability_B)
    samples = np.empty(0) if small else auc_bootstrap(label_B, probability_B, user_B, resamples, seed)
    out["auc_low"], out["auc_high"] = interval(samples)
    out["gauc"], out["gauc_coverage"] = gauc(label_B, probability_B, user_B)
    if small:
        out["gauc"] = None
    out["pr_auc"] = None if small else pr_auc(label_B, probability_B)
    out["log_loss"] = log_loss(label_B, probability_B)
    out["ne"] = normalized_entropy(label_B, probability_B)
    out["ece"] = ece(label_B, probability_B)
    special = {"gauc": "no user has both classes"} if out["gauc_coverage"] == 0 else {}
    if not small:
        special |= dict.fromkeys(("auc_low", "auc_high"), "too few resamples with both classes")
    out["undefined"] = {name: special.get(name, small) for name, value in out.items() if value is None}
    return out


def evaluation(
    label_B: np.ndarray,
    probability_B: np.ndarray,
    user_B: np.ndarray,
    scene_B: np.ndarray,
    scenes: Sequence[str],
    *,
    resamples: int,
    seed: int,
    min_class: int = MIN_CLASS,
    tick: Tick = silent,
) -> dict[str, Any]:
    """`summary` of a split, of each of its scenes, and the macro AUC: the plain mean over the scenes that have an AUC.

    `macro_auc_scenes` says how many those are; without any there is no macro AUC.
    """
    how: dict[str, int] = {"resamples": resamples, "seed": seed, "min_class": min_class}
    out = summary(label_B, probability_B, user_B, **how)
    tick(len(label_B))
    out["scenes"] = {}
    for s, scene in enumerate(scenes):
        in_B = scene_B == s
        out["scenes"][scene] = summary(label_B[in_B], probability_B[in_B], user_B[in_B], **how)
        tick(int(in_B.sum()))
    _add_macro(out, min_class)
    return out


def _add_macro(out: dict[str, Any], min_class: int) -> None:
    defined = [one["auc"] for one in out["scenes"].values() if one["auc"] is not None]
    out["macro_auc"] = float(np.mean(defined)) if defined else None
    out["macro_auc_scenes"] = len(defined)
    if not defined:
        out["undefined"]["macro_auc"] = f"no scene has {min_class} positives and {min_class} negatives"


def without_small(saved: dict[str, Any], min_class: int = MIN_CLASS) -> dict[str, Any]:
    """A split of metrics.json as it would be written today: older trainers gave an AUC to any two rows."""

    def cleaned(one: dict[str, Any]) -> dict[str, Any]:
        why = why_too_small(one["positives"], one["n"] - one["positives"], min_class)
        gone = [name for name in ("auc", "auc_low", "auc_high", "gauc", "pr_auc") if why and one[name] is not None]
        return one | dict.fromkeys(gone) | {"undefined": one["undefined"] | dict.fromkeys(gone, why)}

    out = cleaned(saved) | {"scenes": {scene: cleaned(one) for scene, one in saved["scenes"].items()}}
    _add_macro(out, min_class)
    return out


def cold_start(
    label_B: np.ndarray,
    probability_B: np.ndarray,
    user_B: np.ndarray,
    level_BG: np.ndarray,
    level_groups: Sequence[str],
    scene_B: np.ndarray,
    scenes: Sequence[str],
    *,
    resamples: int,
    min_class: int = MIN_CLASS,
    seed: int,
    alpha_B: np.ndarray | None = None,
    tick: Tick = silent,
) -> list[dict[str, Any]]:
    """The cube user level x item level x scene with all its margins (`all`), one dict a cell, empty ones too.

    A cell with fewer than `min_class` positives or negatives is marked `too_small`, and its AUC left out.
    alpha_B: the gate of models that have one; a cell tells its mean, None in an empty cell.
    Shapes: level_BG positions in LEVELS, columns as in level_groups; a group without a level column has `all` only.
    """
    everything = np.ones(len(label_B), bool)

    def axis(group: str) -> list[tuple[str, np.ndarray]]:
        if group not in level_groups:
            return [(ANY, everything)]
        column = level_BG[:, list(level_groups).index(group)]
        return [(ANY, everything), *((level, column == k) for k, level in enumerate(LEVELS))]

    cells = []
    for user_level, in_user in axis("user"):
        for item_level, in_item in axis("item"):
            for scene, in_scene in [(ANY, everything), *((s, scene_B == k) for k, s in enumerate(scenes))]:
                in_B = np.flatnonzero(in_user & in_item & in_scene)
                label, small = label_B[in_B], too_small(label_B[in_B], min_class)
                cell: dict[str, Any] = {
                    "user_level": user_level,
                    "item_level": item_level,
                    "scene": scene,
                    "n": len(in_B),
                    "positives": int(label.sum()),
                    "users": len(np.unique(user_B[in_B])),
                    "auc": None,
                    "auc_low": None,
                    "auc_high": None,
                    "too_small": small is not None,
                    "alpha": float(alpha_B[in_B].mean()) if alpha_B is not None and len(in_B) else None,
                }
                if small is None:
                    cell["auc"] = auc(label, probability_B[in_B])
                    samples = auc_bootstrap(label, probability_B[in_B], user_B[in_B], resamples, seed)
                    cell["auc_low"], cell["auc_high"] = interval(samples)
                cells.append(cell)
                tick(len(in_B))
    return cells
