"""Spark SQL that reads raw files of one schema: the table over them, its rows as text, and its lines that are no rows.

What text each type becomes: docs/bring-your-own-log.md. DuckDB's counterparts are in warehouse/reading.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from warehouse.reading.parquet_files import Columns
from warehouse.reading.request import Request
from warehouse.spark.plans import literal

Types = Mapping[str, Mapping[str, tuple[str, str]]]  # of a column in all files: type and file by kind
# Below it, every whole number has its own float.
FIRST_INEXACT = {"float": 2**24, "double": 2**53}
_LEAF = (
    r"(^|[<:,])(void|boolean|tinyint|smallint|int|bigint|float|double|decimal[(][0-9,]+[)]|date|timestamp_ntz|timestamp"
    r"|binary|string)(?=[>,]|$)"
)


def parquet_table(request: Request, table: str, names: Columns, place: str, root: str, types: Types) -> dict[str, str]:
    """Statements: `table` makes it, `rows` selects from it.

    place: a glob of the files. root: the path of the raw folder. types: see Types.
    """
    own = dict(names)
    typed = [f"{_quoted(name)} {type_}" for name, type_ in names if name in request.columns and type_ != "void"]
    folders = _from_folders(request.partitions)
    texts = []
    for name in request.columns:
        others = list(types.get(name, {}).values())
        nested = _as_text_type(others[0][0]) if others else "string"
        text = folders[name] if name in folders else _text_of(_quoted(name), own[name], nested)
        texts.append(f"{text} as {_quoted(name)}")
    return {
        "table": f"create table {table} ({', '.join(typed)}) using parquet"
        f" options (path {literal(place)}, recursiveFileLookup 'true')",
        "rows": f"select {', '.join(texts)}, source_file, source_row from (select *, {_below(root)} as source_file,"
        f" _metadata.row_index + 1 as source_row from {table})",
        "malformed": "select cast(null as string) as source_file, cast(null as bigint) as source_line,"
        " cast(null as string) as problem, cast(null as string) as line, cast(null as bigint) as n_lines_taken_in"
        " where false",
    }


def csv_table(request: Request, table: str, names: Columns, place: str, root: str, types: Types) -> dict[str, str]:
    """As parquet_table, and `malformed`: the lines that are no rows. All columns of the files are read: Spark counts
    the fields of a line only then. Rows are numbered from 1 in each file, without the lines that are no rows."""
    header = [name for name, _ in names]
    wanted = [
        _quoted(name) if name in request.columns and name not in header[:number] else f"_column_{number + 1}"
        for number, name in enumerate(header)
    ]
    options = {
        "path": place,
        "recursiveFileLookup": "true",
        "header": "false" if request.header else "true",
        "enforceSchema": "true",
        "encoding": "UTF-8",
        "mode": "PERMISSIVE",
        "columnNameOfCorruptRecord": "_no_row",
        "columnPruning": "false",
        "multiLine": "true" if request.quote else "false",
        "sep": request.delim,
        "quote": request.quote,
        "escape": request.quote,
    }
    located = (
        f"{_below(root)} as source_file, _metadata.file_block_start as block_start,"
        " monotonically_increasing_id() as position"
    )
    numbered = "row_number() over (partition by source_file order by block_start, position)"
    joined = ", ".join(wanted)
    # Bytes that aren't UTF-8 are read as U+FFFD, and would pass for text.
    garbled = f"contains(concat_ws('', {joined}), '\\ufffd')"
    unquoted = "regexp_replace(line, '\"[^\"]*\"', '')" if request.quote else "line"
    delim = literal(request.delim)
    n_found = f"1 + (length({unquoted}) - length(replace({unquoted}, {delim}, ''))) div {len(request.delim)}"
    problem = (
        f"case when is_short_or_long then concat('Expected Number of Columns: {len(header)} Found: ',"
        f" least({n_found}, {len(header) + 1}))"
        " else 'Invalid unicode (byte sequence mismatch) detected. This file is not utf-8 encoded.' end"
    )
    line = "rtrim('\\r\\n', line)"
    lines = (
        f"select {located}, _no_row is not null as is_short_or_long, coalesce(_no_row, case when {garbled} then"
        f" replace(concat_ws({delim}, {joined}), '\\ufffd', '?') end) as line from {table}"
    )
    folders = _from_folders(request.partitions)
    given = [f"{folders[name]} as {_quoted(name)}" if name in folders else _quoted(name) for name in request.columns]
    read = [_quoted(name) for name in request.columns if name not in folders]
    return {
        "table": f"create table {table} ({' string, '.join(wanted)} string, _no_row string) using csv options ("
        + ", ".join(f"{name} {literal(value)}" for name, value in options.items())
        + ")",
        "rows": f"select {', '.join(given)}, source_file, cast({numbered} as bigint) as source_row from"
        f" (select {', '.join([*read, located])} from {table} where _no_row is null and not {garbled})",
        "malformed": f"select source_file, cast(source_line as bigint) as source_line, {problem} as problem,"
        " left(line, 500) as line,"
        f" cast(length({line}) - length(replace({line}, chr(10), '')) as bigint) as n_lines_taken_in"
        f" from (select source_file, {numbered} + 1 as source_line, is_short_or_long, line from ({lines}))"
        " where line is not null",
    }


def _below(root: str) -> str:
    """SQL: a file's path below the raw folder, from _metadata.file_path, which is a URI."""
    decoded = "url_decode(replace(_metadata.file_path, '+', '%2B'))"
    plain = literal(root)
    return f"substr({decoded}, locate({plain}, {decoded}) + length({plain}))"


