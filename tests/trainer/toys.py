"""Small marts in the contract's form, written without dbt, with a signal planted in them."""

from __future__ import annotations

import json
import os
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from storage.text_ids import as_ids

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, and for the same reason

UNIQUE_ID = "model.first_impression.training_examples.v1"
SCENES = ("home", "search", "video")
START = datetime(2026, 1, 1)


def feature(kind: str, group: str, **more: str) -> dict[str, str]:
    return {"role": "feature", "kind": kind, "group": group} | more


COLUMNS: list[dict[str, Any]] = [
    {"name": name, "data_type": data_type, "description": "", "meta": meta}
    for name, data_type, meta in [
        ("event_id", "string", {"role": "key"}),
        ("user_id", "string", {"role": "key", "kind": "categorical", "group": "user"}),
        ("item_id", "string", {"role": "key", "kind": "categorical", "group": "item"}),
        ("scene", "string", {"role": "scene"}),
        ("label", "int", {"role": "label"}),
        ("split", "string", {"role": "split"}),
        ("event_at", "timestamp", {"role": "time"}),
        ("event_date", "date", {"role": "time"}),
        ("known_at", "timestamp", {"role": "time"}),
        ("user_level", "string", {"role": "level", "group": "user"}),
        ("item_level", "string", {"role": "level", "group": "item"}),
        ("item_rate", "double", feature("dense", "item", transform="none")),
        ("user_count", "bigint", feature("dense", "user", transform="log1p")),
        ("device", "string", feature("categorical", "context")),
        ("scene_counts", "double[]", feature("list", "user", transform="log1p", names="scenes")),
        ("ctx_dense", "array<double>", feature("list", "context", names="ctx_dense")),
        ("ctx_ids", "string[]", feature("list", "context", names="ctx_ids")),
        ("title_text_id", "bigint", {"role": "text_id", "group": "item"}),
    ]
]
RICH_COLUMNS: list[dict[str, Any]] = [
    {"name": name, "data_type": data_type, "description": "", "meta": meta}
    for name, data_type, meta in [
        ("past_items", "string[]", {"role": "history", "kind": "list", "of": "item_id", "group": "user"}),
        ("past_titles", "bigint[]", {"role": "history", "kind": "list", "of": "text_id", "group": "user"}),
        ("past_labels", "int[]", {"role": "history", "kind": "list", "of": "label", "group": "user"}),
        ("tags", "bigint[]", {"role": "text_id", "kind": "list", "group": "item"}),
        ("about_user", "bigint", {"role": "text_id", "group": "user"}),
    ]
]
RATES: list[dict[str, Any]] = [
    {"name": f"{group}_click_rate_cum", "data_type": "double", "description": "", "meta": feature("dense", group)}
    for group in ("user", "item")
]
_ARROW = {
    "int[]": pa.list_(pa.int32()),
    "string": pa.string(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "timestamp": pa.timestamp("us"),
    "double[]": pa.list_(pa.float64()),
    "array<double>": pa.list_(pa.float64()),
    "string[]": pa.list_(pa.string()),
    "bigint[]": pa.list_(pa.int64()),
}


def numbered(value: Any) -> Any:
    """The text id that a name such as t3 stands for; in a list, that of each."""
    if isinstance(value, list):
        return [numbered(one) for one in value]
    return int(as_ids([value])[0]) if isinstance(value, str) else value


@dataclass
class Mart:
    """A mart before it is written: `rows` holds a list per column, and may be changed; so may `columns` and `record`.

    Text ids have names in `rows` (t3: the title of item i3) and are written as numbers, unless the column is of text.
    """

    rows: dict[str, list[Any]]
    columns: list[dict[str, Any]] = field(default_factory=lambda: deepcopy(COLUMNS))
    record: dict[str, Any] = field(default_factory=dict)

    def set(self, name: str, values: list[Any]) -> Mart:
        self.rows[name] = values
        return self

    def where(self, keep: np.ndarray) -> Mart:
        for name, values in self.rows.items():
            self.rows[name] = [v for v, k in zip(values, keep, strict=True) if k]
        return self

    def split(self, name: str) -> np.ndarray:
        return np.array(self.rows["split"]) == name

    def write(self, marts: Path, *, shuffle: int | None = None, files: int = 1) -> Path:
        """Write Parquet and build record; `shuffle` seeds another order of the rows, `files` of them a day."""
        folder = marts / "training_examples_v1"
        order = np.arange(len(self.rows["event_id"]))
        if shuffle is not None:
            np.random.default_rng(shuffle).shuffle(order)
        days: dict[str, list[int]] = {}
        for k in order:
            days.setdefault(self.rows["event_at"][k].date().isoformat(), []).append(int(k))
        for day, positions in days.items():
            (folder / f"event_date={day}").mkdir(parents=True, exist_ok=True)
            for part, chosen in enumerate(np.array_split(positions, files)):
                table = pa.table(
                    {
                        c["name"]: pa.array([self._written(c, k) for k in chosen], _ARROW[c["data_type"]])
                        for c in self.columns
                        if c["name"] != "event_date"
                    }
                )
                pq.write_table(table, folder / f"event_date={day}" / f"part-{part}.parquet")
        (folder / "_build").mkdir(parents=True, exist_ok=True)
        (folder / "_build" / "build.json").write_text(json.dumps(self.build_record()) + "\n", encoding="utf-8")
        return marts

    def _written(self, column: dict[str, Any], k: int) -> Any:
        value = self.rows[column["name"]][k]
        is_text_id = "text_id" in (column["meta"]["role"], column["meta"].get("of"))
        return numbered(value) if is_text_id and "bigint" in column["data_type"] else value

    def build_record(self) -> dict[str, Any]:
        return {
            "model": "training_examples",
            "version": 1,
            "unique_id": UNIQUE_ID,
            "dataset": "toy",
            "invocation_id": "invocation-1",
            "dbt_version": "1.11.16",
            "adapter": "duckdb",
            "n_rows": len(self.rows["event_id"]),
            "node_checksums": {UNIQUE_ID: "aaaa", "model.first_impression.stg_events": "bbbb"},
            "columns": self.columns,
            "vars": {"scenes": list(SCENES), "ctx_dense": ["price"], "ctx_ids": ["city", "hour"], "few_max": 5},
        } | self.record

    def manifest(self, path: Path) -> Path:
        """A dbt manifest that agrees with the mart."""
        columns = {c["name"]: deepcopy(c) for c in self.columns}
        path.write_text(
            json.dumps(
                {
                    "metadata": {"invocation_id": "invocation-2"},
                    "nodes": {
                        UNIQUE_ID: {
                            "columns": columns,
                            "config": {"contract": {"enforced": True}},
                            "checksum": {"checksum": "aaaa"},
                            "contract": {"checksum": "cccc"},
                            "depends_on": {"nodes": []},
                        },
                        "model.first_impression.stg_events": {"columns": {}, "checksum": {"checksum": "bbbb"}},
                    },
                }
            ),
            encoding="utf-8",
        )
        return path


def as_of_before(mart: Mart) -> Mart:
    """The mart with text ids as text, as in earlier versions: 16 hex digits, and an empty one where a list has none."""

    def digits(value: Any) -> Any:
        if isinstance(value, list):
            return [digits(one) or "" for one in value]
        return value and numbered(value).to_bytes(8, "big", signed=True).hex()

    for column in mart.columns:
        if "text_id" in (column["meta"]["role"], column["meta"].get("of")):
            column["data_type"] = column["data_type"].replace("bigint", "string")
            mart.set(column["name"], [digits(value) for value in mart.rows[column["name"]]])
    return mart


def make_toy(n: int = 3000, seed: int = 0, days: int = 12) -> Mart:
    """A log whose logit is known: item, device and item_rate carry signal, each with another weight in each scene.

    Users of the last days are new; item_rate and scene_counts have NULLs, ctx_ids has NULL elements and whole NULLs.
    The last two days are test, the two before validation.
    """
    rng = np.random.default_rng(seed)
    at = np.sort(rng.integers(0, days * 86_400, n))
    day = at // 86_400
    user = np.where(day >= days - 4, rng.integers(0, 120, n), rng.integers(0, 60, n))
    item = rng.integers(0, 40, n)
    scene = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    device = rng.integers(0, 4, n)
    rate = rng.normal(0, 1, n)
    logit = np.array([1.0, -1.0, 0.5])[scene] * rate + rng.normal(0, 1, 40)[item] + np.array([-1, 0, 0.5, 1])[device]
    label = rng.random(n) < 1 / (1 + np.exp(-logit))
    missing = rng.random(n) < 0.1
    counts = rng.poisson(3, (n, 3)).astype(float)
    split = np.where(day >= days - 2, "test", np.where(day >= days - 4, "val", "train"))
    times = [START + timedelta(seconds=int(s)) for s in at]
    return Mart(
        {
            "event_id": [f"e{k:05d}" for k in rng.permutation(n)],
            "user_id": [f"u{k}" for k in user],
            "item_id": [f"i{k}" for k in item],
            "scene": [SCENES[k] for k in scene],
            "label": label.astype(int).tolist(),
            "split": split.tolist(),
            "event_at": times,
            "event_date": [t.date() for t in times],
            "known_at": times,
            "user_level": ["zero" if k >= 60 else "few" if k >= 40 else "warm" for k in user],
            "item_level": ["warm"] * n,
            "item_rate": [None if m else float(r) for m, r in zip(missing, rate, strict=True)],
            "user_count": rng.poisson(5, n).tolist(),
            "device": [f"d{k}" for k in device],
            "scene_counts": [None if m else list(c) for m, c in zip(missing, counts.tolist(), strict=True)],
            "ctx_dense": [[None if m else float(p)] for m, p in zip(missing, rng.normal(50, 10, n), strict=True)],
            "ctx_ids": [None if k % 17 == 0 else [f"c{k % 5}", None if k % 7 == 0 else f"h{k % 24}"] for k in range(n)],
            "title_text_id": [f"t{k}" for k in item],
        }
    )


def make_rich(n: int = 3000, seed: int = 0, length: int = 6) -> Mart:
    """The toy with texts and the user's latest outcomes, as they were; NULLs wherever the contract allows them."""
    mart = make_toy(n, seed)
    rows = mart.rows
    past: dict[str, list[tuple[str, str, int | None]]] = {}
    lists: list[list[tuple[str, str, int | None]]] = []
    for k, (user, item, label) in enumerate(zip(rows["user_id"], rows["item_id"], rows["label"], strict=True)):
        lists.append(past.get(user, [])[:length])
        title = None if k % 31 == 0 else f"t{item[1:]}"
        past.setdefault(user, []).insert(0, (item, title, None if k % 29 == 0 else label))
    for at, name in enumerate(("past_items", "past_titles", "past_labels")):
        mart.set(name, [[one[at] for one in row] if row else (None if k % 2 else []) for k, row in enumerate(lists)])
    items = [int(item[1:]) for item in rows["item_id"]]
    mart.set("title_text_id", [None if k % 23 == 0 else f"t{i}" for k, i in enumerate(items)])
    mart.set("tags", [None if k % 19 == 0 else [f"g{j}" for j in range(i % 4)] for k, i in enumerate(items)])
    mart.set(
        "about_user",
        [f"a{u[1:]}" if v != "warm" else None for u, v in zip(rows["user_id"], rows["user_level"], strict=True)],
    )
    mart.columns += deepcopy(RICH_COLUMNS)
    return mart


def add_delays(mart: Mart, seed: int = 0) -> Mart:
    """The mart with outcomes that become known late, some after the next days' events, and events of one instant."""
    rng, rows = np.random.default_rng(seed), mart.rows
    n = len(rows["event_id"])
    for k in range(1, n):  # a third of a user's events happen with the one before, where that was the same day
        before = next((j for j in range(k - 1, max(-1, k - 40), -1) if rows["user_id"][j] == rows["user_id"][k]), None)
        if before is not None and k % 3 == 0 and rows["event_date"][before] == rows["event_date"][k]:
            rows["event_at"][k] = rows["event_at"][before]
    delays = rng.choice([0, 0, 1, 3600, 2 * 86_400], n)
    mart.set("known_at", [at + timedelta(seconds=int(d)) for at, d in zip(rows["event_at"], delays, strict=True)])
    return mart


def add_rates(mart: Mart, weight: float = 20) -> Mart:
    """The mart with the smoothed click rates of user and item before each row, NULL on the first row alone."""
    rows, label = mart.rows, np.array(mart.rows["label"])
    past = np.concatenate([[np.nan], np.cumsum(label)[:-1] / np.arange(1, len(label))])
    for group in ("user", "item"):
        n, clicks, rates = Counter[str](), Counter[str](), []
        for key, clicked, prior in zip(rows[f"{group}_id"], label, past, strict=True):
            rates.append(None if np.isnan(prior) else float((clicks[key] + weight * prior) / (n[key] + weight)))
            n[key] += 1
            clicks[key] += int(clicked)
        mart.set(f"{group}_click_rate_cum", rates)
    mart.columns += deepcopy(RATES)
    return mart
