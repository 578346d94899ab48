"""One HTML file from finished runs: opens offline, light and dark, asks nothing of the network."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pyarrow.parquet as pq

from trainer.charts import auc_chart, calibration_chart, cube_chart, importance_chart, learning_chart
from trainer.errors import TrainerError
from trainer.files import read_json, replace_text
from trainer.importance_file import read_importance
from trainer.metrics import ANY, calibration

_TEMPLATES = Path(__file__).parent / "templates"
COLUMNS = (
    ("auc", "AUC"), ("macro_auc", "macro AUC"), ("gauc", "GAUC"), ("gauc_coverage", "GAUC coverage"),
    ("pr_auc", "PR-AUC"), ("log_loss", "log loss"), ("ne", "NE"), ("ece", "ECE"),
)  # fmt: skip


def write_report(runs: list[Path], output: Path, bayes: Path | None = None, names: list[str] | None = None) -> None:
    """Write the report of finished runs to `output`.

    bayes: the truth/bayes.json of a simulated log; None looks for data/raw/<dataset>/truth/bayes.json.
    Raises: TrainerError when a run's files or the Bayes file can't be read.
    """
    loaded = [_load(run, name) for run, name in zip(runs, names or _short_names(runs), strict=True)]
    ceiling = _ceiling(bayes, loaded[0]["dataset"]["dataset"])
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"score": _score, "percent": _percent, "count": _count}
    template = environment.get_template("report.html.j2")
    scales = {m: _scale(loaded, m) for m in ("auc", "alpha")}
    for run in loaded:
        run["cube_charts"] = [
            (m, cube_chart(run["name"], run["cube"], m, *scales[m])) for m in scales if _has(run["cube"], m)
        ]
        run["importance_charts"] = [
            importance_chart(f"{run['name']}, {what}", rows[:15]) for what, rows in run["importance"].items() if rows
        ]
    same_scenes = dict.fromkeys(s for run in loaded for s in run["metrics"]["splits"]["test"]["scenes"])
    html = template.render(
        runs=loaded, columns=COLUMNS, scenes=list(same_scenes), ceiling=ceiling, any=ANY,
        datasets=list({repr(run["dataset"]): run["dataset"] for run in loaded}.values()),
        auc_chart=auc_chart(
            [{"name": r["name"], "auc": t["auc"], "low": t["auc_low"], "high": t["auc_high"]}
             for r in loaded for t in [r["metrics"]["splits"]["test"]]],
            (ceiling or {}).get((ANY, ANY, ANY)),
        ),
        calibration_chart=calibration_chart([(r["name"], r["calibration"]) for r in loaded if r["calibration"]]),
        learning_charts=[chart for r in loaded if (chart := learning_chart(r["name"], r["training"]))],
    )  # fmt: skip
    replace_text(output, html)


def _short_names(runs: list[Path]) -> list[str]:
    names = [run.resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run) for run in runs]


def _load(run: Path, name: str) -> dict[str, Any]:
    try:
        predictions = pq.read_table(run / "predictions.parquet", columns=["split", "label", "probability"])
        with (run / "cold_start.csv").open(newline="", encoding="utf-8") as file:
            cells = [cell for cell in csv.DictReader(file) if cell["split"] == "test"]
        loaded = {
            key: read_json(run / f"{key}.json") for key in ("metrics", "training", "dataset", "lineage", "timing")
        }
    except (OSError, ValueError) as error:
        raise TrainerError(
            f"{run} can't be read as a finished run ({error}). Train it again with `trainer fit`."
        ) from None
    test = np.asarray(predictions["split"]) == "test"
    label, probability = np.asarray(predictions["label"])[test], np.asarray(predictions["probability"])[test]
    importance = read_importance(run)
    return loaded | {
        "name": name,
        "cube": _cube(cells),
        "importance": importance,
        "calibration": calibration(label, probability),
    }


def _cube(cells: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Rows user level x item level, each with its cells in the order of the scenes."""
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for cell in cells:
        numbers = {key: float(cell[key]) if cell.get(key) else None for key in ("auc", "auc_low", "auc_high", "alpha")}
        one = numbers | {"scene": cell["scene"], "n": int(cell["n"]), "positives": int(cell["positives"])}
        rows.setdefault((cell["user_level"], cell["item_level"]), []).append(one)
    return [{"user_level": u, "item_level": i, "cells": found} for (u, i), found in rows.items()]


def _has(cube: list[dict[str, Any]], measure: str) -> bool:
    return any(cell[measure] is not None for row in cube for cell in row["cells"])


def _scale(loaded: list[dict[str, Any]], measure: str) -> tuple[float, float]:
    """The least and the most of a measure over all runs' cells."""
    found = [c[measure] for run in loaded for row in run["cube"] for c in row["cells"] if c[measure] is not None]
    return (min(found), max(found)) if found else (0.0, 1.0)


def _ceiling(given: Path | None, dataset: str) -> dict[tuple[str, str, str], float | None] | None:
    """The Bayes AUC on test by (user level, item level, scene), `all` for a margin; None where no file is.

    The file: splits.test.overall.auc, .scenes.<scene>.auc, .{user,item}_levels.<level>.auc, and .cells.
    """
    path = given or Path("data/raw") / dataset / "truth" / "bayes.json"
    if not path.exists():
        if given:
            raise TrainerError(f"No Bayes file {path}. Leave --bayes out to go without a ceiling.")
        return None
    try:
        test = read_json(path)["splits"]["test"]
        out = {(ANY, ANY, ANY): float(test["overall"]["auc"])}
        out |= {(ANY, ANY, scene): one["auc"] for scene, one in test["scenes"].items()}
        out |= {(level, ANY, ANY): one["auc"] for level, one in test.get("user_levels", {}).items()}
        out |= {(ANY, level, ANY): one["auc"] for level, one in test.get("item_levels", {}).items()}
        return out | {(c["user_level"], c["item_level"], c["scene"]): c["auc"] for c in test.get("cells", [])}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise TrainerError(
            f"{path}: expected the Bayes AUC by split, as `python -m warehouse.simulate` writes it. "
            "Write it again, or name another file with --bayes."
        ) from None


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}%"


def _count(value: int) -> str:
    return f"{value:,}"
