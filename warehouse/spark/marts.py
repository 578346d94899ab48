"""Writes a mart with Spark, and publishes it.

On a file system of this machine, shared or not, a mart is written aside and takes the place of the old one by a rename,
as on DuckDB. Elsewhere no folder is renamed in one act (object stores) or no file linked (HDFS): new files are written
next to the old ones, and the build record, written last, names those that are the mart. Then the others go.
"""

from __future__ import annotations

import json
from pathlib import Path

from storage.mart_files import RECORD, parquet_files
from warehouse import folders
from warehouse.spark.files import delete, entries, local_path, read_text, session, write_text


def write_mart(sql: str, place: str, partition_by: str | None, days: list[str] | None) -> dict:
    """Write the rows of `sql`. days: those that the rows are of, all others stay; None: the rows are the whole mart.

    Returns: n_rows of the whole mart; its columns as `select`, and as `ddl` of a table; and what publish_mart needs.
    """
    local = local_path(place)
    aside = folders.make_folder(str(Path(local).with_name(f".{Path(local).name}.partial"))) if local else None
    kept = set() if local else _clean(place)
    rows = session().sql(sql)
    writer = (rows.repartition(partition_by) if partition_by else rows).write.mode("append")
    writer = writer.option("mapreduce.fileoutputcommitter.marksuccessfuljobs", "false")
    (writer.partitionBy(partition_by) if partition_by else writer).parquet(f"file:{aside}" if aside else place)
    if local and aside:
        if days is not None:
            folders.link_days(local, aside, str(partition_by), json.dumps(days))
        files = [f"file:{path}" for path in parquet_files(Path(aside))]
    else:
        new = {entry.path for entry in entries(place)} - kept - {RECORD}
        changing = {f"{partition_by}={day}" for day in days or []}
        staying = {path for path in kept if days is not None and path.split("/")[0] not in changing}
        files = [f"{place}/{path}" for path in sorted(new | staying) if path.endswith(".parquet")]
    types = {field.name: field.dataType.simpleString() for field in rows.schema.fields}
    last = sorted(types, key=lambda name: name == partition_by)
    return {
        "aside": aside,
        "files": files,
        "n_rows": session().read.parquet(*files).count() if files else 0,
        "select": "select " + ", ".join(f"cast(null as {type_}) as `{name}`" for name, type_ in types.items()),
        "ddl": ", ".join(f"`{name}` {types[name]}" for name in last),
    }


def publish_mart(written: dict, place: str, record: dict) -> None:
    """Put what write_mart wrote in the mart's place, with its record. A reader finds the old mart or the new one."""
    if written["aside"]:
        build = Path(written["aside"], RECORD)
        build.parent.mkdir()
        build.write_text(json.dumps(record), encoding="utf-8")
        folders.publish_folder(written["aside"], str(local_path(place)))
    else:
        files = [file.removeprefix(f"{place}/") for file in written["files"]]
        write_text(f"{place}/{RECORD}", json.dumps(record | {"files": files}))
        _clean(place)


def withdraw_mart(place: str) -> None:
    """Without its record no reader accepts a mart."""
    delete(f"{place}/_build")


def _clean(place: str) -> set[str]:
    """Delete what isn't the mart: files of builds that were killed, and of the one before. Returns the mart's files."""
    found = {entry.path for entry in entries(place)}
    text = read_text(f"{place}/{RECORD}")
    record = json.loads(text) if text else {"files": []}
    kept = set(record["files"]) if "files" in record else {path for path in found if path.endswith(".parquet")}
    for path in found - kept - {RECORD}:
        delete(f"{place}/{path}")
    return kept
