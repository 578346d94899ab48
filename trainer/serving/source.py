"""What `trainer score` reads: a Parquet file, or those below a folder, each file either read or named with its reason.

A folder's name is a column (`scene=home/`) only where it is declared to be one: `event_date` by a mart's build record,
others by the user. A folder that happens to hold an equals sign would otherwise become data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from storage.listing import LeftOut, list_files, summary
from storage.mart_files import DELTA_LOG, mart_files
from storage.remote import need
from trainer.base.errors import TrainerError
from trainer.base.fetching import fetch, look
from trainer.contract.parquet import PARTITION
from trainer.contract.read import build_in
from trainer.contract.schema import Column
from trainer.training.loop import PREDICT_BATCH

_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_MART_OWN = ("_build", "_SUCCESS")  # the bookkeeping of `dbt build` in a mart


@dataclass(frozen=True)
class Source:
    """Files to score, in order.

    declared: the columns that stand in folder names. columns: those that the run reads. wanted: others that are read.
    """

    place: Path
    files: tuple[Path, ...]
    left_out: tuple[LeftOut, ...] = ()
    declared: tuple[str, ...] = ()
    columns: dict[str, Column] = field(default_factory=dict)
    wanted: tuple[str, ...] = ()

    def partitions(self, path: Path) -> dict[str, str | None]:
        """The declared columns in a file's path. Raises: TrainerError where one is missing, or there twice."""
        found = [
            (unquote(name), None if value == _HIVE_NULL else unquote(value))
            for name, equals, value in (part.partition("=") for part in path.relative_to(self.place).parts[:-1])
            if equals
        ]
        names = [name for name, _ in found]
        for name in self.declared:
            if names.count(name) != 1:
                has = "twice" if name in names else "not"
                raise TrainerError(
                    f"{path}: --partition {name}, but a folder {name}=... is {has} in its path. Score files that have"
                    " it, and others, one after the other."
                )
        return {name: value for name, value in found if name in self.declared}

    def schema(self, path: Path) -> pa.Schema:
        """The file's columns, then those in its path that it doesn't have itself.

        Raises: TrainerError where a column that is read is there twice.
        """
        with open_parquet(path) as file:
            schema = file.schema_arrow
        for name in (*self.columns, *self.wanted):
            if schema.names.count(name) > 1:
                raise TrainerError(f"{path} has the column {name} {schema.names.count(name)} times. Keep one of them.")
        for name, value in self._added(path, schema).items():
            schema = schema.append(pa.field(name, value.type))
        return schema

    def blocks(self, path: Path, names: list[str], row_groups: list[int] | None = None) -> Iterator[pa.Table]:
        """These columns of a file, a block of rows at a time. row_groups: those alone."""
        with open_parquet(path) as file:
            added = self._added(path, file.schema_arrow)
            own = [name for name in dict.fromkeys(names) if name not in added]
            try:
                for batch in file.iter_batches(PREDICT_BATCH, row_groups, own):
                    table = pa.Table.from_batches([batch])
                    for name, value in added.items():
                        table = table.append_column(name, pa.repeat(value, len(table)))
                    yield table
            except (OSError, pa.ArrowInvalid) as error:
                raise TrainerError(f"{path} can't be read to its end ({error}).") from None

    def in_both(self, path: Path) -> list[str]:
        """Declared columns that the file has itself; the file's are read."""
        with open_parquet(path) as file:
            return [name for name in self.declared if name in file.schema_arrow.names]

    def hint(self, path: Path, missing: str) -> str:
        """What to do where the missing column stands in the path."""
        if any(
            unquote(part.partition("=")[0]) == missing for part in path.relative_to(self.place).parts if "=" in part
        ):
            return f" A folder in its path is named {missing}=...; --partition {missing} reads that as the column."
        return ""

    def _added(self, path: Path, schema: pa.Schema) -> dict[str, pa.Scalar]:
        found = self.partitions(path) if self.declared else {}
        return {name: self._typed(name, value, path) for name, value in found.items() if name not in schema.names}

    def _typed(self, name: str, value: str | None, path: Path) -> pa.Scalar:
        """A value as its column's type in the contract; a text where the contract says that, or nothing."""
        expected = self.columns[name].data_type if name in self.columns else "string"
        whole = expected in ("bigint", "int", "smallint", "tinyint")
        kind = pa.int64() if whole else pa.float64() if expected in ("double", "float") else pa.string()
        try:
            return pa.scalar(value, pa.string()).cast(kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise TrainerError(f"{path}: {name}={value} in its path is no {expected}, which the run reads.") from None


def open_source(place: Path, partitions: tuple[str, ...] = ()) -> Source:
    """Find what there is to score.

    Raises: TrainerError where there is no such file or folder, or no Parquet file in it.
    """
    look(place)
    if place.is_file():
        if partitions:
            raise TrainerError(f"--partition {partitions[0]}: --input {place} is a file, not a folder of folders.")
        return Source(place, (place,))
    if not place.is_dir():
        raise TrainerError(f"No file or folder {place}. Expected Parquet with the contract's columns.")
    if (place / DELTA_LOG).is_dir():
        return _delta_table(place, partitions)
    declared = tuple(dict.fromkeys(partitions))
    is_mart = bool(build_in(place))
    if is_mart:
        declared = tuple(dict.fromkeys((PARTITION.removesuffix("="), *declared)))
    listing = list_files(place, "**/*.parquet", links_may_repeat=bool(declared))
    own = _MART_OWN if is_mart else ()
    left_out = tuple(one for one in listing.left_out if Path(one.path).parts[0] not in own)
    if not listing.wanted:
        others = "".join(f" {line}." for line in summary(left_out)[:3])
        raise TrainerError(f"{place} holds no .parquet files.{others} Expected Parquet with the contract's columns.")
    return Source(place, tuple(place / found.path for found in listing.wanted), left_out, declared)


def _delta_table(place: Path, partitions: tuple[str, ...]) -> Source:
    """The files that the table's log names; its partition columns stand in their folders' names."""
    fetch(place / DELTA_LOG)
    files = mart_files(place, TrainerError)
    if not files:
        raise TrainerError(f"{place} is a Delta table without a file. Expected Parquet with the contract's columns.")
    columns = [part.partition("=")[0] for part in files[0].relative_to(place).parts[:-1]]
    return Source(place, tuple(files), (), tuple(dict.fromkeys((*columns, *partitions))))


def open_parquet(path: Path) -> pq.ParquetFile:
    need(path)
    try:
        # Buffered: a row group is read piece by piece instead of whole, whatever its size.
        return pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
    except (OSError, pa.ArrowInvalid) as error:
        raise TrainerError(f"{path} can't be read as Parquet ({error}).") from None
