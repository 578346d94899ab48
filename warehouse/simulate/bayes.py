"""The Bayes AUC: the AUC of the true probabilities, overall, by scene and by cold-start cell.

Probabilities are multiples of 1e-6, so an AUC is a count over a million bins: exact, with ties at half, and linear.
`auc` is against the labels that were drawn, `auc_expected` over all labels that might have been.
"""

from dataclasses import dataclass

import numpy as np

from .parameters import N_DAYS, N_SCENES, PROBABILITY_STEPS, SCENES, TEST_DAY, TEST_FROM, VAL_DAY, VAL_FROM

LEVELS = ("zero", "few", "warm")
FEW_MAX = 5
MIN_OF_EACH = 30  # a cell with fewer positives or negatives has no AUC to speak of
SPLITS = {"all": (0, N_DAYS), "train": (0, VAL_DAY), "val": (VAL_DAY, TEST_DAY), "test": (TEST_DAY, N_DAYS)}


@dataclass(frozen=True)
class Truth:
    """The log's hidden side. Shapes: (n,) each; user and item are numbers from 0, day counts from the first day."""

    user: np.ndarray
    item: np.ndarray
    scene: np.ndarray
    day: np.ndarray
    label: np.ndarray
    millionths: np.ndarray


def levels(key: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Level of each row's key (0 zero, 1 few, 2 warm) by its impressions on earlier days. Shapes: (n,) each."""
    size = (int(key.max()) + 1) * N_DAYS
    counts = np.bincount(key.astype(np.int64) * N_DAYS + day, minlength=size).reshape(-1, N_DAYS)
    before = np.cumsum(counts, axis=1) - counts
    level = (before > 0).astype(np.int8) + (before > FEW_MAX).astype(np.int8)
    return level[key, day]


def score(steps: np.ndarray, label: np.ndarray) -> dict:
    """Rows, clicks and both AUCs; an AUC is None where there are too few of either label.

    Shapes: steps (n,) true probabilities in steps of 1e-6, label (n,) 0 or 1.
    """
    clicks, n = int(label.sum()), len(label)
    out: dict[str, int | float | None] = {"n": n, "n_clicks": clicks}
    out |= {"mean_probability": None, "auc": None, "auc_expected": None}
    if n:
        out["mean_probability"] = round(float(steps.mean(dtype=np.float64)) / PROBABILITY_STEPS, 6)
    if min(clicks, n - clicks) < MIN_OF_EACH:
        return out
    values, at = _bins(steps)
    shown = np.bincount(at, minlength=len(values))
    clicked = np.bincount(at[label == 1], minlength=len(values))
    likely = shown * (values / PROBABILITY_STEPS)
    return out | {"auc": _auc(clicked, shown - clicked), "auc_expected": _auc(likely, shown - likely)}


def _bins(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rising distinct values and each row's place among them; with many rows, all values there are."""
    if len(steps) < PROBABILITY_STEPS // 4:
        return np.unique(steps, return_inverse=True)
    return np.arange(PROBABILITY_STEPS), steps


def _auc(positives: np.ndarray, negatives: np.ndarray) -> float:
    below = np.cumsum(negatives) - negatives
    pairs = float(positives.sum()) * float(negatives.sum())
    return round(float((positives * (below + negatives / 2.0)).sum()) / pairs, 6)


def bayes_report(truth: Truth) -> dict:
    """Everything, by split: overall, macro over scenes, scenes, levels and the cube user level x item level x scene."""
    level = {"user": levels(truth.user, truth.day), "item": levels(truth.item, truth.day)}
    splits = {}
    for name, (first, last) in SPLITS.items():
        inside = (truth.day >= first) & (truth.day < last)
        steps, label, scene = truth.millionths[inside], truth.label[inside], truth.scene[inside]
        user, item = level["user"][inside], level["item"][inside]
        scenes = {SCENES[s]: score(steps[scene == s], label[scene == s]) for s in range(N_SCENES)}
        known = [s["auc"] for s in scenes.values() if s["auc"] is not None]
        splits[name] = {
            "overall": score(steps, label),
            "macro_auc": round(float(np.mean(known)), 6) if len(known) == N_SCENES else None,
            "scenes": scenes,
            "user_levels": {lv: score(steps[user == k], label[user == k]) for k, lv in enumerate(LEVELS)},
            "item_levels": {lv: score(steps[item == k], label[item == k]) for k, lv in enumerate(LEVELS)},
            "cells": _cells((user * 3 + item) * np.int8(N_SCENES) + scene, steps, label),
        }
    return {"val_from": VAL_FROM, "test_from": TEST_FROM, "few_max": FEW_MAX, "as_of": "day", "splits": splits}


def _cells(cell: np.ndarray, steps: np.ndarray, label: np.ndarray) -> list[dict]:
    """Scores of the cube's cells, numbered (user level * 3 + item level) * S + scene. Shapes: (n,) int8 each."""
    order = np.argsort(cell, kind="stable")
    edges = np.searchsorted(cell[order], np.arange(3 * 3 * N_SCENES + 1))
    steps, label = steps[order], label[order]
    cells = []
    for number in range(3 * 3 * N_SCENES):
        levels_of, scene = divmod(number, N_SCENES)
        names = {"user_level": LEVELS[levels_of // 3], "item_level": LEVELS[levels_of % 3], "scene": SCENES[scene]}
        rows = slice(edges[number], edges[number + 1])
        cells.append(names | score(steps[rows], label[rows]))
    return cells


def markdown(report: dict) -> str:
    """The report's tables, as docs/simulated-log.md shows them."""
    splits = report["splits"]
    lines = ["| Bayes AUC | " + " | ".join(splits) + " |", "|---|" + "---|" * len(splits)]
    lines.append("| overall | " + " | ".join(_cell(s["overall"]) for s in splits.values()) + " |")
    lines.append("| macro over scenes | " + " | ".join(_number(s["macro_auc"]) for s in splits.values()) + " |")
    for scene in SCENES:
        lines.append(f"| scene {scene} | " + " | ".join(_cell(s["scenes"][scene]) for s in splits.values()) + " |")
    for side in ("user", "item"):
        for level in LEVELS:
            cells = " | ".join(_cell(s[f"{side}_levels"][level]) for s in splits.values())
            lines.append(f"| {side} level {level} | {cells} |")
    lines += ["", "Test split, by user level, item level and scene (rows in brackets):", ""]
    lines += ["| user | item | " + " | ".join(f"scene {s}" for s in SCENES) + " |", "|---|---|" + "---|" * N_SCENES]
    cube = {(c["user_level"], c["item_level"], c["scene"]): c for c in splits["test"]["cells"]}
    for user in LEVELS:
        for item in LEVELS:
            lines.append(f"| {user} | {item} | " + " | ".join(_cell(cube[user, item, s]) for s in SCENES) + " |")
    return "\n".join(lines)


def _cell(scored: dict) -> str:
    return f"{_number(scored['auc'])} ({scored['n']:,})"


def _number(auc: float | None) -> str:
    return "too few" if auc is None else f"{auc:.4f}"
