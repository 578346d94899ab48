"""Two runs on the same held-out rows: every metric's difference, with an interval by paired bootstrap.

Users and items are drawn, at once: other users would have come to other items.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from trainer.base.errors import TrainerError
from trainer.base.progress import progress
from trainer.evaluation.held_out import HeldOut, check_same_rows, read_held_out
from trainer.metrics import bootstrap, metrics
from trainer.metrics.metrics import MIN_CLASS

SEED = 0  # one for all: the same samples wherever runs are compared


def compare_runs(
    a: Path, b: Path, *, split: str = "test", resamples: int = 200, min_class: int = MIN_CLASS, by_part: bool = True
) -> dict[str, Any]:
    """`b` minus `a` for every metric, overall and (unless `by_part` is False) by scene and level.

    A part with fewer than `min_class` positives or negatives is marked `too_small`, and nothing else is said of it.
    A sample draws users and items of the whole split, also for a part of it.
    Raises: TrainerError when the runs hold other rows, or none.
    """
    one, two = read_held_out(a, split), read_held_out(b, split)
    check_same_rows(one, two)
    if not len(one.label_B):
        raise TrainerError(f"{a} holds no {split} rows; nothing can be compared.")
    weights = bootstrap.draw_two_way(one.users, one.items, resamples, SEED)
    parts = one.parts() if by_part else one.parts()[:1]
    out: list[dict[str, Any]] = []
    with progress() as bar:
        task = bar.add_task("Resampling", total=len(parts) * len(bootstrap.METRICS), note="", unit="metrics")
        for kind, name, in_B in parts:
            n_pos = int(one.label_B[in_B].sum())
            n = int(in_B.sum())
            part: dict[str, Any] = {"kind": kind, "name": name, "n": n, "positives": n_pos, "metrics": {}}
            part["too_small"] = metrics.too_small(one.label_B[in_B], min_class) is not None
            for metric, (whole, sampled) in bootstrap.METRICS.items():
                if not part["too_small"]:
                    rows_a, rows_b = one.rows.where(in_B), two.rows.where(in_B)
                    points = whole(rows_a), whole(rows_b)
                    found = bootstrap.difference(*points, sampled(rows_a, weights), sampled(rows_b, weights))
                    part["metrics"][metric] = {"a": points[0], "b": points[1]} | found
                bar.update(task, advance=1)
            if kind == "all" and not part["too_small"]:
                part["metrics"]["macro_auc"] = macro_difference(one, two, weights, min_class)
            out.append(part)
    about = {"a": str(a), "b": str(b), "split": split, "users": one.users, "items": one.items}
    return about | {"resamples": resamples, "parts": out}


def macro_difference(
    one: HeldOut, two: HeldOut, weights: bootstrap.Drawn, min_class: int = MIN_CLASS
) -> dict[str, Any]:
    """Macro AUC over the scenes that have an AUC, and how many those are of how many.

    A sample in which one of them holds one class only is left out.
    """
    points: list[list[float]] = [[], []]
    samples: list[list[np.ndarray]] = [[], []]
    scenes = sorted(set(one.scene_B))
    for scene in scenes:
        in_B = one.scene_B == scene
        if metrics.too_small(one.label_B[in_B], min_class):
            continue
        for k, run in enumerate((one, two)):
            rows = run.rows.where(in_B)
            value = metrics.auc(rows.label_B, rows.probability_B)
            assert value is not None, f"scene {scene} isn't too small"
            points[k].append(value)
            samples[k].append(bootstrap.auc(rows, weights))
    how_many = {"scenes": len(points[0]), "of_scenes": len(scenes)}
    if not points[0]:
        return {"a": None, "b": None} | bootstrap.difference(None, None, np.empty(0), np.empty(0)) | how_many
    mean_a, mean_b = (float(np.mean(p)) for p in points)
    found = bootstrap.difference(mean_a, mean_b, *(np.mean(np.stack(s), axis=0) for s in samples))
    return {"a": mean_a, "b": mean_b} | found | how_many
