"""A log of users and items with topics: a user's list and an item's hold entities of their own topic."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from storage.text_ids import text_id
from tests.trainer.toys import Mart, make_toy

TOPICS, PER_TOPIC = 4, 10


def make_log(n: int = 1500, seed: int = 0) -> Mart:
    """Users like one topic and are shown items of any. Entities t0e0 .. t3e9; titles of two words of the topic."""
    mart, rng = make_toy(n, seed), np.random.default_rng(seed + 100)
    users, items = sorted(set(mart.rows["user_id"])), sorted(set(mart.rows["item_id"]))
    lists = {
        name: [f"t{k % TOPICS}e{e}" for e in sorted(rng.choice(PER_TOPIC, 4, replace=False))]
        for group in (users, items)
        for k, name in enumerate(group)
    }
    titles = {item: f"word{k % TOPICS} Nr{k}" for k, item in enumerate(items)}
    ids = {name: [text_id("entity", e) for e in entities] for name, entities in lists.items()}
    mart.set("title_text_id", [text_id("title", titles[i]) for i in mart.rows["item_id"]])
    mart.set("item_entities", [ids[i] if k % 19 else None for k, i in enumerate(mart.rows["item_id"])])
    mart.set("user_entities", [ids[u] if k % 17 else [] for k, u in enumerate(mart.rows["user_id"])])
    mart.set("about_user", [text_id("user", f"all of {u}") for u in mart.rows["user_id"]])
    mart.columns += [
        {"name": name, "data_type": kind, "description": "", "meta": {"role": "text_id", "group": group} | more}
        for name, kind, group, more in (
            ("item_entities", "bigint[]", "item", {"kind": "list"}),
            ("user_entities", "bigint[]", "user", {"kind": "list"}),
            ("about_user", "bigint", "user", {"cold_only": True}),
        )
    ]
    mart.columns = deepcopy(mart.columns)
    mart.texts = (  # type: ignore[attr-defined]
        [("entity", f"t{t}e{e}") for t in range(TOPICS) for e in range(PER_TOPIC)]
        + [("title", title) for title in titles.values()]
        + [("user", f"all of {u}") for u in users]
    )
    return mart


def write_log(mart: Mart, marts: Path, **how: int) -> Path:
    """The training mart and its texts mart."""
    mart.write(marts, **how)
    (marts / "texts").mkdir(exist_ok=True)
    texts = mart.texts  # type: ignore[attr-defined]
    ones = [1] * len(texts)
    columns = {
        "text_id": pa.array([text_id(side, text) for side, text in texts], pa.int64()),
        "text": [text for _, text in texts],
        "side": [side for side, _ in texts],
    } | {name: pa.array(ones, pa.int64()) for name in ("n_rows", "n_cold_rows", "n_train_rows")}
    pq.write_table(pa.table(columns), marts / "texts" / "part-0.parquet")
    return marts
