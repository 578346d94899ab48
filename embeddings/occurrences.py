"""Which texts train rows hold for which user and item, and how often. No other row is counted."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy import sparse

from embeddings.errors import EmbeddingsError
from storage import remote, text_ids
from storage.mart_files import mart_files

# What is counted: texts in the user's columns by user, in the item's columns by item, and in the item's by user.
KINDS = ("user", "item", "shown")
GROUPS = ("user", "item")
_READ = 1 << 16  # rows read at once


@dataclass(frozen=True)
class Occurrences:
    """Counts on train rows, each list of a row counted once.

    ids_T: text ids, ascending. names: for "user" and "item" their ids, ascending. counts: for each of KINDS how often a
    text stands in the lists of a user or an item; "shown" counts the item's texts for the user who was shown it.
    Shapes: ids_T (T,) int64; counts (users or items, T), sparse int64.
    """

    ids_T: np.ndarray
    names: dict[str, list[str]]
    counts: dict[str, sparse.csr_array]

    @property
    def fingerprint(self) -> str:
        """A hash of every count; the same for the same rows in any order."""
        digest = hashlib.sha256(self.ids_T.astype("<i8").tobytes())
        for names in self.names.values():
            digest.update(json.dumps(names).encode())
        for counts in self.counts.values():
            for part in (counts.indptr, counts.indices, counts.data):
                digest.update(part.astype("<i8").tobytes())
        return digest.hexdigest()


class Tally:
    """Adds up occurrences, block by block."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, int]] = {group: {} for group in GROUPS}
        self._ids: dict[int, int] = {}
        self._sums = {kind: sparse.csr_array((0, 0), dtype=np.int64) for kind in KINDS}

    def add(self, kind: str, names: Sequence[str], owner_N: np.ndarray, ids_K: np.ndarray, n_N: np.ndarray) -> None:
        """N lists of text ids, end to end in ids_K; the n-th has n_N[n] of them and belongs to names[owner_N[n]]."""
        group = "item" if kind == "item" else "user"
        owner_N = _codes(self._names[group], owner_N, names.__getitem__)
        text_K = _codes(self._ids, ids_K, int)
        shape = (len(self._names[group]), len(self._ids))
        ones_K = np.ones(len(text_K), np.int64)
        block = sparse.coo_array((ones_K, (np.repeat(owner_N, n_N), text_K)), shape=shape).tocsr()
        self._sums[kind].resize(shape)
        self._sums[kind] = self._sums[kind] + block

    def add_all(self, other: Tally) -> None:
        """Add what another one has added up."""
        text_T = _codes(self._ids, np.arange(len(other._ids)), list(other._ids).__getitem__)
        for kind, sums in other._sums.items():
            group = "item" if kind == "item" else "user"
            names = list(other._names[group])
            owner_N = _codes(self._names[group], np.arange(len(names)), names.__getitem__)
            found = sums.tocoo()
            shape = (len(self._names[group]), len(self._ids))
            moved = sparse.coo_array((found.data, (owner_N[found.row], text_T[found.col])), shape=shape)
            self._sums[kind].resize(shape)
            self._sums[kind] = self._sums[kind] + moved.tocsr()

    def total(self) -> Occurrences:
        """Everything that was added, users, items and texts in ascending order."""
        ids_T = np.array(list(self._ids), np.int64)
        order_T = np.argsort(ids_T)
        names = {group: sorted(known) for group, known in self._names.items()}
        counts = {}
        for kind, known in self._sums.items():
            group = "item" if kind == "item" else "user"
            known.resize((len(names[group]), len(ids_T)))
            order_D = [self._names[group][name] for name in names[group]]
            counts[kind] = known[order_D][:, order_T].tocsr()
            counts[kind].sort_indices()
        return Occurrences(ids_T[order_T], names, counts)


def _codes(known: dict[Any, int], values_N: np.ndarray, key: Callable[[int], Hashable]) -> np.ndarray:
    """The code of each value; new ones are added to `known`. Shapes: (N,) -> (N,), int64."""
    found = pa.array(values_N).dictionary_encode()
    codes = [known.setdefault(key(value), len(known)) for value in found.dictionary.to_pylist()]
    return np.array(codes, np.int64)[found.indices.to_numpy()]


