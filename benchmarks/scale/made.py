"""A mart of any size in the contract's form, made without dbt: what scoring and fitting many rows cost."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DAYS = 20
SCENES = ("home", "search", "video")
START = date(2026, 1, 1)
_NUMBERS = [f"user_measure_{k}" for k in range(12)] + [f"item_measure_{k}" for k in range(12)]


def _column(name: str, data_type: str, **meta: str) -> dict[str, Any]:
    return {"name": name, "data_type": data_type, "description": "", "meta": meta}


COLUMNS = [
    _column("event_id", "string", role="key"),
    _column("user_id", "string", role="key", kind="categorical", group="user"),
    _column("item_id", "string", role="key", kind="categorical", group="item"),
    _column("scene", "string", role="scene"),
    _column("label", "int", role="label"),
    _column("split", "string", role="split"),
    _column("event_at", "timestamp", role="time"),
    _column("event_date", "date", role="time"),
    _column("user_level", "string", role="level", group="user"),
    _column("item_level", "string", role="level", group="item"),
    _column("device", "string", role="feature", kind="categorical", group="context"),
    *(
        _column(name, "double", role="feature", kind="dense", group=name.split("_")[0], transform="log1p")
        for name in _NUMBERS
    ),
]


def rows_of_day(day: int, n: int) -> pa.Table:
    """One row per event of a day, all columns but the partition's; what is clicked depends on item and two numbers."""
    rng = np.random.default_rng([7, day])
    user, item, device = rng.zipf(1.3, n) % 50_000, rng.zipf(1.3, n) % 20_000, rng.integers(0, 4, n)
    numbers_BD = rng.gamma(2.0, 3.0, (n, len(_NUMBERS)))
    logit = np.sin(item) + 0.5 * np.log1p(numbers_BD[:, 0]) - 0.5 * np.log1p(numbers_BD[:, 12]) + 0.2 * device - 1
    scene = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    began = np.datetime64((START + timedelta(days=day)).isoformat(), "us")
    at = began + np.sort(rng.integers(0, 86_400_000_000, n)).astype("timedelta64[us]")
    split = "test" if day >= DAYS - 2 else "val" if day >= DAYS - 4 else "train"

    def named(prefix: str, codes: np.ndarray) -> pa.Array:
        values, at_B = np.unique(codes, return_inverse=True)
        return pa.array([f"{prefix}{value}" for value in values]).take(pa.array(at_B))

    return pa.table(
        {
            "event_id": pa.array(np.char.add(f"e{day}-", np.arange(n).astype(str))),
            "user_id": named("u", user),
            "item_id": named("i", item),
            "scene": pa.array(SCENES).take(pa.array(scene)),
            "label": pa.array((rng.random(n) < 1 / (1 + np.exp(-logit))).astype(np.int32)),
            "split": pa.array([split]).take(pa.array(np.zeros(n, np.int64))),
            "event_at": pa.array(at),
            "user_level": pa.array(["warm"]).take(pa.array(np.zeros(n, np.int64))),
            "item_level": pa.array(["warm"]).take(pa.array(np.zeros(n, np.int64))),
            "device": named("d", device),
            **{name: pa.array(numbers_BD[:, d]) for d, name in enumerate(_NUMBERS)},
        }
    )


def write_mart(marts: Path, n_rows: int) -> Path:
    """The mart `training_examples_v1` of about n_rows rows below `marts`, one file per day; returns its folder."""
    folder, per_day = marts / "training_examples_v1", n_rows // DAYS
    for day in range(DAYS):
        partition = folder / f"event_date={START + timedelta(days=day)}"
        partition.mkdir(parents=True)
        pq.write_table(rows_of_day(day, per_day), partition / "part-0.parquet")
    record = {
        "model": "training_examples",
        "version": 1,
        "unique_id": "model.first_impression.training_examples.v1",
        "dataset": "made",
        "n_rows": per_day * DAYS,
        "node_checksums": {},
        "columns": COLUMNS,
        "vars": {"scenes": list(SCENES)},
    }
    (folder / "_build").mkdir()
    (folder / "_build" / "build.json").write_text(json.dumps(record))
    return folder
