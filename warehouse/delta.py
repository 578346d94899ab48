"""A mart's folder as a Delta table: a log that says which files are the table, for every engine that reads Delta.

The log is written into the folder of a mart that is not yet published, so that both become visible by the same rename.
A mart keeps only its present files: an older version can be listed, but no longer read.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from storage import installed
from storage.mart_files import DELTA_LOG, parquet_files
from warehouse.places import in_project


class DeltaError(Exception):
    """A mart can't be written as a Delta table; the message says what to do."""


def write_delta_log(aside: str, published: str, partition_by: str) -> str:
    """Commit the files of `aside` as the next version of the table that is published, or as the first one.

    Files that the table has already are those linked from it; all others get names that hold the version, since a
    Delta log never names two files alike. partition_by: empty for a mart that isn't partitioned.
    Returns: the version. Raises: DeltaError where the package deltalake isn't there.
    """
    if lacking := installed.lacking("delta", "var table_format: delta"):
        raise DeltaError(lacking)
    from deltalake import CommitProperties, DeltaTable, Schema
    from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions

    folder, log = Path(in_project(aside)), Path(in_project(published)) / DELTA_LOG
    columns = [partition_by] if partition_by else []
    found = {path.relative_to(folder).as_posix(): path for path in parquet_files(folder)}
    schema = Schema.from_arrow(_schema(next(iter(found.values())), partition_by))
    table = None
    if log.is_dir():
        shutil.copytree(log, folder / DELTA_LOG)
        table = DeltaTable(folder)
        if table.schema() != schema or table.metadata().partition_columns != columns:
            table = None  # other columns: a table of its own from here on
            shutil.rmtree(folder / DELTA_LOG)
    version = table.version() + 1 if table else 0
    sizes: dict[str, int] = {}
    if table:
        before = pa.table(table.get_add_actions())
        sizes = dict(zip(before["path"].to_pylist(), before["size_bytes"].to_pylist(), strict=True))

    def added(path: Path) -> AddAction:
        name, state = path.relative_to(folder).as_posix(), path.stat()
        stats = json.dumps({"numRecords": pq.read_metadata(path).num_rows})
        return AddAction(name, state.st_size, _partition(name), state.st_mtime_ns // 1_000_000, True, stats)

    new = [path for name, path in found.items() if name not in sizes]
    adds = [added(path.rename(path.with_name(f"{path.stem}-v{version}{path.suffix}"))) for path in new]
    gone = [name for name in sizes if name not in found]
    by = CommitProperties(custom_metadata={"first_impression": installed.version()})
    if table is None:
        create_table_with_add_actions(str(folder), schema, adds, partition_by=columns or None, commit_properties=by)
    else:
        now = time.time_ns() // 1_000_000
        removes = [RemoveAction(name, True, now, sizes[name], _partition(name)) for name in gone]
        table.create_write_transaction([*adds, *removes], "append", schema, columns or None, commit_properties=by)
    return str(version)


def _partition(name: str) -> dict[str, str | None]:
    """The values in the names of a file's folders: {"event_date": "2024-01-31"}."""
    return {key: value for key, _, value in (part.partition("=") for part in name.split("/")[:-1])}


def _schema(file: Path, partition_by: str) -> pa.Schema:
    """The columns of a file, and the one that its folder's name holds."""
    schema = pq.read_schema(file).remove_metadata()
    return schema.append(pa.field(partition_by, pa.date32())) if partition_by else schema
