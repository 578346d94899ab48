"""From Parquet to columns on disk: every row once, in one order, as plain arrays that are memory-mapped.

The rows are put in the order (event_date, event_at, event_id), a few partitions at a time, so memory is bounded by the
largest day, and the result doesn't depend on how many files dbt wrote or on the order of rows within them.
Nothing is fitted here: strings become codes into a dictionary of all values, numbers stay as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from storage import atomic, home
from trainer.base.errors import TrainerError
from trainer.base.files import read_json, write_json
from trainer.base.progress import progress, working
from trainer.columns.blocks import Block, BlockReader
from trainer.columns.ragged import ListWriter, open_lists
from trainer.columns.store import ARRAYS, Columns, History, TextColumn
from trainer.contract.read import MartReplacedError, one_build, read_contract
from trainer.contract.schema import Contract

FORMAT = 6  # raise it when the layout below changes: older caches are then left alone


def cache_root() -> Path:
    """Where column caches live: $FIRST_IMPRESSION_CACHE, else ~/.cache/first-impression.

    Raises: TrainerError where there is no home directory, or the folder can't be made.
    """
    try:
        folder = home.user_cache()
        folder.mkdir(parents=True, exist_ok=True)
    except home.NoHomeError as error:
        raise TrainerError(str(error)) from None
    except OSError as error:
        where = error.filename or folder
        raise TrainerError(f"The cache {where} can't be made: {error.strerror or error}. {home.REMEDY}") from None
    return folder


def open_mart(
    marts: Path, mart: str | None = None, manifest: Path | None = None, contract: Contract | None = None
) -> tuple[Contract, Columns]:
    """Contract and columns of one build of a mart; where another one is published meanwhile, of that.

    contract: what `read_contract` found before. Raises: as `read_contract` and `open_columns`.
    """
    while True:
        found = contract or read_contract(marts, mart, manifest)
        with suppress(MartReplacedError):
            return found, open_columns(found)
        contract = None


def open_columns(contract: Contract) -> Columns:
    """The mart's columns, memory-mapped; built once for each data hash and contract.

    Raises: MartReplacedError where the contract's build gave way to another before all of it was read; TrainerError for
    values the contract excludes (a label other than 0 and 1, an unknown scene, split or level, a NULL key, a list of
    the wrong length, an event_id that occurs twice), naming column, value and partition.
    """
    with working("Looking whether the mart has changed"), one_build(contract.folder, contract.build):
        target = cache_root() / "columns" / _key(contract)
    if not (target / "columns.json").exists():
        with atomic.folder(target, keep=True) as aside, one_build(contract.folder, contract.build):
            _build(contract, aside)
    about = read_json(target / "columns.json")
    arrays = {name: np.load(target / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
    lists = {
        stem: open_lists(target, stem, np.int8 if stem == "history.label" else np.int32) for stem in about["lists"]
    }
    history = None
    if "history.item_id" in lists:
        items, texts, labels = lists["history.item_id"], lists.get("history.text_id"), lists["history.label"]
        history = History(items, texts, labels, about["longest_history"])
    return Columns(
        target,
        tuple(about["dense"]),
        tuple(about["codes"]),
        tuple(about["levels"]),
        about["ids"],
        tuple(about["scenes"]),
        about["content_hash"],
        **arrays,
        history=history,
        known_at_N=np.load(target / "known_at_N.npy", mmap_mode="r") if about["known_at"] else None,
        not_finite=about["not_finite"],
        days=about["days"],
        texts=tuple(TextColumn(name, group, lists[f"text.{name}"]) for name, group in about["texts"]),
    )


def _key(contract: Contract) -> str:
    """The data hash, and what decides how the data is laid out: inputs, scenes, the format."""
    others = [c.name for role in ("level", "text_id", "history") for c in contract.having(role)]
    times = [c.name for c in contract.having("time")]
    layout = repr((FORMAT, contract.inputs, contract.scenes, others, contract.history, times))
    return hashlib.sha256(f"{contract.data_hash} {layout}".encode()).hexdigest()


def _build(contract: Contract, folder: Path) -> None:
    reader, n, levels = BlockReader(contract), contract.n_rows, contract.having("level")
    shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
        "dense_ND": (np.float32, (n, len(reader.dense))),
        "codes_NC": (np.int32, (n, len(reader.codes))),
        "scene_N": (np.int16, (n,)),
        "label_N": (np.uint8, (n,)),
        "split_N": (np.uint8, (n,)),
        "level_NG": (np.int8, (n, len(levels))),
        "event_at_N": (np.int64, (n,)),
    }
    if reader.known_at:
        shapes["known_at_N"] = (np.int64, (n,))
    out = {name: _Writer(folder / f"{name}.npy", dtype, shape) for name, (dtype, shape) in shapes.items()}
    lists = {
        stem: ListWriter(folder, stem, np.int8 if of == "label" else np.int32)
        for stem, (of, _) in reader.list_columns.items()
    }
    hashes, days = _DayHashes(reader), dict[str, str]()
    ids_schema = pa.schema([("event_id", pa.string())])
    with (
        pa.OSFile(str(folder / "event_ids.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, ids_schema) as ids,
        progress() as bar,
    ):
        task = bar.add_task("Reading the mart", total=n, note="")
        for block in reader.blocks():
            hashes.learn()
            for partition, rows in block.days:
                event_ids = block.event_ids.take(pa.array(np.arange(rows.start, rows.stop)))  # a slice is padded
                ids.write_batch(pa.record_batch([event_ids], schema=ids_schema))
                days[partition] = hashes.of(block, rows, event_ids)
            for name, array in block.arrays.items():
                out[name].append(array)
            for stem, (lengths_B, codes_K) in block.lists.items():
                lists[stem].append(lengths_B, codes_K)
            bar.update(task, advance=len(block.event_ids))
    writers: list[_Writer | ListWriter] = [*out.values(), *lists.values()]
    for writer in writers:
        writer.close()
    dictionaries = {name: list(values) for name, values in reader.index.items()}
    write_json(folder / "dictionaries.json", dictionaries)
    write_json(folder / "text_ids.json", list(reader.text_index))
    write_json(
        folder / "columns.json",
        {
            "content_hash": content_hash(contract, days),
            "days": days,
            "dense": [i.name for i in reader.dense],
            "codes": [i.name for i in reader.codes],
            "levels": [c.group for c in levels],
            "scenes": list(contract.scenes),
            "ids": {i.group: i.name for i in reader.codes if i.is_id},
            "lists": list(lists),
            "longest_history": reader.longest,
            "known_at": reader.known_at is not None,
            "texts": [(c.name, c.group) for c in contract.texts],
            "not_finite": {name: n for name, n in reader.not_finite.items() if n},
        },
    )


def content_hash(contract: Contract, days: dict[str, str]) -> str:
    """sha256 over the rows of all days, in any order of files and of rows within a day. days: each one's own hash."""
    digest = hashlib.sha256(repr((contract.inputs, contract.scenes)).encode())
    for partition, of_day in sorted(days.items()):
        digest.update(f"{partition} {of_day} ".encode())
    return digest.hexdigest()


