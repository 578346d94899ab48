"""The SQL that reads files, each value as text by its own file's type.

Files of one schema are one table function, since a log of thousands of files must be planned in a moment.
"""

import json
import re

from storage.listing import Found
from warehouse.reading import parquet_files
from warehouse.reading.columns import shapes_of
from warehouse.reading.request import Request, place_of
from warehouse.reading.text import Shape, as_text, literal, quoted

OURS = {"filename", "file_row_number", "file_index"}  # DuckDB's names for a file's path, its rows and its number


def sql_of(request: Request, files: list[Found], columns: dict[str, parquet_files.Columns]) -> str:
    """The scan of `files`, whose values become text as those of all files do."""
    shapes = shapes_of(request, columns)
    groups: dict[tuple, list[Found]] = {}
    for found in files:
        groups.setdefault((found.compression, json.dumps(columns[found.path])), []).append(found)
    selects = []
    for (compression, names), group in groups.items():
        build = _csv_selects if request.kind == "csv" else _parquet_selects
        selects += build(request, place_of(request.folder), json.loads(names), group, shapes, compression)
    return " union all ".join(selects) or _no_rows(request, shapes)


def _from_path(request: Request, source_file: str) -> dict[str, str]:
    """SQL of each declared partition column: what stands after `name=` in a file's path, as Hive and Spark write it."""
    return {
        name: (
            f"nullif(url_decode(regexp_extract('/' || {source_file}, "
            f"{literal('.*/' + re.escape(name) + '=([^/]*)/')}, 1)), '__HIVE_DEFAULT_PARTITION__')"
        )
        for name in request.partitions
    }


def _parquet_selects(
    request: Request, folder: str, names: list[list[str]], files: list[Found], shapes: dict[str, Shape], _: str
) -> list[str]:
    """By name; by position where the file has names that repeat (in any case) or that DuckDB uses itself."""
    plain = [name.lower() for name, _ in names]
    by_position = len(set(plain)) < len(plain) or OURS & set(plain) or "" in plain
    inner = {name: f"c{number}" if by_position else quoted(name) for number, (name, _) in enumerate(names)}
    source_file = f"substr(t.filename, {len(folder) + 2})"
    from_path = _from_path(request, source_file)
    types = dict(names)
    expressions = [
        f"{from_path[name]} as {quoted(name)}"
        if name in from_path
        else f"{as_text('t.' + inner[name], types[name], shapes[name], _what(name))} as {quoted(name)}"
        for name in request.columns
    ]
    alias = f"t({', '.join(inner_name for inner_name in (f'c{n}' for n in range(len(names))))})" if by_position else "t"
    scan = parquet_files.scan([f"{folder}/{found.path}" for found in files])
    return [
        f"select {', '.join(expressions)}, {source_file} as source_file, t.file_row_number + 1 as source_row"
        f" from {scan} as {alias}"
    ]


def _what(column: str) -> str:
    """SQL for what an error about a value calls its place."""
    return literal(f"Column {column} of raw file ") + " || t.filename"


def _csv_selects(
    request: Request, folder: str, names: list[list[str]], files: list[Found], _: dict[str, Shape], compression: str
) -> list[str]:
    """One scan per file: of several files in one scan, DuckDB 2.0.0 forgets some lines that are no rows.

    Rows are numbered in the scan itself, since a join further on may reorder them. The file's name is a constant, so a
    filter on it leaves whole files unread.
    """
    inner = {name: f"c{number}" for number, (name, _) in enumerate(names)}
    typed = ", ".join(f"c{number}: 'varchar'" for number in range(len(names)))
    options = (
        f"auto_detect = false, header = {'false' if request.header else 'true'}, columns = {{{typed}}},"
        f" delim = {literal(request.delim)}, quote = {literal(request.quote)}, escape = {literal(request.quote)},"
        f" compression = '{ {'.gz': 'gzip', '.zst': 'zstd'}.get(compression, 'none') }', hive_partitioning = false,"
        " store_rejects = true, rejects_limit = 0"
    )

    def select(found: Found) -> str:
        source_file = literal(found.path)
        from_path = _from_path(request, source_file)
        wanted = [f"{from_path.get(name) or inner[name]} as {quoted(name)}" for name in request.columns]
        return (
            f"select {', '.join(wanted)}, {source_file} as source_file, row_number() over () as source_row"
            f" from read_csv({literal(f'{folder}/{found.path}')}, {options})"
        )

    return [select(found) for found in files]


def _no_rows(request: Request, shapes: dict[str, Shape]) -> str:
    """The columns of a scan of which no file is to be read now."""
    columns = [
        f"cast(null as {shapes[name].sql_type() if name in shapes else 'varchar'}) as {quoted(name)}"
        for name in request.columns
    ]
    return (
        f"select {', '.join(columns)}, cast(null as varchar) as source_file, cast(null as bigint) as source_row limit 0"
    )