def read_occurrences(marts: Path) -> Occurrences:
    """Count on the train rows of a dataset's training mart, the one of the highest version.

    Raises: EmbeddingsError where there is no finished mart, it has no train rows or no texts, or it was published anew
    while it was read.
    """
    folder = _find_mart(marts)
    remote.fetch(folder)
    record = _record(folder)
    wanted = _columns(record, folder)
    tally, n_train = Tally(), 0
    for path in mart_files(folder, EmbeddingsError):
        for batch in _batches(path, sorted({"split", *(name for _, *pair in wanted for name in pair)})):
            train = batch.filter(pc.equal(batch["split"], "train"))
            n_train += len(train)
            for kind, owner, column in wanted if len(train) else ():
                names = train[owner].dictionary_encode()
                tally.add(kind, names.dictionary.to_pylist(), names.indices.to_numpy(), *_lists(train[column], path))
    if _record(folder) != record:
        raise EmbeddingsError(f"`dbt build` published {folder} anew while it was read. Run the command again.")
    if not n_train:
        raise EmbeddingsError(f"{folder} has no train rows. Set val_from later in dbt_project.yml and run `dbt build`.")
    return tally.total()


def _find_mart(marts: Path) -> Path:
    remote.look(marts)
    versions = {
        int(match[1]): path
        for path in (marts.iterdir() if marts.is_dir() else ())
        if path.is_dir() and (match := re.fullmatch(r"training_examples_v(\d+)", path.name))
    }
    if not versions:
        raise EmbeddingsError(
            f"{marts} holds no training_examples_v*: a space is made from its train rows. Build it with `dbt build`, or"
            " name the folder of one dataset's marts with --marts."
        )
    return versions[max(versions)]


def _record(folder: Path) -> dict[str, Any]:
    """The build record, which is written after the data."""
    remote.fetch(folder / "_build")
    try:
        texts = [path.read_text(encoding="utf-8") for path in sorted((folder / "_build").glob("*.json"))]
        records = [json.loads(text) for text in texts if text.strip()]  # Spark may leave empty files beside it
    except (OSError, ValueError) as error:
        raise EmbeddingsError(f"{folder}/_build: the build record can't be read ({error}). Run `dbt build`.") from None
    if len(records) != 1 or not isinstance(records[0], dict) or not isinstance(records[0].get("columns"), list):
        raise EmbeddingsError(
            f"{folder}/_build: expected one build record that lists columns, found {len(records)} records. Run"
            " `dbt build`."
        )
    return records[0]


def _columns(record: dict[str, Any], folder: Path) -> list[tuple[str, str, str]]:
    """What is counted in which column, and for whom: (kind, column of the user's or item's id, column of text ids).

    Whole user texts are left out: only cold rows have them, and each is one user's own.
    """
    meanings = {column["name"]: column.get("meta") or {} for column in record["columns"]}
    owners = {meta.get("group"): name for name, meta in meanings.items() if meta.get("role") == "key"}
    if missing := [group for group in GROUPS if group not in owners]:
        raise EmbeddingsError(
            f"{folder} has no column with role key and group {missing[0]}: expected the ids of users and items. Run"
            " `dbt build`."
        )
    found = []
    for name, meta in meanings.items():
        if meta.get("role") == "text_id" and meta.get("group") in GROUPS and not meta.get("cold_only"):
            found.append((meta["group"], owners[meta["group"]], name))
            if meta["group"] == "item":
                found.append(("shown", owners["user"], name))
    return found


def _batches(path: Path, names: list[str]) -> Iterator[pa.RecordBatch]:
    try:
        yield from pq.ParquetFile(path).iter_batches(_READ, columns=names)
    except (pa.ArrowException, OSError) as error:
        raise EmbeddingsError(f"{path} can't be read as Parquet ({error}). Run `dbt build`.") from error


def _lists(column: pa.Array, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The text ids of N rows, end to end, and how many each has; NULL is none. Shapes: -> (K,) int64, (N,)."""
    is_list = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
    row_K = pc.list_parent_indices(column).to_numpy() if is_list else np.arange(len(column))
    try:
        ids = text_ids.from_arrow(column.flatten() if is_list else column)
    except ValueError as error:
        raise EmbeddingsError(f"{path}: text ids are {error}. Run `dbt build`.") from None
    there_K = ids.is_valid().to_numpy(zero_copy_only=False)
    return ids.drop_null().to_numpy(), np.bincount(row_K[there_K], minlength=len(column))
