"""What a text stage read: texts.json of a run, written at fit, shown by the report.

Which texts have a vector, which of the held-out ones train never held, the nearest others of a few titles, and what
the language model had to encode. The words themselves come from the `texts` mart beside the training mart, where there
is one; words of users are never written here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from trainer.columns.ragged import Lists, ids_of
from trainer.columns.store import Columns, evenly_spaced
from trainer.contract.schema import SPLITS, Contract
from trainer.inputs.text import cold_rows, texts_of_rows
from trainer.inputs.vectors import TextSpace
from trainer.training.fitted import Fitted
from trainer.training.placebo import is_placebo

_TITLES, _NEAR = 6, 3
_POOL = 100_000  # texts among which neighbours are sought at most, evenly spread: bounds memory
_READ = ("text_id", "text", "side", "n_cold_rows")
_LENGTH = 100  # characters of a title that are kept
_COUNTS = ("texts", "cold", "encoded", "bytes", "bytes_encoded")


def text_facts(fitted: Fitted, contract: Contract, columns: Columns) -> dict[str, Any] | None:
    """What texts.json holds; None for a stage that reads no texts.

    coverage: for each encoder and column of text ids, by split: distinct texts, those with a vector, those that train
    doesn't hold; rows, those with a text that has a vector. neighbours: titles that train holds most often, by cosine
    of whitened vectors; None without titles or a texts mart, and for a placebo. fallback: what the language model
    encoded; None without one, or a texts mart.
    """
    inputs = fitted.inputs
    main = inputs.texts or inputs.llm
    if main is None:
        return None
    texts = _texts_mart(contract.folder.parent / "texts")
    return {
        "coverage": [
            coverage
            for kind, space in (("texts", inputs.texts), ("llm", inputs.llm))
            if space
            for coverage in _coverage(fitted, columns, kind, space)
        ],
        "neighbours": None if texts is None or is_placebo(fitted.stage) else _neighbours(fitted, columns, texts, main),
        "fallback": None if texts is None or not inputs.llm else _fallback(fitted, columns, texts, inputs.llm),
    }


def _texts_mart(folder: Path) -> ds.Dataset | None:
    """None where there is none that can be read: a fit needs its ids alone, not its words."""
    if not folder.is_dir():
        return None
    found = ds.dataset(folder, format="parquet", exclude_invalid_files=True)
    return found if set(_READ) <= set(found.schema.names) else None


def _coverage(fitted: Fitted, columns: Columns, kind: str, space: TextSpace) -> list[dict[str, Any]]:
    table = _table(fitted, columns, space)
    names = [name for name in space.means if name in {c.name for c in columns.texts}]
    found: dict[str, dict[str, np.ndarray]] = {}
    read: dict[str, np.ndarray] = {}
    for split in SPLITS:
        rows = columns.rows(split)
        read[split] = cold_rows(columns, rows) if kind == "llm" else rows
        found[split] = texts_of_rows(columns, names, read[split])
    lists = {c.name: c.codes for c in columns.texts}
    groups = dict(fitted.inputs.text_columns)
    return [
        {
            "encoder": space.encoder,
            "cold_only": kind == "llm",
            "column": name,
            "group": groups[name],
            "splits": {
                split: {
                    "texts": len(found[split][name]),
                    "with_vector": int(table[found[split][name], -1].sum()),
                    "new": int((~np.isin(found[split][name], found["train"][name])).sum()),
                    "rows": len(read[split]),
                    "rows_with_vector": _rows_with(columns, lists[name], read[split], table[:, -1] > 0),
                }
                for split in SPLITS
            },
        }
        for name in names
    ]


def _rows_with(columns: Columns, lists: Lists, rows_N: np.ndarray, has: np.ndarray) -> int:
    """How many of the rows hold a text that has a vector. has: by code."""
    n = 0
    for s in range(0, len(rows_N), _POOL):
        begin, codes_K = lists.take(rows_N[s : s + _POOL])
        seen = np.concatenate([[0], np.cumsum(has[codes_K])])[begin]
        n += int((seen[1:] > seen[:-1]).sum())
        columns.release_pages()
    return n


def _neighbours(fitted: Fitted, columns: Columns, texts: ds.Dataset, space: TextSpace) -> dict[str, Any] | None:
    """The nearest others of the titles that occur most in train, each among the texts of the title's column."""
    titles = next((c for c in columns.texts if c.group == "item" and c.name in space.means), None)
    if titles is None:
        return None
    table = _table(fitted, columns, space)
    times = np.zeros(len(table), np.int64)
    rows = columns.rows("train")
    for s in range(0, len(rows), _POOL):
        times += np.bincount(titles.codes.take(rows[s : s + _POOL])[1], minlength=len(table))
        columns.release_pages()
    pool = texts_of_rows(columns, [titles.name], np.arange(len(columns)))[titles.name]
    pool = pool[table[pool, -1] > 0]
    asked = pool[np.argsort(-times[pool], kind="stable")[:_TITLES]]
    pool = np.union1d(asked, evenly_spaced(pool, _POOL))
    unit = table[pool, :-1]
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    near: dict[int, list[tuple[int, float]]] = {}
    for code in asked:
        at = int(np.searchsorted(pool, code))
        cosine = unit @ unit[at]
        cosine[at] = -np.inf
        best = np.argsort(-cosine, kind="stable")[: min(_NEAR, len(pool) - 1)]
        near[int(code)] = [(int(pool[k]), round(float(cosine[k]), 4)) for k in best]
    wanted = {columns.text_ids[c - 1] for code, others in near.items() for c in (code, *(o for o, _ in others))}
    words = _words(texts, wanted)

    def text(code: int) -> str:
        return words.get(columns.text_ids[code - 1], "")

    return {
        "encoder": space.encoder,
        "column": titles.name,
        "among": len(pool),
        "titles": [
            {"text": text(code), "near": [{"text": text(o), "cosine": cosine} for o, cosine in others]}
            for code, others in near.items()
        ],
    }


