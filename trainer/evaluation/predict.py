"""The held-out rows of one run: predicted, measured, written down."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trainer.base.progress import ticking
from trainer.columns.store import Columns
from trainer.config import Stage
from trainer.contract.schema import HELD_OUT, LEVELS, Contract
from trainer.evaluation.alpha import alphas, has_gate
from trainer.evaluation.calibration import Calibration, fit_calibration
from trainer.metrics import metrics
from trainer.training.fitted import Fitted
from trainer.training.loop import sigmoid
from trainer.training.placebo import label

BOOTSTRAP_SEED = 0  # one for all runs: runs on the same rows are then compared on the same samples of users


@dataclass(frozen=True)
class Predictions:
    """Held-out rows, validation then test, each in the order of the columns. Legend: B rows.

    alpha_B: None for a model without a gate. calibration: None for a stage without.
    """

    rows_B: np.ndarray
    split_B: np.ndarray  # position in HELD_OUT
    logits_B: np.ndarray  # float64, the model's own
    probability_B: np.ndarray  # float64, calibrated
    alpha_B: np.ndarray | None
    calibration: Calibration | None


def predict_held_out(fitted: Fitted, columns: Columns, calibration: Calibration | None = None) -> Predictions:
    """Predict validation and test. Where the stage asks for calibration and none is given, fit it on validation."""
    rows = [columns.rows(split) for split in HELD_OUT]
    split_B = np.repeat(np.arange(len(HELD_OUT)), [len(r) for r in rows])
    rows_B = np.concatenate(rows)
    with ticking("Predicting", len(rows_B) * (2 if has_gate(fitted) else 1)) as tick:
        logits_B = np.concatenate([fitted.logits(columns, r, tick) for r in rows])
        gates = [alphas(fitted, columns, r, tick) for r in rows]
    scene_B = columns.scene_N[rows_B]
    if calibration is None and fitted.stage.calibration != "none":
        val = split_B == 0
        calibration = fit_calibration(
            logits_B[val],
            columns.label_N[rows_B[val]],
            scene_B[val],
            _users(columns, rows_B[val]),
            columns.scenes,
        )
    calibrated_B = logits_B if calibration is None else calibration(logits_B, scene_B, columns.scenes)
    known = [gate_B for gate_B in gates if gate_B is not None]
    alpha_B = np.concatenate(known) if known else None
    return Predictions(rows_B, split_B, logits_B, sigmoid(calibrated_B), alpha_B, calibration)


def evaluate(stage: Stage, contract: Contract, columns: Columns, predictions: Predictions) -> dict[str, Any]:
    """What metrics.json holds: every metric of each held-out split, overall and by scene."""
    out: dict[str, Any] = {
        "stage": label(stage),
        "seed": stage.seed,
        "dataset": contract.dataset,
        "mart": f"{contract.model}_v{contract.version}",
        "splits": {},
    }
    with ticking("Measuring", 2 * len(predictions.rows_B)) as tick:
        for k, split in enumerate(HELD_OUT):
            in_B = predictions.split_B == k
            rows = predictions.rows_B[in_B]
            out["splits"][split] = metrics.evaluation(
                columns.label_N[rows],
                predictions.probability_B[in_B],
                _users(columns, rows),
                columns.scene_N[rows],
                columns.scenes,
                resamples=stage.evaluation.resamples,
                min_class=stage.evaluation.min_class,
                seed=BOOTSTRAP_SEED,
                tick=tick,
            )
            if predictions.calibration is not None:
                out["splits"][split]["uncalibrated"] = _uncalibrated(columns, predictions, in_B)
    return out


def _users(columns: Columns, rows_B: np.ndarray) -> np.ndarray:
    """The rows' users as numbers, in the order of their ids' text: the same in every store that has these rows.

    So resampling draws the same users wherever the rows were read. Shapes: -> (B,), int64.
    """
    codes_U, at_B = np.unique(columns.codes_of("user")[rows_B], return_inverse=True)
    names = pa.array(columns.dictionaries[columns.id_names["user"]], pa.string()).take(pa.array(codes_U - 1))
    place_U = np.empty(len(codes_U), np.int64)
    place_U[pc.sort_indices(names).to_numpy()] = np.arange(len(codes_U))
    return place_U[at_B]


def _uncalibrated(columns: Columns, predictions: Predictions, in_B: np.ndarray) -> dict[str, Any]:
    """ECE and log loss of the model's own probabilities, overall and by scene."""
    label_B, p_B = columns.label_N[predictions.rows_B[in_B]], sigmoid(predictions.logits_B[in_B])
    scene_B = columns.scene_N[predictions.rows_B[in_B]]

    def both(own: np.ndarray) -> dict[str, Any]:
        return {"ece": metrics.ece(label_B[own], p_B[own]), "log_loss": metrics.log_loss(label_B[own], p_B[own])}

    scenes = {scene: both(scene_B == s) for s, scene in enumerate(columns.scenes)}
    return both(np.ones(len(label_B), bool)) | {"scenes": scenes}


