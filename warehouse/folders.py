"""Publishing a mart's folder; and the dbt-duckdb plugin (profiles.yml names it) that registers what SQL lacks.

A mart is written into a folder aside and published by one act of the file
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

from warehouse.reading import scan
from warehouse.reading.csv_files import count_lines

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


class Plugin(BasePlugin):
    """Registers the functions on dbt's connection."""

    def configure_connection(self, conn: DuckDBPyConnection) -> None:
        reading = (scan.raw_scan, scan.count_files, scan.place_of, scan.reading_rules, scan.lines_about, count_lines)
        for function in (make_folder, link_days, publish_folder, *reading):
            arguments = ["VARCHAR"] * function.__code__.co_argcount
            # side_effects: never folded into a constant while planning, never called twice for one row
            conn.create_function(function.__name__, function, arguments, "VARCHAR", side_effects=True)