def _words(texts: ds.Dataset, wanted: set[int]) -> dict[int, str]:
    words = {}
    for batch in texts.to_batches(columns=["text_id", "text"]):
        ids = _ids(batch)
        asked = pc.is_in(ids, pa.array(wanted, pa.int64()))
        # As bytes: Arrow takes invalid UTF-8 on trust.
        found = batch["text"].cast(pa.binary()).filter(asked).to_pylist()
        for key, value in zip(ids.filter(asked).to_pylist(), found, strict=True):
            words[key] = (value or b"").decode("utf-8", "replace")[:_LENGTH]
    return words


def _ids(batch: pa.RecordBatch) -> pa.Array:
    """Raises: TrainerError for a text id that is none."""
    return ids_of(batch["text_id"], "text_id", "text_id", "the texts mart")


def _fallback(fitted: Fitted, columns: Columns, texts: ds.Dataset, space: TextSpace) -> dict[str, Any]:
    """By side: texts that hold anything, those of cold rows, those with a vector; and the bytes of the last two."""
    sides: dict[str, dict[str, int]] = {}
    for batch in texts.to_batches(columns=list(_READ)):
        bytes_N = pc.fill_null(pc.binary_length(batch["text"].cast(pa.binary())), 0).to_numpy()
        cold_N = pc.fill_null(batch["n_cold_rows"], 0).to_numpy() > 0
        found_N = space.has(_ids(batch).to_numpy(), fitted.vectors)
        side_N = batch["side"].to_numpy(zero_copy_only=False)
        for side in set(side_N):
            own = (side_N == side) & (bytes_N > 0)
            one = sides.setdefault(str(side), dict.fromkeys(_COUNTS, 0))
            for name, mask in zip(_COUNTS[:3], (own, own & cold_N, own & found_N), strict=True):
                one[name] += int(mask.sum())
            one["bytes"] += int(bytes_N[own].sum())
            one["bytes_encoded"] += int(bytes_N[own & found_N].sum())
    rows = {split: columns.rows(split) for split in SPLITS}
    return {
        "encoder": space.encoder,
        "sides": dict(sorted(sides.items())),
        "cold_rows": {s: len(cold_rows(columns, r)) / len(r) if len(r) else None for s, r in rows.items()},
    }


def _table(fitted: Fitted, columns: Columns, space: TextSpace) -> np.ndarray:
    """As the model read them (inputs/text.py asks by the same key, so they are whitened once)."""
    return space.table(columns.text_ids, str(columns.folder), fitted.vectors)
