"""Publishing a mart's folder; and the dbt-duckdb plugin (profiles.yml names it) that registers what SQL lacks.

A mart is written into a folder next to its target and published atomically (storage.atomic), so that
a reader finds the old mart or the new one.
"""

import json
import os
import shutil
from functools import partialmethod
from pathlib import Path
from typing import Any

from agate import Table
from dbt.adapters.duckdb.plugins import BasePlugin
from duckdb import DuckDBPyConnection

from storage import atomic
from warehouse import refresh
from warehouse.places import in_project, project_folder
from warehouse.reading import scan
from warehouse.reading.csv_files import count_lines
from warehouse.reading.text import literal


def make_folder(path: str) -> str:
    """Make `path` afresh and empty, with its parents, and return it; whatever a killed build left there goes."""
    folder = Path(in_project(path))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return str(folder)


def link_days(published: str, aside: str, column: str, changing: str) -> str:
    """Hard-link (or else copy) into `aside` the days of a mart that are not in `changing`, a JSON list."""
    rewritten = {f"{column}={day}" for day in json.loads(changing)}
    to_fill = Path(in_project(aside))
    for day in Path(in_project(published)).glob(f"{column}=*"):
        if day.name not in rewritten:
            (to_fill / day.name).mkdir()
            for file in day.iterdir():
                linked = to_fill / day.name / file.name
                try:
                    os.link(file, linked)
                except OSError:  # a file system without links
                    shutil.copy2(file, linked)
    return aside


def publish_folder(finished: str, place: str) -> str:
    """Put the folder `finished` at `place`; what is there goes."""
    target = Path(in_project(place))
    target.parent.mkdir(parents=True, exist_ok=True)
    atomic.remove_leftovers(target)
    atomic.publish(Path(in_project(finished)), target)
    return place


def write_delta_log(aside: str, published: str, partition_by: str) -> str:
    """warehouse/delta.py, which is imported where a mart is a Delta table: it would make every start of dbt slower."""
    from warehouse import delta

    return delta.write_delta_log(aside, published, partition_by)


class Plugin(BasePlugin):
    """Registers the functions on dbt's connection, which reads and writes in the project's folder.

    `dbt show` gets whole names: its tables (agate's) cut every cell at 20 characters, and dbt has no option for that.
    """

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        """Runs before dbt-duckdb connects to the database."""
        if self.creds is not None and ":" not in self.creds.path:  # :memory:, md:
            self.creds.path = in_project(self.creds.path)
            Path(self.creds.path).parent.mkdir(parents=True, exist_ok=True)
        Table.print_table = partialmethod(Table.print_table, max_column_width=80)

    def configure_connection(self, conn: DuckDBPyConnection) -> None:
        """Runs once, on the connection that dbt's cursors are made of."""
        if project := project_folder():
            # The views of marts read relative paths. What is written gets its path from make_folder.
            conn.execute(f"set global file_search_path = {literal(str(project))}")
        reading = (scan.find_raw_files, scan.scan_sql, scan.place_of, scan.reading_rules, scan.lines_about, count_lines)
        own = (make_folder, link_days, publish_folder, write_delta_log, refresh.plan_refresh)
        for function in (*own, *reading):
            arguments: list[Any] = ["VARCHAR"] * function.__code__.co_argcount
            # side_effects: never folded into a constant while planning, never called twice for one row
            conn.create_function(function.__name__, function, arguments, "VARCHAR", side_effects=True)
