"""Run a scan by itself: the SQL that an adapter's macro would get, in a database in memory."""

import json
from pathlib import Path

import duckdb

from warehouse.reading.scan import raw_scan


def answer(
    folder: Path | str, kind: str, pattern: str, columns: list[str], known: dict | None = None, **options
) -> dict:
    request = {"kind": kind, "folder": str(folder), "pattern": pattern, "columns": columns, "remedy": "Mend it."}
    return json.loads(raw_scan(json.dumps(request | options), json.dumps(known or {})))


def rows(folder: Path, kind: str, pattern: str, columns: list[str], **options) -> list[tuple]:
    """The rows of a scan, sorted by source_file and source_row, which come last."""
    found = answer(folder, kind, pattern, columns, **options)
    assert "error" not in found, found["error"]
    with duckdb.connect(":memory:") as connection:
        connection.execute("set TimeZone = 'UTC'; set preserve_insertion_order = false")
        return connection.sql(f"select * from ({found['sql']}) order by source_file, source_row").fetchall()


def error(folder: Path | str, kind: str, pattern: str, columns: list[str], **options) -> str:
    return answer(folder, kind, pattern, columns, **options)["error"]
