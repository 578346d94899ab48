"""Rows read and checked: a day of a mart in order, columns as arrays; errors name column, value and where it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trainer.base.errors import TrainerError, nearest
from trainer.columns.ragged import ListReader, encode

MISSING = 0  # the code of NULL in every dictionary; values count from 1
_THREADED = 100_000  # rows; starting threads for the columns of a smaller file costs more than it saves
NEVER = np.iinfo(np.int64).max  # when an outcome without a known_at is known
LARGEST = 1e38  # columns are float32, which ends at 3.4e38: so a difference of two numbers is still one


@contextmanager
def as_damage_error(where: str) -> Iterator[None]:
    """What Arrow meets in a damaged file, and text that isn't UTF-8, becomes a TrainerError."""
    try:
        yield
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno:  # the disk's own trouble, not the bytes'
            raise
        found = " ".join(str(error).split())
        raise TrainerError(f"{where} can't be read to its end ({found}): it is damaged. Run `dbt build`.") from None


Day = tuple[str, list[Path]]  # the name of its partition, and its files


def ordered(days: list[Day], columns: list[str], lists: ListReader) -> tuple[pa.Table, np.ndarray, np.ndarray]:
    """The rows of some days, a day after the other, each sorted by (event_at, event_id); `lists` gathers its columns.

    Shapes: -> B rows; order_B: their positions in the files' rows end to end; ends_D: where each day ends.
    Timestamps are in microseconds.
    """
    # Under hive names pyarrow would add event_date by itself; the bytes of the file are all that is wanted.
    parts, n_D = [], []
    for _, files in days:
        n = 0
        for path in files:
            with pq.ParquetFile(path) as parquet:
                parts.append(parquet.read(columns=columns, use_threads=parquet.metadata.num_rows > _THREADED))
                lists.add(parquet, path)
            n += len(parts[-1])
        n_D.append(n)
    where, ends_D = name_of(days), np.cumsum(n_D)
    table = pa.concat_tables(parts, promote_options="permissive").combine_chunks()
    for name in ("event_id", "event_at"):
        if table[name].null_count:
            raise TrainerError(f"Column {name} is NULL in {table[name].null_count} rows of {where}. Run `dbt test`.")
    at = microseconds(table["event_at"])
    table = table.set_column(table.schema.get_field_index("event_at"), "event_at", at)
    ids = table["event_id"].cast(pa.string())
    table = table.set_column(table.schema.get_field_index("event_id"), "event_id", ids)
    day_B = np.repeat(np.arange(len(days)), n_D)
    keys = pa.table({"day": day_B, "event_at": at, "event_id": ids})
    order_B = pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in keys.column_names]).to_numpy()
    id_B = ids.combine_chunks().dictionary_encode()
    of_day_B = day_B * max(len(id_B.dictionary), 1) + id_B.indices.to_numpy()
    values, counts = np.unique(of_day_B, return_counts=True)
    if len(values) < len(of_day_B):
        day, k = divmod(int(values[counts > 1][0]), len(id_B.dictionary))
        raise TrainerError(f"event_id {id_B.dictionary[k]} occurs twice in {days[day][0]}. Run `dbt test`.")
    return table.take(pa.array(order_B)), order_B.astype(np.int64), ends_D


def name_of(days: list[Day]) -> str:
    return days[0][0] if len(days) == 1 else f"{days[0][0]} to {days[-1][0]}"


@dataclass(frozen=True)
class Advice:
    """What to do about rows that can't be read: about a value that is none of the known, a list's length, a NULL."""

    value: str
    length: str
    null: str


OF_A_MART = Advice(
    "Set the dataset's vars in dbt_project.yml and run `dbt build`.", "Run `dbt build`.", "Run `dbt test`."
)