def _from_folders(partitions: list[str]) -> dict[str, str]:
    """SQL of each partition column: what stands after `name=` in a file's path, as Hive and Spark write it."""
    found = {}
    for name in partitions:
        pattern = literal(".*/" + re.escape(name) + "=([^/]*)/")
        value = f"regexp_extract(concat('/', source_file), {pattern}, 1)"
        decoded = f"coalesce(try_url_decode(replace({value}, '+', '%2B')), {value})"
        found[name] = f"nullif({decoded}, '__HIVE_DEFAULT_PARTITION__')"
    return found


def is_nested(type_: str) -> bool:
    return type_.startswith(("array", "map", "struct"))


def _text_of(value: str, type_: str, nested: str = "string") -> str:
    """SQL: a value as text, by the type of its own file. nested: the type to give to nothing."""
    if type_ == "void":
        return f"cast(null as {nested})"
    if type_ == "timestamp":
        return f"concat(cast({value} as string), '+00:00')"
    if type_ == "binary":
        return f"validate_utf8(cast({value} as string))"
    if type_ in FIRST_INEXACT:
        return _float_as_text(value, FIRST_INEXACT[type_])
    if list_of := re.fullmatch(r"array<([a-z_]+(?:[(][0-9,]+[)])?)>", type_):
        return f"transform({value}, e -> {_text_of('e', list_of[1])})"
    return f"cast({value} as {_as_text_type(type_)})"


def _float_as_text(value: str, first_inexact: int) -> str:
    """As DuckDB writes it: 1e-05 for Java's 1.0E-5, 12345678.5 for 1.23456785E7."""
    text = f"cast({value} as string)"
    exponent = text
    for pattern, written in (("[.]0E", "E"), ("E-", "e-"), ("E", "e+"), ("e([-+])([0-9])$", "e$10$2")):
        exponent = f"regexp_replace({exponent}, '{pattern}', '{written}')"
    return (
        f"case when isnan({value}) then 'NaN' when abs({value}) = double('inf') then if({value} > 0, 'inf', '-inf')"
        f" when {value} = rint({value}) and abs({value}) < {first_inexact} then cast(cast({value} as bigint) as string)"
        f" when abs({value}) < 1e-4 or {value} = rint({value}) then {exponent} when abs({value}) < 1e-3 or"
        f" abs({value}) >= 1e7 then regexp_replace(cast(cast({text} as decimal(38, 20)) as string), '[.]?0+$', '')"
        f" else {text} end"
    )


def _as_text_type(type_: str) -> str:
    return re.sub(_LEAF, r"\1string", type_) if is_nested(type_) else "string"


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
