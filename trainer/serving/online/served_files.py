"""What a service logged of its answers: Parquet by day, one row per candidate, with the features that the model read.

FOLDER/event_date=YYYY-MM-DD/<any name>.parquet. Files that are being written have hidden names, and are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from storage.listing import LeftOut, list_files, summary
from trainer.base.errors import TrainerError
from trainer.serving.source import open_parquet

KEYS = ("user_id", "item_id", "scene", "event_at")
OWN = ("request_id", "event_id", *KEYS, "served_at", "probability", "event_date")  # what isn't a feature of the mart
_PATTERN = "event_date=*/*.parquet"
_BATCH = 65_536  # rows


@dataclass(frozen=True)
class ServedFiles:
    """files: in the order of their days. left_out: others in the folder, with the reason."""

    folder: Path
    files: tuple[Path, ...]
    left_out: tuple[LeftOut, ...]

    @classmethod
    def open(cls, folder: Path) -> ServedFiles:
        """Raises: TrainerError where there is no folder, or no Parquet file by day in it."""
        expected = "Expected the folder that a service logs to: event_date=YYYY-MM-DD/<name>.parquet."
        if not folder.is_dir():
            found = "is a file" if folder.exists() else "isn't there"
            raise TrainerError(f"--served {folder} {found}. {expected}")
        listing = list_files(folder, _PATTERN)
        if not listing.wanted:
            found = "; ".join(summary(listing.left_out)) or "it is empty"
            raise TrainerError(f"--served {folder} has no log ({found}). {expected}")
        return cls(folder, tuple(folder / found.path for found in listing.wanted), listing.left_out)

    @property
    def n_rows(self) -> int:
        """Of all files, by their metadata."""
        total = 0
        for path in self.files:
            with open_parquet(path) as file:
                total += file.metadata.num_rows
        return total

    def batches(self) -> Iterator[tuple[Path, pa.Table]]:
        """Each file's rows, some at a time; `event_id` (NULL where the file has none) and KEYS are of one type in all.

        Raises: TrainerError where a file can't be read, or lacks a key or its value.
        """
        for path in self.files:
            with open_parquet(path) as file:
                _check(path, file.schema_arrow)
                try:
                    for batch in file.iter_batches(_BATCH):
                        if len(batch):
                            yield path, _with_keys(path, pa.Table.from_batches([batch]))
                except (OSError, pa.ArrowInvalid) as error:
                    raise TrainerError(f"{path} can't be read to its end ({error}).") from None


def _check(path: Path, schema: pa.Schema) -> None:
    if missing := [name for name in KEYS if name not in schema.names]:
        raise TrainerError(
            f"{path} lacks {', '.join(missing)}. Expected what a service logged: {', '.join(OWN[:-1])}, then the "
            "features that the model read."
        )
    if twice := sorted({name for name in schema.names if schema.names.count(name) > 1}):
        raise TrainerError(f"{path} has {', '.join(twice)} more than once. Keep one of each.")
    for name in ("event_id", *KEYS):
        kind = schema.field(name).type if name in schema.names else pa.null()
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        right = pa.types.is_timestamp(kind) if name == "event_at" else is_text
        if not right and not (name == "event_id" and pa.types.is_null(kind)):
            wanted = "a timestamp" if name == "event_at" else "a string"
            raise TrainerError(f"{path}: {name} is {kind}, expected {wanted}.")


def _with_keys(path: Path, rows: pa.Table) -> pa.Table:
    if "event_id" not in rows.column_names:
        rows = rows.append_column("event_id", pa.nulls(len(rows), pa.string()))
    for name in ("event_id", *KEYS):
        kind = pa.timestamp("us") if name == "event_at" else pa.string()
        if name in KEYS and rows[name].null_count:
            raise TrainerError(f"{path}: {name} is NULL in {rows[name].null_count:,} rows. Every row needs one.")
        column = rows[name].combine_chunks()
        column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        # An instant in nanoseconds is cut to microseconds, as the warehouse keeps it.
        rows = rows.set_column(rows.column_names.index(name), name, pc.cast(column, kind, safe=False))
    return rows
