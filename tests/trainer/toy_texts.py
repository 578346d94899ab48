"""Vectors and the texts mart for the texts of the rich toy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from embeddings import Recipe, Template, VectorStore
from tests.trainer.toys import numbered

N_ITEMS, N_TAGS, TEXT_DIM = 40, 6, 12


def write_vectors(root: Path, encoder: str = "e5-small", leave_out: tuple[str, ...] = ()) -> Path:
    """A store of random vectors for every text of the rich toy, crowded together as an encoder's are."""
    ids = [f"t{k}" for k in range(N_ITEMS)] + [f"g{k}" for k in range(N_TAGS)] + [f"a{k}" for k in range(120)]
    ids = [i for i in ids if i not in leave_out]
    recipe = Recipe(encoder, "r1", "mean", Template(), True, 64, "fp32")
    vectors_ND = 3 + np.random.default_rng(5).normal(size=(len(ids), TEXT_DIM)).astype(np.float32)
    with VectorStore.writer(root, recipe, TEXT_DIM) as store:
        store.append(ids, vectors_ND)
    return root


def write_texts(marts: Path) -> Path:
    """The texts mart of the rich toy: t3 is empty, and the texts of the first 40 users occur in no cold row."""
    ids = [f"t{k}" for k in range(N_ITEMS)] + [f"g{k}" for k in range(N_TAGS)] + [f"a{k}" for k in range(120)]
    side = {"t": "title", "g": "entity", "a": "user"}
    word = {"t": "Title <{}>", "g": "tag {}", "a": "a secret of user {}"}
    (marts / "texts").mkdir(parents=True)
    pq.write_table(
        pa.table(
            {
                "text_id": numbered(ids),
                "text": ["" if i == "t3" else word[i[0]].format(i[1:]) for i in ids],
                "side": [side[i[0]] for i in ids],
                "n_rows": [9] * len(ids),
                "n_cold_rows": [0 if i[0] == "a" and int(i[1:]) < 40 else 3 for i in ids],
                "n_train_rows": [5] * len(ids),
            }
        ),
        marts / "texts" / "part-0.parquet",
    )
    return marts