def cold_start_cells(stage: Stage, columns: Columns, predictions: Predictions) -> list[dict[str, Any]]:
    """The cold-start cube of each held-out split."""
    out = []
    # Each row is in a cell and in those of its margins.
    with ticking("Measuring cold start", 2 * 2 ** len(columns.level_groups) * len(predictions.rows_B)) as tick:
        for k, split in enumerate(HELD_OUT):
            in_B = predictions.split_B == k
            rows = predictions.rows_B[in_B]
            cells = metrics.cold_start(
                columns.label_N[rows],
                predictions.probability_B[in_B],
                _users(columns, rows),
                columns.level_NG[rows],
                columns.level_groups,
                columns.scene_N[rows],
                columns.scenes,
                resamples=stage.evaluation.resamples,
                min_class=stage.evaluation.min_class,
                seed=BOOTSTRAP_SEED,
                tick=tick,
                alpha_B=None if predictions.alpha_B is None else predictions.alpha_B[in_B],
            )
            out += [{"split": split} | cell for cell in cells]
    return out


def write_cells(folder: Path, cells: list[dict[str, Any]], scenes: tuple[str, ...]) -> None:
    """cold_start.csv, a cell a line; cold_start_pivot.csv, a pair of levels a line and the scenes beside each other."""
    with (folder / "cold_start.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, cells[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(cells)
    by_key = {tuple(c[k] for k in ("split", "user_level", "item_level", "scene")): c for c in cells}
    columns = [metrics.ANY, *scenes]
    with (folder / "cold_start_pivot.csv").open("w", newline="", encoding="utf-8") as file:
        pivot = csv.writer(file, lineterminator="\n")
        measures = ["auc", "n", *(["alpha"] if any(c["alpha"] is not None for c in cells) else [])]
        pivot.writerow(["split", "user_level", "item_level", *(f"{m} {s}" for m in measures for s in columns)])
        for key in dict.fromkeys(key[:3] for key in by_key):
            row = [by_key[(*key, scene)] for scene in columns]
            pivot.writerow([*key, *(c[m] for m in measures for c in row)])


def write_predictions(path: Path, columns: Columns, predictions: Predictions) -> None:
    """All that comparing runs needs: which event, whose, of what scene and level, what happened, what was said."""
    rows = predictions.rows_B
    ids = {
        group: pa.array([None, *columns.dictionaries[columns.id_names[group]]], pa.string()).take(
            pa.array(columns.codes_of(group)[rows])
        )
        for group in ("user", "item")
    }
    levels = {
        f"{group}_level": pa.array([*LEVELS, None]).take(pa.array(columns.level_NG[rows, g] % (len(LEVELS) + 1)))
        for g, group in enumerate(columns.level_groups)
    }
    pq.write_table(
        pa.table(
            {
                "event_id": columns.event_ids(rows),
                "user_id": ids["user"],
                "item_id": ids["item"],
                "scene": pa.array(columns.scenes).take(pa.array(columns.scene_N[rows])),
                **{name: levels.get(name, pa.nulls(len(rows), pa.string())) for name in ("user_level", "item_level")},
                "split": pa.array(HELD_OUT).take(pa.array(predictions.split_B)),
                "label": pa.array(columns.label_N[rows].astype(np.int32)),
                "probability": pa.array(predictions.probability_B),
                **({} if predictions.alpha_B is None else {"alpha": pa.array(predictions.alpha_B)}),
            }
        ),
        path,
    )
