"""What macros on Spark ask of Python, in dbt's process: `adapter.python(name, ...)` calls a function of `FUNCTIONS`.

plans.py says what a build has to do to a table, layers.py how a table is refreshed, marts.py writes and publishes
marts, scans.py finds and reads raw files. files.py has what they all need of Spark: its session, its file systems.
"""

from __future__ import annotations

from typing import Any

from dbt_common.exceptions import DbtRuntimeError

from warehouse.reading.scan import lines_about
from warehouse.spark import files, layers, marts, plans, scans

FUNCTIONS = {
    function.__name__: function
    for function in (
        *(plans.plans_of, plans.days_since, plans.files_since, plans.write_record, plans.record_tests),
        *(layers.clear_layers, layers.layer, layers.view_of),
        *(marts.write_mart, marts.publish_mart, marts.withdraw_mart),
        *(scans.find_raw_files, scans.scan_sql, scans.reading_rules, lines_about, files.uri_of),
    )
}


def called(name: str, *arguments: Any) -> Any:
    """What the function `name` returns. Raises: DbtRuntimeError with what it, or Spark, says."""
    try:
        return FUNCTIONS[name](*arguments)
    except Exception as error:  # of dbt's kinds of errors this one is a model's own, without a traceback
        raise DbtRuntimeError(str(error)) from error
