"""From Parquet to columns on disk: every row once, in one order, as plain arrays that are memory-mapped.

The rows are put in the order (event_date, event_at, event_id), one partition at a time, so memory is bounded by the
largest day, and the result doesn't depend on how many files dbt wrote or on the order of rows within them.
Nothing is fitted here: strings become codes into a dictionary of all values, numbers stay as they are.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from storage import atomic, home
from trainer.base.errors import TrainerError
from trainer.base.files import read_json, write_json
from trainer.base.progress import progress, working
from trainer.columns.ragged import ListWriter, encode, open_lists, read_lists
from trainer.columns.rows import Part, as_damage_error, ordered, outcomes
from trainer.columns.store import ARRAYS, Columns, History, TextColumn
from trainer.contract.read import MartReplacedError, one_build, read_contract
from trainer.contract.schema import EXCLUDED, LEVELS, SPLITS, Contract

FORMAT = 4  # raise it when the layout below changes: older caches are then left alone


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
        not_finite=about["not_finite"],
        texts=tuple(TextColumn(name, group, lists[f"text.{name}"]) for name, group in about["texts"]),
    )


def _key(contract: Contract) -> str:
    """The data hash, and what decides how the data is laid out: inputs, scenes, the format."""
    others = [c.name for role in ("level", "text_id", "history") for c in contract.having(role)]
    layout = repr((FORMAT, contract.inputs, contract.scenes, others, contract.history))
    return hashlib.sha256(f"{contract.data_hash} {layout}".encode()).hexdigest()


def _build(contract: Contract, folder: Path) -> None:
    dense = [i for i in contract.inputs if i.kind == "dense"]
    codes = [i for i in contract.inputs if i.kind == "categorical"]
    levels = contract.having("level")
    n = contract.n_rows
    shapes = {
        "dense_ND": (np.float32, (n, len(dense))),
        "codes_NC": (np.int32, (n, len(codes))),
        "scene_N": (np.int16, (n,)),
        "label_N": (np.uint8, (n,)),
        "split_N": (np.uint8, (n,)),
        "level_NG": (np.int8, (n, len(levels))),
        "event_at_N": (np.int64, (n,)),
    }
    out = {name: _Writer(folder / f"{name}.npy", dtype, shape) for name, (dtype, shape) in shapes.items()}
    index: dict[str, dict[str, int]] = {i.name: {} for i in codes}
    lists = _ListColumns(contract, folder, next(index[i.name] for i in codes if i.is_id and i.group == "item"))
    scene, label, split = (contract.having(role)[0].name for role in ("scene", "label", "split"))
    wanted = list(
        dict.fromkeys(
            [
                "event_id",
                "event_at",
                scene,
                label,
                split,
                *(c.name for c in levels),
                *(i.column for i in contract.inputs),
            ]
        )
    )
    lengths = {c.name: len(contract.variables[c.names]) for c in contract.columns if c.names}
    not_finite: dict[str, int] = {}
    digest = hashlib.sha256(repr((contract.inputs, contract.scenes)).encode())
    ids_schema = pa.schema([("event_id", pa.string())])
    with (
        pa.OSFile(str(folder / "event_ids.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, ids_schema) as ids,
        progress() as bar,
    ):
        task = bar.add_task("Reading the mart", total=n, note="")
        for partition, of_partition in groupby(contract.files, key=lambda p: p.relative_to(contract.folder).parts[0]):
            files = list(of_partition)
            with as_damage_error(partition):
                table, order_B = ordered(files, wanted, partition)
                part = Part(table, lengths, partition)
                block_BD = np.empty((len(table), len(dense)), np.float32)
                for d, i in enumerate(dense):
                    block_BD[:, d], n_not_finite = part.numbers(i.column, i.position)
                    not_finite[i.name] = not_finite.get(i.name, 0) + n_not_finite
                block_BC = np.empty((len(table), len(codes)), np.int32)
                for c, i in enumerate(codes):
                    block_BC[:, c] = part.encoded(i.column, i.position, index[i.name])
                blocks = {
                    "dense_ND": block_BD,
                    "codes_NC": block_BC,
                    "scene_N": part.position(scene, contract.scenes),
                    "label_N": part.label(label),
                    "split_N": part.position(split, (*SPLITS, EXCLUDED)),
                    "level_NG": np.stack([part.position(c.name, LEVELS, null=-1) for c in levels], 1)
                    if levels
                    else np.empty((len(table), 0), np.int8),
                    "event_at_N": table["event_at"].to_numpy(),
                }
                event_ids = table["event_id"].combine_chunks()
                ids.write_batch(pa.record_batch([event_ids], schema=ids_schema))
                digest.update(partition.encode() + b"\0" + "\0".join(event_ids.to_pylist()).encode())
                for name, block in blocks.items():
                    block = np.ascontiguousarray(block, dtype=shapes[name][0])
                    out[name].append(block)
                    digest.update(block.tobytes())
                lists.append(files, order_B, partition, digest)
            bar.update(task, advance=len(table))
    writers: list[_Writer | ListWriter] = [*out.values(), *lists.writers.values()]
    for writer in writers:
        writer.close()
    dictionaries = {name: list(values) for name, values in index.items()}
    digest.update(repr((dictionaries, list(lists.text_index))).encode())
    write_json(folder / "dictionaries.json", dictionaries)
    write_json(folder / "text_ids.json", list(lists.text_index))
    write_json(
        folder / "columns.json",
        {
            "content_hash": digest.hexdigest(),
            "dense": [i.name for i in dense],
            "codes": [i.name for i in codes],
            "levels": [c.group for c in levels],
            "scenes": list(contract.scenes),
            "ids": {i.group: i.name for i in codes if i.is_id},
            "lists": list(lists.writers),
            "longest_history": lists.longest,
            "texts": [(c.name, c.group) for c in contract.texts],
            "not_finite": {name: n for name, n in not_finite.items() if n},
        },
    )


class _ListColumns:
    """The columns of text ids and the user's history, a day at a time; one dictionary for all texts."""

    def __init__(self, contract: Contract, folder: Path, item_index: dict[str, int]):
        self.text_index: dict[int, int] = {}
        self.indices: dict[str, dict] = {"item_id": item_index, "text_id": self.text_index}
        self.columns = {f"text.{c.name}": ("text_id", c.name) for c in contract.texts}
        history = contract.history
        if {"item_id", "label"} <= history.keys():
            self.columns |= {f"history.{of}": (of, c.name) for of, c in history.items()}
        self.writers = {
            stem: ListWriter(folder, stem, np.int8 if of == "label" else np.int32)
            for stem, (of, _) in self.columns.items()
        }
        self.longest = 0

    def append(self, files: list[Path], order_B: np.ndarray, partition: str, digest: Any) -> None:
        """Raises: TrainerError for a label other than 0 and 1, and for a row whose history lists differ in length."""
        history: dict[str, np.ndarray] = {}
        for stem, (of, name) in self.columns.items():
            lengths_B, elements_K = read_lists(files, name, order_B, of)
            codes_K = outcomes(elements_K, name, partition) if of == "label" else encode(elements_K, self.indices[of])
            self.writers[stem].append(lengths_B, codes_K)
            digest.update(stem.encode() + lengths_B.tobytes() + codes_K.tobytes())
            if stem.startswith("history."):
                history[name] = lengths_B
                self.longest = max(self.longest, int(lengths_B.max(initial=0)))
        for name, lengths_B in history.items():
            first, expected_B = next(iter(history.items()))
            if (lengths_B != expected_B).any():
                k = int(np.flatnonzero(lengths_B != expected_B)[0])
                raise TrainerError(
                    f"Column {name}: a list of {lengths_B[k]} elements beside {expected_B[k]} in {first}, in "
                    f"{partition}; expected the lists of role history to be of one length. Run `dbt build`."
                )


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
