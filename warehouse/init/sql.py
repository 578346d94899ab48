"""Names and texts of a log as an adapter's SQL and Jinja spell them."""

import re

import duckdb

from warehouse.init.names import RESERVED


def is_plain(name: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)) and name.lower() not in RESERVED


def jinja_text(text: str) -> str:
    """A text as a literal in Jinja."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\t", "\\t").replace("\n", "\\n") + "'"


def sql_name(name: str, in_jinja: bool = False) -> str:
    """A column's name in an adapter; `in_jinja`: within an expression of Jinja. Engines quote by different signs."""
    if is_plain(name):
        return jinja_text(name) if in_jinja else name
    call = f"adapter.quote({jinja_text(name)})"
    return call if in_jinja else "{{ " + call + " }}"


def comment(text: str) -> str:
    """A text within an SQL comment: on one line, and nothing that Jinja would run."""
    return re.sub(r"\s+", " ", text.replace("{{", "{ {").replace("{%", "{ %").replace("{#", "{ #"))


def one_row(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple:
    """The row of an aggregate."""
    row = connection.execute(sql).fetchone()
    assert row is not None, "an aggregate has a row"
    return tuple(row)
