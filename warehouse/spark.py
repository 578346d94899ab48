"""Python for macros on Spark, in dbt's process: `adapter.python(name, ...)` calls a function of `FUNCTIONS`."""

from __future__ import annotations

from typing import Any

from dbt_common.exceptions import DbtRuntimeError

from warehouse import folders, refresh
from warehouse.reading.errors import ReadingError

FUNCTIONS = {function.__name__: function for function in (folders.make_folder, folders.publish_folder)}


def called(name: str, *arguments: Any) -> Any:
    """Raises: DbtRuntimeError in the words of what is wrong with the user's files."""
    try:
        return FUNCTIONS[name](*arguments)
    except ReadingError as error:
        raise DbtRuntimeError(str(error)) from None
