"""The project's models over another stg_events: tables in memory, so half a second per log instead of a dbt build."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from warehouse.reading.text import quoted

from .errors import ProofError
from .models import Mart, Models

if TYPE_CHECKING:
    from dbt.adapters.duckdb.credentials import DuckDBCredentials

ROW = ("event_id", "event_at", "event_date")  # which row it is, and what it may see
SAMPLE = "memory.main.sampled_events"


@contextmanager
def in_memory(credentials: DuckDBCredentials) -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty database with the profile's settings, extensions and plugins."""
    from dbt.adapters.duckdb import environments

    environment = environments.create(replace(credentials, path=":memory:", attach=None))
    try:
        connection = environment.handle().cursor()
        connection.execute("set threads = 1")
        yield connection
    finally:
        environment.close()


def prepare(
    connection: duckdb.DuckDBPyConnection, models: Models, sample: pa.Table, inputs: dict[str, pa.Table]
) -> None:
    """Make the databases and schemas that the models' SQL names, the sample, and what else the models read."""
    schemas = {_schema(relation) for relation in (models.events, *(model.relation for model in models.models), *inputs)}
    for database in sorted({_schema(schema) for schema in schemas} - {""}):
        connection.execute(f"attach if not exists ':memory:' as {database}")
    for schema in sorted(schemas):
        connection.execute(f"create schema if not exists {schema}")
    for relation, rows in {SAMPLE: sample, **inputs}.items():
        connection.register("rows_to_copy", rows)
        connection.execute(f"create or replace table {relation} as select * from rows_to_copy")
        connection.unregister("rows_to_copy")


def rebuilt(connection: duckdb.DuckDBPyConnection, models: Models, events: str) -> dict[str, pa.Table]:
    """Each mart by its name, sorted by event_id; `events` is a query of the sample.

    Raises: ProofError naming the model whose SQL fails.
    """
    connection.execute(f"create or replace table {models.events} as {events}")
    for model in models.models:
        try:
            connection.execute(f"create or replace table {model.relation} as {model.sql}")
        except duckdb.Error as error:
            raise ProofError(f"{model.name} fails on the sample:\n{error}") from error
    return {mart.name: _rows(connection, mart) for mart in models.marts}


def _rows(connection: duckdb.DuckDBPyConnection, mart: Mart) -> pa.Table:
    columns = ", ".join(map(quoted, (*ROW, *mart.features)))
    try:
        return connection.sql(f"select {columns} from {mart.relation} order by event_id").to_arrow_table()
    except duckdb.Error as error:
        raise ProofError(f"{mart.name} lacks a column that its yml describes:\n{error}") from error


def _schema(relation: str) -> str:
    return relation.rpartition(".")[0]
