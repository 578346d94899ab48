"""The files of a log, written block by block: CSV or Parquet."""

from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from .parameters import COLUMNS

ROW_GROUP = 262_144
CSV_OPTIONS = pa.csv.WriteOptions(include_header=False, quoting_style="needed", batch_size=4096)


def as_csv(log: pa.Table) -> pa.Buffer:
    out = pa.BufferOutputStream()
    pa.csv.write_csv(log, out, CSV_OPTIONS)
    return out.getvalue()


class CsvFile:
    """One part: the header, then blocks of finished lines."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._file.write((",".join(COLUMNS) + "\n").encode())

    def write(self, lines: pa.Buffer) -> None:
        self._file.write(lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()


class ParquetFile:
    """One Parquet file; small blocks are gathered into row groups."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        # A row's own name never repeats: a dictionary would be as long as the column.
        unique = [name for name in ("event_id", "row_number", "log_time") if name in schema.names]
        dictionary = [name for name in schema.names if name not in unique]
        encoding = {"event_id": "DELTA_BYTE_ARRAY"} if "event_id" in unique else None
        self._writer = pq.ParquetWriter(
            path, schema, compression="zstd", compression_level=1, use_dictionary=dictionary, column_encoding=encoding
        )
        self._tables: list[pa.Table] = []

    def write(self, table: pa.Table) -> None:
        self._tables.append(table)
        if sum(t.num_rows for t in self._tables) >= ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._tables:
            self._writer.write_table(pa.concat_tables(self._tables).combine_chunks(), row_group_size=ROW_GROUP)
            self._tables = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._flush()
        self._writer.close()
