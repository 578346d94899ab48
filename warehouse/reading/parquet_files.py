"""What columns Parquet files have, and of which types, as DuckDB reads them."""

import json
from collections.abc import Iterable

import duckdb

from warehouse.reading.errors import ReadingError

Columns = list[tuple[str, str]]


def columns_of(files: Iterable[str], remedy: str) -> dict[str, Columns]:
    """Name and DuckDB type of each top-level column, by file, in the order of the file. Names may repeat."""
    files = list(files)
    if not files:
        return {}
    with duckdb.connect(":memory:") as connection:
        by_file = _schemas(connection, files, remedy)
        described: dict[str, Columns] = {}
        found = {}
        for file in files:
            schema = by_file[file]
            key = json.dumps(schema)
            if key not in described:
                types = connection.sql(f"select * from {scan([file])} limit 0").types
                names = _top_level_names(schema)
                described[key] = [(name, str(type_)) for name, type_ in zip(names, types, strict=True)]
            found[file] = described[key]
        return found


def scan(files: list[str]) -> str:
    """The table function over files of one schema."""
    paths = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
    return f"read_parquet([{paths}], hive_partitioning = false)"


def _schemas(connection: duckdb.DuckDBPyConnection, files: list[str], remedy: str) -> dict[str, list[tuple]]:
    """The rows of parquet_schema, by file."""
    columns = "name, type, type_length, repetition_type, num_children, converted_type, scale, precision, logical_type"
    sql = f"select file_name, {columns} from parquet_schema(?)"
    schemas: dict[str, list[tuple]] = {}
    try:
        rows = connection.execute(sql, [files]).fetchall()
    except duckdb.Error:
        rows = []
        for file in files:
            try:
                rows += connection.execute(sql, [[file]]).fetchall()
            except duckdb.Error as error:
                raise ReadingError(
                    f"Raw file {file} is not a whole Parquet file: {str(error).splitlines()[0]} Copy or write it "
                    f"again, or move it away. {remedy}"
                ) from None
    for file, *row in rows:
        schemas.setdefault(file, []).append(tuple(row))
    return schemas


def _top_level_names(schema: list[tuple]) -> list[str]:
    """The names of a schema's own columns; the rows are a tree in preorder, the root first."""
    names: list[str] = []

    def skip(position: int) -> int:
        n_children = schema[position][4] or 0
        position += 1
        for _ in range(n_children):
            position = skip(position)
        return position

    position = 1
    while position < len(schema):
        names.append(schema[position][0])
        position = skip(position)
    return names