class _DayHashes:
    """sha256 over the rows of a day, which depends on no other day: processes that read some days each agree on it.

    So a code, which depends on what was read before, counts as its value: as 64 bits of the value's hash.
    """

    def __init__(self, reader: BlockReader):
        self._reader = reader
        self._known = {name: np.zeros(1, np.int64) for name in reader.index}  # by code; 0 is NULL
        self._texts = np.zeros(1, np.int64)  # ids of texts are hashes already

    def learn(self) -> None:
        """Take in the values that are new."""
        for name, index in self._reader.index.items():
            self._known[name] = _grown(self._known[name], index, _hash_of)
        self._texts = _grown(self._texts, self._reader.text_index, int)

    def of(self, block: Block, rows: slice, event_ids: pa.Array) -> str:
        reader, digest = self._reader, hashlib.sha256("\0".join(event_ids.to_pylist()).encode())
        for name, array in block.arrays.items():
            if name == "codes_NC":
                for c, of in enumerate(reader.codes):
                    digest.update(self._known[of.name][array[rows, c]].tobytes())
            # A log whose outcomes are known at once says nothing by known_at.
            elif name != "known_at_N" or (array[rows] != block.arrays["event_at_N"][rows]).any():
                digest.update(array[rows].tobytes())
        by_kind = {"item_id": self._known[reader.item.name], "text_id": self._texts}
        for stem, (lengths_B, codes_K) in block.lists.items():
            before, now = int(lengths_B[: rows.start].sum()), int(lengths_B[rows].sum())
            own_K, values = codes_K[before : before + now], by_kind.get(reader.list_columns[stem][0])
            digest.update(stem.encode() + lengths_B[rows].tobytes())
            digest.update((own_K if values is None else values[own_K]).tobytes())
        return digest.hexdigest()


def _grown(known: np.ndarray, index: dict[Any, int], hashed: Any) -> np.ndarray:
    """With the values at the end of the index that aren't known yet. Shapes: -> (1 + len(index),), int64."""
    if len(known) > len(index):
        return known
    new: Iterable[Any] = islice(reversed(index), 1 + len(index) - len(known))
    return np.concatenate([known, np.array([hashed(value) for value in new][::-1], np.int64)])


def _hash_of(value: str) -> int:
    return int.from_bytes(hashlib.blake2b(value.encode(), digest_size=8).digest(), "little", signed=True)


class _Writer:
    """Appends blocks to a .npy file of known shape; nothing stays in memory."""

    def __init__(self, path: Path, dtype: type, shape: tuple[int, ...]):
        self.shape, self.rows = shape, 0
        self.file = path.open("wb")
        np.lib.format.write_array_header_1_0(
            self.file, {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
        )

    def append(self, block: np.ndarray) -> None:
        self.file.write(block.tobytes())
        self.rows += len(block)

    def close(self) -> None:
        assert self.rows == self.shape[0], (self.rows, self.shape)
        self.file.close()
