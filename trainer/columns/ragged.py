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

    def padded(self, rows_B: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """The first `length` elements of each row; 0 where a row has fewer, and which are real.

        Shapes: -> codes_BL in the dtype of codes_M, real_BL bool.
        """
        start_B = self.offsets[rows_B]
        real_BL = np.arange(length) < (self.offsets[rows_B + 1] - start_B)[:, None]
        codes_BL = np.zeros((len(rows_B), length), self.codes_M.dtype)
        at_BL = start_B[:, None] + np.arange(length)
        codes_BL[real_BL] = self.codes_M[at_BL[real_BL]]
        return codes_BL, real_BL


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


def read_lists(files: list[Path], name: str, order_B: np.ndarray, of: str | None = None) -> tuple[np.ndarray, pa.Array]:
    """One column of one day, rows in the given order; a plain value counts as a list of one, NULL as an empty list.

    Ids are held in small pieces and then as codes, so a day's history of them costs four bytes per element.
    of: text_id where the elements are ids of texts; others are told apart by their type.
    Shapes: order_B positions in the files' rows -> lengths_B, elements_K (a dictionary array, or numbers).
    Raises: TrainerError where a type holds no text ids.
    """
    lengths, elements = [np.empty(0, np.int64)], []
    local: dict[Any, int] = {}
    for path in files:
        with pq.ParquetFile(path) as parquet:
            for piece in parquet.iter_batches(_READ, columns=[name]):
                array = piece.column(0)
                if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
                    lengths.append(pc.fill_null(pc.list_value_length(array), 0).to_numpy().astype(np.int64))
                    flat = array.flatten()
                else:
                    lengths.append(array.is_valid().to_numpy(zero_copy_only=False).astype(np.int64))
                    flat = array.drop_null()
                elements.append(_coded(ids_of(flat, of, name, path), local, of))
    lengths_B = np.concatenate(lengths)
    if len(lengths_B) != len(order_B):
        raise TrainerError(
            f"Column {name}: {len(lengths_B)} rows in {files[0].parent}, {len(order_B)} in other columns: a file is "
            "damaged. Run `dbt build`."
        )
    start_B = np.cumsum(lengths_B) - lengths_B
    lengths_B, start_B = lengths_B[order_B], start_B[order_B]
    begin_B = np.cumsum(lengths_B) - lengths_B
    at_K = np.arange(lengths_B.sum()) + np.repeat(start_B - begin_B, lengths_B)
    elements_K = np.concatenate(elements)[at_K] if elements else np.empty(0, np.int32)
    if local or elements_K.dtype == np.int32:
        codes_K = pa.array(elements_K - 1, mask=elements_K == 0)
        ids = pa.array(list(local), pa.int64() if of == "text_id" else pa.string())
        return lengths_B, pa.DictionaryArray.from_arrays(codes_K, ids)
    return lengths_B, pa.array(elements_K)


def _coded(flat: pa.Array, local: dict[Any, int], of: str | None) -> np.ndarray:
    """Ids as 1 + their position in `local`, which grows, 0 for NULL; numbers as float64, NaN for NULL."""
    is_text = pa.types.is_string(flat.type) or pa.types.is_large_string(flat.type)
    if is_text or of == "text_id" or pa.types.is_dictionary(flat.type):
        return encode(flat, local)
    return flat.cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy(zero_copy_only=False)


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
    encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
    indices_K = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64) + 1
    values = encoded.dictionary.to_pylist()
    # A dictionary that came with the array may hold its values in any order, and some that don't occur.
    first = np.full(len(values) + 1, -1, np.int64)
    first[indices_K[::-1]] = np.arange(len(indices_K))[::-1]
    codes = np.zeros(len(values) + 1, np.int32)
    for k in np.argsort(first, kind="stable"):
        if k and first[k] >= 0:
            codes[k] = index.setdefault(values[k - 1], len(index)) + 1
    return codes[indices_K]
