"""How far the test rows' numbers have moved from train's: drift.csv of a run, written at fit, shown by the report.

PSI, the sum over bins of (test - train) * ln(test / train), where the bins are tenths of train and NULL is a bin of its
own; a share of none counts as one in ten thousand. So does the warehouse's `feature_profile`, day by day.
Counts since the beginning and priors move by themselves, so PSI alone flags them all. It is compared with that of
train's last fifth against its first four: how much such a number moves anyway.
Source: Siddiqi 2006, the population stability index.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from trainer.columns.shares import WHOLE, Share
from trainer.columns.store import Columns

FILE = "drift.csv"
MAX_PSI, FACTOR = 0.2, 2  # vars max_psi and drift_factor of the warehouse: a run doesn't record them
FIELDS = (
    "name",
    "psi",
    "psi_in_train",
    "train_median",
    "test_median",
    "train_null",
    "test_null",
    "train_rows",
    "test_rows",
)
_ROWS = 100_000  # of each split at most, evenly spread
_COLUMNS = 32  # read at once: bounds memory
_DECILES = np.arange(1, 10) / 10
_LEAST = 1e-4
_EARLY = 0.8  # of train, in time


def drift(columns: Columns, rows: int = _ROWS, share: Share = WHOLE) -> list[dict[str, Any]]:
    """The drift of every dense input, the largest first; empty where train or test has no rows.

    share: what the columns are of the mart; the first process of its team gets what is found in all, others nothing.
    Returns dicts of FIELDS; psi_in_train is None where train is too short to be cut.
    Units: medians as in the mart, None where all are NULL; NULL shares in [0, 1].
    """
    own = [share.spread(columns, split, rows) for split in ("train", "test")]
    out = []
    for s in range(0, len(columns.dense_names), _COLUMNS):
        parts = [share.team.to_leader((at, columns.dense_of(here, slice(s, s + _COLUMNS)))) for here, at in own]
        if not parts[0]:
            continue
        train_BD, test_BD = (
            np.concatenate([x_BD for _, x_BD in found])[np.argsort(np.concatenate([at for at, _ in found]))]
            for found in parts
        )
        if not len(train_BD) or not len(test_BD):
            continue
        for d, name in enumerate(columns.dense_names[s : s + _COLUMNS]):
            out.append({"name": name} | _compared(train_BD[:, d], test_BD[:, d]))
    return sorted(out, key=lambda row: -row["psi"])


def psi(train_B: np.ndarray, test_B: np.ndarray) -> float:
    """The index of two samples, NaN for NULL. Shapes: (B,) each, of any two lengths above 0."""
    present_B = train_B[~np.isnan(train_B)]
    edges = np.quantile(present_B, _DECILES) if len(present_B) else np.empty(0)
    train_K, test_K = (np.maximum(_shares(x_B, edges), _LEAST) for x_B in (train_B, test_B))
    return float(np.sum((test_K - train_K) * np.log(test_K / train_K)))


def _shares(x_B: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The share of each bin, values from edge to edge (the upper one included), then that of NULLs."""
    missing_B = np.isnan(x_B)
    counts_K = np.bincount(np.searchsorted(edges, x_B[~missing_B], side="left"), minlength=len(_DECILES) + 1)
    return np.append(counts_K, missing_B.sum()) / len(x_B)


def _compared(train_B: np.ndarray, test_B: np.ndarray) -> dict[str, Any]:
    cut = int(_EARLY * len(train_B))
    out: dict[str, Any] = {
        "psi": psi(train_B, test_B),
        "psi_in_train": psi(train_B[:cut], train_B[cut:]) if cut else None,
    }
    for split, x_B in (("train", train_B), ("test", test_B)):
        present_B = x_B[~np.isnan(x_B)]
        out[f"{split}_median"] = float(np.median(present_B)) if len(present_B) else None
        out[f"{split}_null"] = float(np.isnan(x_B).mean())
        out[f"{split}_rows"] = len(x_B)
    return out


def write_drift(folder: Path, found: list[dict[str, Any]]) -> None:
    """Write drift.csv, with its head alone where nothing was found."""
    with (folder / FILE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)


def read_drift(run: Path) -> list[dict[str, Any]]:
    """What `write_drift` wrote; empty for a run of an older trainer, which has no such file."""
    if not (run / FILE).exists():
        return []
    with (run / FILE).open(newline="", encoding="utf-8") as file:
        return [
            {"name": row["name"]} | {key: float(row[key]) if row[key] else None for key in FIELDS[1:]}
            for row in csv.DictReader(file)
        ]
