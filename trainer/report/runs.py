"""What the page needs of a finished run, from its files alone. What an older trainer didn't write is left out."""

from __future__ import annotations

import csv
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trainer.base.errors import TrainerError
from trainer.base.files import read_json
from trainer.base.readable import readable
from trainer.evaluation.drift import read_drift
from trainer.evaluation.held_out import HeldOut, read_held_out
from trainer.evaluation.importance_file import read_importance
from trainer.evaluation.paired import auc_of, interval
from trainer.metrics.metrics import ANY, MIN_CLASS, calibration, without_small
from trainer.metrics.probability import ECE_BINS

_SCENE_BINS = 10
_ROWS_A_BIN = 20  # a bin of fewer rows says little of its positive rate


def short_names(runs: list[Path]) -> list[str]:
    """The folders' own names where they tell the runs apart; else as much of the paths as does."""
    parts = [run.resolve().parts for run in runs]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(own[-depth:]) for own in parts]
        if len(set(names)) == len(names):
            return names
    return [str(run) for run in runs]


def read_run(run: Path, name: str) -> dict[str, Any]:
    """metrics, training, dataset, lineage, timing, cube, calibration by scene; importance, drift, texts if written.

    held: the test rows, None for predictions of an older trainer, which then have no intervals.

    Raises: TrainerError where a file that every run has can't be read.
    """
    with readable(run):
        predictions = _test_rows(run / "predictions.parquet")
        with (run / "cold_start.csv").open(newline="", encoding="utf-8") as file:
            cells = [cell for cell in csv.DictReader(file) if cell["split"] == "test"]
        loaded = {
            key: read_json(run / f"{key}.json") for key in ("metrics", "training", "dataset", "lineage", "timing")
        }
        loaded["metrics"]["splits"] = {k: without_small(v) for k, v in loaded["metrics"]["splits"].items()}
        texts = read_json(run / "texts.json") if (run / "texts.json").exists() else None
        held = None
        with suppress(TrainerError):
            held = read_held_out(run)
        cube = _cube(cells)
        _add_intervals(held, cube, loaded["metrics"]["splits"]["test"])
        return loaded | {
            "name": name,
            "held": held,
            "folder": run,
            "cube": cube,
            "texts": texts,
            "calibration": _calibration(predictions, list(loaded["metrics"]["splits"]["test"]["scenes"])),
            "importance": read_importance(run),
            "drift": read_drift(run),
        }


def _test_rows(path: Path) -> pa.Table:
    names = [n for n in ("label", "probability", "scene") if n in pq.read_schema(path).names]
    return pq.read_table(path, columns=names, filters=[("split", "=", "test")])


def scenes_by_size(loaded: list[dict[str, Any]]) -> list[str]:
    """All scenes of the runs' test rows, the largest first."""
    sizes: dict[str, int] = {}
    for run in loaded:
        for scene, one in run["metrics"]["splits"]["test"]["scenes"].items():
            sizes[scene] = max(sizes.get(scene, 0), one["n"])
    return sorted(sizes, key=lambda scene: -sizes[scene])


def _calibration(predictions: pa.Table, scenes: list[str]) -> dict[str, list[dict[str, float]]]:
    """Bins of all rows (`all`), then of each scene, where the predictions say the scene."""
    label_B, probability_B = (predictions[name].to_numpy() for name in ("label", "probability"))
    out = {ANY: calibration(label_B, probability_B, _bins(len(label_B), ECE_BINS))}
    if "scene" in predictions.column_names:
        scene_B = predictions["scene"].to_numpy()
        for scene in scenes:
            own = scene_B == scene
            enough = own.sum() >= _ROWS_A_BIN
            bins = _bins(int(own.sum()), _SCENE_BINS)
            out[scene] = calibration(label_B[own], probability_B[own], bins) if enough else []
    return out


def _bins(rows: int, most: int) -> int:
    return max(1, min(most, rows // _ROWS_A_BIN))


def _add_intervals(held: HeldOut | None, cube: list[dict[str, Any]], test: dict[str, Any]) -> None:
    """One interval for each AUC on the page, by users and items as the ladder's: overall, by scene, by pair of levels.

    The bootstrap of users alone in metrics.json is narrower, and would stand beside these.
    """
    for one in (test, *test["scenes"].values()):
        one["auc_low"] = one["auc_high"] = None
    if held is None:
        return

    def of(in_B: np.ndarray) -> tuple[float | None, float | None]:
        estimate = auc_of([held], in_B)
        found = interval(estimate, held) if estimate else {"low": None, "high": None}
        return found["low"], found["high"]

    everything = np.ones(len(held.label_B), bool)
    for scene, one in ((None, test), *test["scenes"].items()):
        if one["auc"] is not None:
            one["auc_low"], one["auc_high"] = of(everything if scene is None else held.scene_B == scene)
    for row in cube:
        cell = row["cells"][0]
        if cell["auc"] is not None:
            in_B = everything
            for group in ("user", "item"):
                if (level := row[f"{group}_level"]) != ANY:
                    in_B = in_B & (held.level_B[group] == level)
            cell["low"], cell["high"] = of(in_B)


def _cube(cells: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Rows user level x item level, each with its cells in the order of the scenes."""
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for cell in cells:
        numbers = {key: float(cell[key]) if cell.get(key) else None for key in ("auc", "alpha")}
        n, positives = int(cell["n"]), int(cell["positives"])
        if min(positives, n - positives) < MIN_CLASS:
            numbers |= {"auc": None}
        one = numbers | {"low": None, "high": None, "scene": cell["scene"], "n": n, "positives": positives}
        rows.setdefault((cell["user_level"], cell["item_level"]), []).append(one)
    return [{"user_level": u, "item_level": i, "cells": found} for (u, i), found in rows.items()]
