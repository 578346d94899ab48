"""The file-system acts that SQL lacks, as DuckDB functions: make and publish a mart's folder, look at raw files.

A dbt-duckdb plugin (profiles.yml names it). A mart is written into a folder aside and published by one act of the file
system, so that a reader meets the old mart or the new one and a killed build leaves neither half.
"""

import ctypes
import json
import os
import shutil
import sys
from pathlib import Path

from dbt.adapters.duckdb.plugins import BasePlugin
from duckdb import DuckDBPyConnection

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux: fcntl.h, fs.h


def make_folder(path: str) -> str:
    """Make `path` afresh and empty, with its parents; whatever a killed build left there goes."""
    folder = Path(path)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return str(folder)


def link_days(published: str, aside: str, column: str, changing: str) -> str:
    """Hard-link (or else copy) into `aside` the days of a mart that are not in `changing`, a JSON list."""
    rewritten = {f"{column}={day}" for day in json.loads(changing)}
    for day in Path(published).glob(f"{column}=*"):
        if day.name not in rewritten:
            (Path(aside) / day.name).mkdir()
            for file in day.iterdir():
                linked = Path(aside) / day.name / file.name
                try:
                    os.link(file, linked)
                except OSError:  # a file system without links
                    shutil.copy2(file, linked)
    return aside


def publish_folder(finished: str, place: str) -> str:
    """Put the folder `finished` at `place`; what is there goes.

    On Linux the two change places in one act. Elsewhere, and on file systems that can't, there are two renames with a
    moment between them at which `place` is empty.
    """
    new, final = Path(finished), Path(place)
    old = final.with_name(f".{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    final.parent.mkdir(parents=True, exist_ok=True)
    if not final.exists():
        new.rename(final)
    elif exchange(new, final):
        shutil.rmtree(new, ignore_errors=True)
    else:
        final.rename(old)
        new.rename(final)
        shutil.rmtree(old, ignore_errors=True)
    return str(final)


def exchange(one: Path, other: Path) -> bool:
    """Let two paths change places, in one act (renameat2); False where system or file system can't."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    return renameat2 is not None and not renameat2(
        AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE
    )


def first_line(path: str) -> str:
    """The first line of a text file, without its byte-order mark and line end; bad bytes show as U+FFFD."""
    with Path(path).open("rb") as file:
        return file.readline(1_000_000).decode("utf-8-sig", errors="replace").rstrip("\r\n").replace("\0", "\ufffd")


def holds_rows(path: str) -> str:
    """`false` if a raw text file has nothing below its first line, else `true`."""
    with Path(path).open("rb") as file:
        file.readline()
        return "true" if file.read(1_000_000).strip() else "false"


def count_lines(path: str) -> str:
    """How many lines of a raw text file hold anything, its first one included."""
    with Path(path).open("rb") as file:
        return str(sum(1 for line in file if line.strip()))


def taken_for_patterns(folder: str, pattern: str) -> str:
    """The files of a folder that match `pattern` and that DuckDB would take for patterns themselves, as a JSON list."""
    found = sorted(path.as_posix() for path in Path(folder).glob(pattern))
    return json.dumps([path for path in found if set(path) & set("*?[]\\")])


def files_behind(view: str, folder: str) -> str:
    """The files below `folder` that the SQL of a view reads, as a JSON object: path -> its size and time of change."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file() and "'" + str(path).replace("'", "''") + "'" in view:
            state = path.stat()
            found[str(path)] = f"{state.st_size} bytes, {state.st_mtime_ns}"
    return json.dumps(found)


class Plugin(BasePlugin):
    """Registers the functions on dbt's connection."""

    def configure_connection(self, conn: DuckDBPyConnection) -> None:
        files = (first_line, holds_rows, count_lines, taken_for_patterns, files_behind)
        for function in (make_folder, link_days, publish_folder, *files):
            arguments = ["VARCHAR"] * function.__code__.co_argcount
            # side_effects: never folded into a constant while planning, never called twice for one row
            conn.create_function(function.__name__, function, arguments, "VARCHAR", side_effects=True)
