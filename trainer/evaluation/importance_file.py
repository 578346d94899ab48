"""importance.csv of a run: written by `trainer importance`, shown by the report."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from storage import atomic

FILE = "importance.csv"
FIELDS = ("what", "name", "group", "drop", "sd", "repeats", "rows", "auc")


def write_importance(run: Path, rows: list[dict[str, Any]]) -> None:
    """Write the file atomically. rows: dicts of FIELDS; what is `feature` or `group`."""
    with atomic.file(run / FILE) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_importance(run: Path) -> dict[str, list[dict[str, Any]]]:
    """Rows by `what`, the most telling first; empty where the run has none."""
    if not (run / FILE).exists():
        return {}
    with (run / FILE).open(newline="", encoding="utf-8") as file:
        rows: list[dict[str, Any]] = [
            {**row, **{key: float(row[key]) for key in ("drop", "sd", "auc")}} for row in csv.DictReader(file)
        ]
    rows.sort(key=lambda row: -row["drop"])
    return {what: [row for row in rows if row["what"] == what] for what in dict.fromkeys(row["what"] for row in rows)}
