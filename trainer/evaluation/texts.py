"""What a text stage read: texts.json of a run, written at fit, shown by the report.

Which texts have a vector, which of the held-out ones train never held, the nearest others of a few titles, and what
the language model had to encode. The words themselves come from the `texts` mart beside the training mart, where there
is one; words of users are never written here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from trainer.base.team import ALONE, Team
from trainer.columns.ragged import Lists, ids_of
from trainer.columns.store import Columns, evenly
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


def text_facts(fitted: Fitted, contract: Contract, columns: Columns, team: Team = ALONE) -> dict[str, Any] | None:
    """What texts.json holds; None for a stage that reads no texts.

    coverage: for each encoder and column of text ids, by split: distinct texts, those with a vector, those that train
    doesn't hold; rows, those with a text that has a vector. neighbours: titles that train holds most often, by cosine
    of whitened vectors; None without titles or a texts mart, and for a placebo. fallback: what the language model
    encoded; None without one, or a texts mart.
    team: the rows are those of all its processes; what they come to is the first one's.
    """
    inputs = fitted.inputs
    main = inputs.texts or inputs.llm
    if main is None:
        return None
    spaces = [(kind, space) for kind, space in (("texts", inputs.texts), ("llm", inputs.llm)) if space]
    coverage = [one for kind, space in spaces for one in _coverage(fitted, columns, kind, space, team)]
    texts = _texts_mart(contract.folder.parent / "texts") if team.leads else None
    neighbours = fallback = None
    if team.agreed(texts is not None):
        neighbours = None if is_placebo(fitted.stage) else _neighbours(fitted, columns, texts, main, team)
        fallback = _fallback(fitted, columns, texts, inputs.llm, team) if inputs.llm else None
    return {"coverage": coverage, "neighbours": neighbours, "fallback": fallback}


def _texts_mart(folder: Path) -> ds.Dataset | None:
    """None where there is none that can be read: a fit needs its ids alone, not its words."""
    if not folder.is_dir():
        return None
    found = ds.dataset(folder, format="parquet", exclude_invalid_files=True)
    return found if set(_READ) <= set(found.schema.names) else None


def _coverage(fitted: Fitted, columns: Columns, kind: str, space: TextSpace, team: Team) -> list[dict[str, Any]]:
    table, ids_T = _table(fitted, columns, space), np.array(columns.text_ids, np.int64)
    lists = {c.name: c.codes for c in columns.texts}
    names = [name for name in space.means if name in lists]
    own: dict[str, dict[str, _Seen]] = {name: {} for name in names}
    for split in SPLITS:
        rows = columns.rows(split)
        read = cold_rows(columns, rows) if kind == "llm" else rows
        for name, codes in texts_of_rows(columns, names, read).items():
            rows_with = _rows_with(columns, lists[name], read, table[:, -1] > 0)
            own[name][split] = _Seen(ids_T[codes - 1], table[codes, -1] > 0, len(read), rows_with)
    parts, groups = team.to_leader(own), dict(fitted.inputs.text_columns)
    out = []
    for name in names if parts else []:
        seen = {split: _Seen.of_all([part[name][split] for part in parts]) for split in SPLITS}
        splits = {
            split: {
                "texts": len(one.ids_K),
                "with_vector": int(one.has_K.sum()),
                "new": int((~np.isin(one.ids_K, seen["train"].ids_K)).sum()),
                "rows": one.rows,
                "rows_with_vector": one.rows_with,
            }
            for split, one in seen.items()
        }
        about = {"encoder": space.encoder, "cold_only": kind == "llm", "column": name, "group": groups[name]}
        out.append(about | {"splits": splits})
    return out


@dataclass(frozen=True)
class _Seen:
    """The distinct texts of a column in one split, which of them have a vector, and in how many of the rows one is."""

    ids_K: np.ndarray
    has_K: np.ndarray
    rows: int
    rows_with: int

    @classmethod
    def of_all(cls, parts: list[_Seen]) -> _Seen:
        ids_K, first_K = np.unique(np.concatenate([part.ids_K for part in parts]), return_index=True)
        has_K = np.concatenate([part.has_K for part in parts])[first_K]
        return cls(ids_K, has_K, sum(part.rows for part in parts), sum(part.rows_with for part in parts))


def _rows_with(columns: Columns, lists: Lists, rows_N: np.ndarray, has: np.ndarray) -> int:
    """How many of the rows hold a text that has a vector. has: by code."""
    n = 0
    for s in range(0, len(rows_N), _POOL):
        begin, codes_K = lists.take(rows_N[s : s + _POOL])
        seen = np.concatenate([[0], np.cumsum(has[codes_K])])[begin]
        n += int((seen[1:] > seen[:-1]).sum())
        columns.release_pages()
    return n


def _neighbours(
    fitted: Fitted, columns: Columns, texts: ds.Dataset | None, space: TextSpace, team: Team
) -> dict[str, Any] | None:
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
    # P titles: where each one's vector is in the table, its id, and how often train holds it.
    at_P = texts_of_rows(columns, [titles.name], np.arange(len(columns)))[titles.name]
    ids_P, times_P = np.array(columns.text_ids, np.int64)[at_P - 1], times[at_P]
    parts = team.to_leader((ids_P, times_P))
    if texts is None:
        return None
    if team.size > 1:
        ids_P, place = np.unique(np.concatenate([ids for ids, _ in parts]), return_inverse=True)
        times_P = np.bincount(place, np.concatenate([n for _, n in parts]), len(ids_P)).astype(np.int64)
        table, at_P = space.table(ids_P.tolist(), "titles of all processes", fitted.vectors), 1 + np.arange(len(ids_P))
    by_id = np.argsort(ids_P)  # an order that doesn't depend on which rows were read first
    kept_P = by_id[table[at_P[by_id], -1] > 0]
    at_P, ids_P, times_P = at_P[kept_P], ids_P[kept_P], times_P[kept_P]
    asked = np.argsort(-times_P, kind="stable")[:_TITLES]
    pool = np.union1d(asked, evenly(len(at_P), _POOL))
    unit = table[at_P[pool], :-1]
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    near: dict[int, list[tuple[int, float]]] = {}
    for title in asked:
        at = int(np.searchsorted(pool, title))
        cosine = unit @ unit[at]
        cosine[at] = -np.inf
        best = np.argsort(-cosine, kind="stable")[: min(_NEAR, len(pool) - 1)]
        near[int(ids_P[title])] = [(int(ids_P[pool[k]]), round(float(cosine[k]), 4)) for k in best]
    words = _words(texts, {one for title, others in near.items() for one in (title, *(o for o, _ in others))})
    return {
        "encoder": space.encoder,
        "column": titles.name,
        "among": len(pool),
        "titles": [
            {
                "text": words.get(title, ""),
                "near": [{"text": words.get(other, ""), "cosine": cosine} for other, cosine in others],
            }
            for title, others in near.items()
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


def _fallback(
    fitted: Fitted, columns: Columns, texts: ds.Dataset | None, space: TextSpace, team: Team
) -> dict[str, Any] | None:
    """By side: texts that hold anything, those of cold rows, those with a vector; and the bytes of the last two."""
    n_S2 = team.sum(
        np.array([[len(cold_rows(columns, rows)), len(rows)] for rows in map(columns.rows, SPLITS)], np.int64)
    )
    if texts is None:
        return None
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
    shares = [float(cold / n) if n else None for cold, n in n_S2]
    cold = dict(zip(SPLITS, shares, strict=True))
    return {"encoder": space.encoder, "sides": dict(sorted(sides.items())), "cold_rows": cold}


def _table(fitted: Fitted, columns: Columns, space: TextSpace) -> np.ndarray:
    """As the model read them (inputs/text.py asks by the same key, so they are whitened once)."""
    return space.table(columns.text_ids, str(columns.folder), fitted.vectors)
