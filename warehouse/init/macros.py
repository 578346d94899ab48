"""The warehouse's own macros outside dbt, so that a time or a label is read here by the rules of the build.

macro("instant")("shown_at")    SQL for DuckDB
"""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import jinja2

FOLDER = Path(__file__).parents[1] / "macros"
FILES = ("dialect.sql", "times.sql", "values.sql")
MACRO = re.compile(r"\{%-? *macro (\w+)\(.*?\{%-? *endmacro *-?%\}", re.DOTALL)


class _Return(Exception):  # noqa: N818 - dbt's return() is an exception too
    def __init__(self, value: Any) -> None:
        self.value = value


def _return(value: Any) -> None:
    raise _Return(value)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(extensions=["jinja2.ext.do"])
    environment.globals |= {"return": _return, "target": {"type": "duckdb"}}
    for file in FILES:
        for found in MACRO.finditer((FOLDER / file).read_text(encoding="utf-8")):
            environment.globals[found[1]] = _callable(environment, found[1], found[0])
    return environment


def _callable(environment: jinja2.Environment, name: str, text: str) -> Callable[..., Any]:
    """One macro as a template of its own, so that the macros it calls are the globals, whose return() is caught."""

    @functools.cache
    def compiled() -> Any:
        return environment.from_string(text).module

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return str(getattr(compiled(), name)(*args, **kwargs)).strip()
        except _Return as returned:
            return returned.value

    return call


def macro(name: str) -> Callable[..., Any]:
    found: Any = _environment().globals[name]
    return cast(Callable[..., Any], found)
