"""The file-system acts that SQL lacks, as DuckDB functions: make a folder, publish a finished one, read a file's head.

A dbt-duckdb plugin (profiles.yml names it). A mart is written into a folder aside and published by rename, so that a
reader meets the old mart or the new one and a killed build leaves neither half.
"""

import shutil
from pathlib import Path

from dbt.adapters.duckdb.plugins import BasePlugin
from duckdb import DuckDBPyConnection


def make_folder(path: str) -> str:
    """Make `path` afresh and empty, with its parents; whatever a killed build left there goes."""
    folder = Path(path)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return str(folder)


def publish_folder(finished: str, place: str) -> str:
    """Put the folder `finished` at `place`, replacing what is there."""
    new, final = Path(finished), Path(place)
    old = final.with_name(f".{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.exists():
        final.rename(old)
    new.rename(final)
    shutil.rmtree(old, ignore_errors=True)
    return str(final)


def first_line(path: str) -> str:
    """The first line of a text file, without its byte-order mark and line end; bad bytes show as U+FFFD."""
    with Path(path).open("rb") as file:
        return file.readline(1_000_000).decode("utf-8-sig", errors="replace").rstrip("\r\n").replace("\0", "\ufffd")


class Plugin(BasePlugin):
    """Registers the functions on dbt's connection."""

    def configure_connection(self, conn: DuckDBPyConnection) -> None:
        for function in (make_folder, publish_folder, first_line):
            arguments = ["VARCHAR"] * function.__code__.co_argcount
            # side_effects: never folded into a constant while planning, never called twice for one row
            conn.create_function(function.__name__, function, arguments, "VARCHAR", side_effects=True)
