"""Lists of any length in a column store: all rows' codes end to end, memory-mapped, and where each row's begin."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage import text_ids
from trainer.base.errors import TrainerError

_READ = 1 << 14  # rows whose strings are held at once while lists are read


@dataclass(frozen=True)
class Lists:
    """A list of codes for each of N rows; row r holds codes_M[offsets[r] : offsets[r + 1]].

    offsets: int64, (N + 1,). codes_M: int32 or int8, all rows' elements end to end.
    """

    offsets: np.ndarray
    codes_M: np.ndarray

    def take(self, rows_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rows' elements end to end, and where each row's begin. Shapes: -> (B + 1,) int64, (K,)."""
        start_B, stop_B = self.offsets[rows_B], self.offsets[rows_B + 1]
        begin = np.cumsum([0, *(stop_B - start_B)])
        at_K = np.arange(begin[-1]) + np.repeat(start_B - begin[:-1], stop_B - start_B)
        return begin, self.codes_M[at_K]


class ListWriter:
    """Appends lists to `<stem>.offsets` and `<stem>.codes` (plain arrays, no header); nothing stays in memory."""

    def __init__(self, folder: Path, stem: str, dtype: type):
        self.offsets = (folder / f"{stem}.offsets").open("wb")
        self.codes = (folder / f"{stem}.codes").open("wb")
        self.dtype, self.total = dtype, 0
        self.offsets.write(np.zeros(1, np.int64).tobytes())

    def append(self, lengths_B: np.ndarray, codes_K: np.ndarray) -> None:
        self.offsets.write((self.total + np.cumsum(lengths_B, dtype=np.int64)).tobytes())
        self.codes.write(codes_K.astype(self.dtype).tobytes())
        self.total += len(codes_K)

    def close(self) -> None:
        self.offsets.close()
        self.codes.close()


def open_lists(folder: Path, stem: str, dtype: type) -> Lists:
    """What a ListWriter wrote, memory-mapped."""

    def mapped(path: Path, kind: type) -> np.ndarray:
        return np.memmap(path, kind, "r") if path.stat().st_size else np.empty(0, kind)  # a map can't be empty

    return Lists(mapped(folder / f"{stem}.offsets", np.int64), mapped(folder / f"{stem}.codes", dtype))


class ListReader:
    """The lists of some columns, gathered file by file and put into the rows' order; a plain value counts as a list of
    one, NULL as an empty list.

    Ids are held as strings for a few rows only and then as codes, so a day's history of them costs four bytes per
    element. columns: each with text_id where its elements are ids of texts; others are told apart by their type.
    """

    def __init__(self, columns: dict[str, str | None]):
        self._columns = {name: _Lists(name, of) for name, of in columns.items()}

    def add(self, parquet: pq.ParquetFile, where: object) -> None:
        """Read a file. Raises: TrainerError where a type holds no text ids."""
        if not self._columns:
            return
        for piece in parquet.iter_batches(_READ, columns=list(self._columns), use_threads=False):
            for name, column in self._columns.items():
                column.add(piece.column(name), where)

    def ordered(self, name: str, order_B: np.ndarray, where: object) -> tuple[np.ndarray, pa.Array]:
        """One column's lists, which are then no longer held.

        Shapes: order_B positions in the files' rows -> lengths_B, elements_K (a dictionary array, or numbers).
        """
        column = self._columns.pop(name)
        lengths_B, elements = column.read()
        if len(lengths_B) != len(order_B):
            raise TrainerError(
                f"Column {name}: {len(lengths_B)} rows in {where}, {len(order_B)} in other columns: a file is "
                "damaged. Run `dbt build`."
            )
        start_B = np.cumsum(lengths_B) - lengths_B
        lengths_B, start_B = lengths_B[order_B], start_B[order_B]
        begin_B = np.cumsum(lengths_B) - lengths_B
        at_K = np.arange(lengths_B.sum()) + np.repeat(start_B - begin_B, lengths_B)
        elements_K = elements[at_K]
        if elements_K.dtype != np.int32:
            return lengths_B, pa.array(elements_K)
        ids = pa.array(list(column.local), pa.int64() if column.of == "text_id" else pa.string())
        return lengths_B, pa.DictionaryArray.from_arrays(pa.array(elements_K - 1, mask=elements_K == 0), ids)