class Part:
    """A table of rows, read as arrays; list columns are spread out once.

    lengths: of each list column with an element a name. where: the rows' name in errors.
    """

    def __init__(self, table: pa.Table, lengths: dict[str, int], where: str, advice: Advice = OF_A_MART):
        self.table, self.lengths, self.where, self.advice = table, lengths, where, advice
        self.lists: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def numbers(self, name: str, position: int) -> tuple[np.ndarray, int]:
        """A column, or one position of a list, and how many of its values are no usable number without being NULL.

        Shapes: -> (B,), float64, NaN where a value is NULL, NaN, infinite or beyond LARGEST.
        """
        if position < 0:
            values, nulls = to_float(self.table[name]), self.table[name].null_count
        else:
            if name not in self.lists:
                present, flat, length = self._spread(name)
                spread, null = np.full((len(self.table), length), np.nan), np.ones((len(self.table), length), bool)
                spread[present] = to_float(flat).reshape(-1, length)
                null[present] = flat.is_null().to_numpy(zero_copy_only=False).reshape(-1, length)
                self.lists[name] = spread, null.sum(0)
            spread, nulls_L = self.lists[name]
            values, nulls = spread[:, position], nulls_L[position]
        usable = np.abs(values) <= LARGEST
        return np.where(usable, values, np.nan), int((~usable).sum() - nulls)

    def encoded(self, name: str, position: int, index: dict[str, int]) -> np.ndarray:
        """Codes into `index`, which grows by the values that are new. Shapes: -> (B,), int32."""
        if position < 0:
            return encode(self.table[name].combine_chunks(), index)
        present, flat, length = self._spread(name)
        out = np.full(len(self.table), MISSING, np.int32)
        out[present] = encode(flat.take(pa.array(np.arange(position, len(flat), length))), index)
        return out

    def _spread(self, name: str) -> tuple[np.ndarray, pa.Array, int]:
        """Which rows have the list at all (B,), the elements of those rows end to end, and the list's length."""
        array = self.check_lengths(name)
        return array.is_valid().to_numpy(zero_copy_only=False), array.flatten(), self.lengths[name]

    def check_lengths(self, name: str) -> pa.Array:
        """The column. Raises: TrainerError for a list that lacks an element or has one too many."""
        expected, array = self.lengths[name], self.table[name].combine_chunks()
        lengths = pc.list_value_length(array)
        wrong = pc.fill_null(pc.not_equal(lengths, expected), False)
        if pc.any(wrong).as_py():
            raise TrainerError(
                f"Column {name}: a list of {lengths.filter(wrong)[0]} elements in {self.where}; expected {expected}, "
                f"one for each name that the mart was built with. {self.advice.length}"
            )
        return array

    def position(self, name: str, known: tuple[str, ...], null: int | None = None) -> np.ndarray:
        """The position of each value in `known`; `null` for NULL, which is an error when `null` is None."""
        found = pc.index_in(self.table[name], pa.array(known, pa.string()))
        unknown = pc.and_(found.is_null(), self.table[name].is_valid())
        if pc.any(unknown).as_py():
            value = self.table[name].filter(unknown)[0].as_py()
            raise TrainerError(
                f"Column {name}: '{value}' in {self.where}; expected one of {', '.join(known)}{nearest(value, known)}. "
                f"{self.advice.value}"
            )
        if null is None and found.null_count:
            raise TrainerError(f"Column {name} is NULL in {found.null_count} rows of {self.where}. {self.advice.null}")
        return found.fill_null(-1 if null is None else null).to_numpy()

    def instants(self, name: str) -> np.ndarray:
        """Shapes: -> (B,), int64 microseconds since 1970 UTC. Raises: TrainerError for NULL."""
        if nulls := self.table[name].null_count:
            raise TrainerError(f"Column {name} is NULL in {nulls} rows of {self.where}. {self.advice.null}")
        return microseconds(self.table[name]).to_numpy()

    def known_at(self, name: str) -> np.ndarray:
        """When each row's outcome was known; NEVER for NULL. Shapes: -> (B,), int64 microseconds."""
        return microseconds(self.table[name]).fill_null(NEVER).to_numpy()

    def label(self, name: str) -> np.ndarray:
        values = to_float(self.table[name])
        wrong = ~np.isin(values, (0.0, 1.0))
        if wrong.any():
            raise TrainerError(
                f"Column {name}: {values[wrong][0]:g} in {self.where}; expected 0 or 1. {self.advice.null}"
            )
        return values


def microseconds(array: pa.ChunkedArray) -> pa.ChunkedArray:
    """Timestamps of any unit and zone, or NULLs, as int64 since 1970 UTC."""
    return array.cast(pa.timestamp("us"), safe=False).cast(pa.int64())


def to_float(array: pa.Array | pa.ChunkedArray) -> np.ndarray:
    return array.cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy()


def outcomes(elements_K: pa.Array, name: str, where: str, advice: Advice = OF_A_MART) -> np.ndarray:
    """Labels of a history: 0, 1, or -1 for NULL. Shapes: -> (K,), int8."""
    values = to_float(elements_K)
    wrong = ~(np.isin(values, (0.0, 1.0)) | np.isnan(values))
    if wrong.any():
        raise TrainerError(f"Column {name}: {values[wrong][0]:g} in {where}; expected 0 or 1. {advice.null}")
    return np.where(np.isnan(values), -1, values).astype(np.int8)