class _Lists:
    """One column of a ListReader. local: its ids in the order of the files, each with its position."""

    def __init__(self, name: str, of: str | None):
        self.name, self.of = name, of
        self.local: dict[Any, int] = {}
        self.lengths, self.elements = [np.empty(0, np.int64)], list[np.ndarray]()
        self.pending: list[pa.Array] = []
        self.rows = 0  # of what is pending

    def add(self, array: pa.Array, where: object) -> None:
        if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
            lengths, flat = pc.fill_null(pc.list_value_length(array), 0), array.flatten()
        else:
            lengths, flat = array.is_valid(), array.drop_null()
        self.lengths.append(lengths.to_numpy(zero_copy_only=False).astype(np.int64))
        self.pending.append(ids_of(flat, self.of, self.name, where) if self.of == "text_id" else _plain(flat))
        self.rows += len(array)
        if self.rows >= _READ:
            self._encode()

    def _encode(self) -> None:
        """Ids as 1 + their position in `local`, which grows, 0 for NULL; numbers as float64, NaN for NULL."""
        if self.pending:
            flat = pa.concat_arrays(self.pending)
            is_id = self.of == "text_id" or pa.types.is_large_string(flat.type)
            self.elements.append(encode(flat, self.local) if is_id else flat.to_numpy(zero_copy_only=False))
            self.pending, self.rows = [], 0

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Lengths of the rows, and all their elements end to end, in the order of the files."""
        self._encode()
        return np.concatenate(self.lengths), np.concatenate(self.elements or [np.empty(0, np.int32)])


def _plain(flat: pa.Array) -> pa.Array:
    """Elements of one type in all files: text as large_string, numbers as float64, NaN for NULL."""
    if pa.types.is_dictionary(flat.type):
        flat = flat.dictionary_decode()
    if pa.types.is_string(flat.type) or pa.types.is_large_string(flat.type):
        return flat.cast(pa.large_string())
    return flat.cast(pa.float64(), safe=False).fill_null(np.nan)


def ids_of(flat: pa.Array, of: str | None, name: str, where: object) -> pa.Array:
    """Ids of texts as int64, all else as it is. Raises: TrainerError for a type that holds no ids."""
    if of != "text_id":
        return flat
    try:
        return text_ids.from_arrow(flat)
    except ValueError as error:
        raise TrainerError(
            f"Column {name} of {where}: a text id is {error}. Expected ids of the texts mart; `dbt build` makes them."
        ) from None


def encode(array: pa.Array, index: dict[Any, int]) -> np.ndarray:
    """Codes of an array of ids into `index`, which grows by what is new, in the order of first occurrence.

    Shapes: -> (K,), int32: 0 for NULL, else 1 + the position in the index.
    """
    return encode_days([(array, np.array([len(array)]))], index)[0]


def encode_days(columns: list[tuple[pa.Array, np.ndarray]], index: dict[Any, int]) -> list[np.ndarray]:
    """Codes of several columns into one `index`, which grows as if each day were encoded by itself: column by column.

    columns: each an array of ids and the positions at which its days end. Shapes: as `encode`, for each column.
    """
    coded: list[tuple] = []
    new: list[tuple] = []
    for array, ends_D in columns:
        encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
        indices_K = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64) + 1
        # A dictionary that came with the array may hold its values in any order, and some that don't occur.
        first_V = np.full(len(encoded.dictionary) + 1, -1, np.int64)
        first_V[indices_K[::-1]] = np.arange(len(indices_K))[::-1]
        found = 1 + np.flatnonzero(first_V[1:] >= 0)
        day_F = np.searchsorted(ends_D, first_V[found], side="right")
        new.append((found, first_V[found], np.full(len(found), len(coded)), day_F))
        coded.append((indices_K, encoded.dictionary.to_pylist(), np.zeros(len(first_V), np.int32)))
    value_F, first_F, column_F, day_F = (np.concatenate(parts) for parts in zip(*new, strict=True))
    for k in np.lexsort((first_F, column_F, day_F)):
        _, values, codes = coded[column_F[k]]
        codes[value_F[k]] = index.setdefault(values[value_F[k] - 1], len(index)) + 1
    return [codes[indices_K] for indices_K, _, codes in coded]
