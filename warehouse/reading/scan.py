"""One scan: the SQL that reads all raw files of a pattern, each value as text by its own file's type.

A file's own columns, plus `source_file` (its path below the raw folder) and `source_row` (from 1). Files of one schema
are one table function, since a log of thousands of files must be planned in a moment.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from storage.listing import Found, LeftOut, Listing, list_files, summary
from warehouse.places import in_project
from warehouse.reading import csv_files, parquet_files
from warehouse.reading.errors import ReadingError
from warehouse.reading.text import Shape, as_text, literal, merged_shapes, quoted

# As many CSV scans side by side, at most; rows are numbered on one thread per scan.
OURS = {"filename", "file_row_number", "file_index"}  # DuckDB's names for a file's path, its rows and its number
PATTERN_CHARACTERS = set("*?[]\\")
Known = dict[str, tuple[int, int, str]]  # of a file that was read before: size, time of change, columns as JSON


@dataclass(frozen=True)
class Request:
    """What an adapter's macro asks for; macros/raw_files.sql has the meaning of each."""

    kind: str  # csv, parquet; parts: all files are one of both, and `pattern` is without the suffix
    folder: str
    pattern: str
    columns: list[str]
    remedy: str
    partitions: list[str] = field(default_factory=list)
    delim: str = ","
    quote: str = '"'
    rename: dict[str, str] = field(default_factory=dict)
    header: list[str] | None = None
    only: list[str] | None = None  # of the files found, those to read; all others count as read before


def find_raw_files(requests: str, known: str) -> str:
    """List the files of all scans, as rows of the model raw_files: a JSON list, or the error in words.

    requests: by name of the scan. known: [scan, file, size, modified_ns, columns] of the files that were read before,
    so that one which hasn't changed need not be opened again.
    """
    before: dict[str, Known] = {}
    for scan, path, size, modified_ns, names in json.loads(known):
        before.setdefault(scan, {})[path] = (size, modified_ns, names)
    read: list[dict[str, object]] = []
    left_out: dict[str, LeftOut] = {}
    try:
        for scan, text in json.loads(requests).items():
            listing, columns = _found(_resolved(Request(**text)), before.get(scan, {}))
            for found in listing.wanted:
                row = {"scan": scan, "file": found.path, "size": found.size, "modified_ns": found.modified_ns}
                read.append(row | {"columns": json.dumps(columns[found.path], ensure_ascii=False)})
            for each in listing.left_out:
                # A scan that matches a file but can't read it has the better reason than one that doesn't match it.
                if each.path not in left_out or left_out[each.path].reason.startswith("does not match"):
                    left_out[each.path] = each
    except ReadingError as error:
        return str(error)
    paths = {row["file"] for row in read}
    unread = [
        {"file": each.path, "size": each.size, "modified_ns": each.modified_ns, "reason": each.reason}
        for each in left_out.values()
        if each.path not in paths
    ]
    return json.dumps(read + unread, ensure_ascii=False)


def scan_sql(request: str, files: str) -> str:
    """The SQL that reads the files that find_raw_files found: [file, columns] each."""
    pairs = json.loads(files)
    parsed_names = {names: json.loads(names) for names in {names for _, names in pairs}}
    columns = {path: parsed_names[names] for path, names in pairs}
    parsed = Request(**json.loads(request))
    if parsed.kind == "parts":
        is_parquet = any(path.lower().endswith(".parquet") for path in columns)
        parsed = replace(parsed, kind="parquet" if is_parquet else "csv")
    return _sql(parsed, [Found(path, 0, 0) for path in sorted(columns)], columns)


def raw_scan(request: str, known: str) -> str:
    """One scan by itself: its SQL, the files found and those left out; or the error in words (JSON in and out).

    `known` maps the path of a file that was read before to its size, its time of change and its columns.
    """
    try:
        parsed = _resolved(Request(**json.loads(request)))
        listing, columns = _found(parsed, json.loads(known))
        only = set(columns if parsed.only is None else parsed.only)
        answer: dict[str, object] = {"sql": _sql(parsed, [f for f in listing.wanted if f.path in only], columns)}
    except ReadingError as error:
        return json.dumps({"error": str(error)}, ensure_ascii=False)
    written = {path: json.dumps(names, ensure_ascii=False) for path, names in columns.items()}
    distinct = list(dict.fromkeys(written.values()))
    numbers = {text: number for number, text in enumerate(distinct)}
    answer |= {
        "columns": distinct,
        "files": [[f.path, f.size, f.modified_ns, numbers[written[f.path]]] for f in listing.wanted],
        "left_out": [[each.path, each.size, each.modified_ns, each.reason] for each in listing.left_out],
    }
    return json.dumps(answer, ensure_ascii=False)


def place_of(folder: str) -> str:
    """The raw folder as the paths in SQL begin."""
    return in_project(folder).rstrip("/") or "/"


def reading_rules(_: str) -> str:
    """Changes when this package does: rows read by other rules must be read again."""
    here = Path(__file__).parent
    return hashlib.md5(b"".join(path.read_bytes() for path in sorted(here.glob("*.py")))).hexdigest()


def _resolved(request: Request) -> Request:
    """A log in parts, of which nothing is said but that they are all CSV or all Parquet, as what it is."""
    if request.kind != "parts":
        return request
    patterns = {kind: f"{request.pattern}.{kind}" for kind in ("csv", "parquet")}
    n_found = {kind: len(list_files(place_of(request.folder), pattern).wanted) for kind, pattern in patterns.items()}
    if all(n_found.values()):
        raise ReadingError(
            f"{request.folder} holds {n_found['csv']} CSV and {n_found['parquet']} Parquet files: which is the log? "
            "Move one kind away."
        )
    kind = "parquet" if n_found["parquet"] else "csv"
    return replace(request, kind=kind, pattern=patterns[kind])


def _found(request: Request, known: Known) -> tuple[Listing, dict[str, parquet_files.Columns]]:
    """The files, and names and types of their columns.

    Raises: ReadingError naming the file that can't be read.
    """
    folder = place_of(request.folder)
    if "://" in folder:
        raise ReadingError(f"var raw_dir is {folder}: on DuckDB raw files are read from a folder of this machine.")
    listing = list_files(folder, request.pattern, links_may_repeat=bool(request.partitions))
    _check_files(request, folder, listing)
    columns = _columns_of_files(request, folder, listing.wanted, known)
    for path, names in columns.items():
        _check_columns(request, f"{folder}/{path}", [name for name, _ in names])
    _shapes(request, columns)
    return listing, columns


def _shapes(request: Request, columns: dict[str, parquet_files.Columns]) -> dict[str, Shape]:
    return merged_shapes(_distinct_types(request, place_of(request.folder), columns), request.remedy)


def _sql(request: Request, files: list[Found], columns: dict[str, parquet_files.Columns]) -> str:
    """The scan of `files`, whose values become text as those of all files do."""
    shapes = _shapes(request, columns)
    groups: dict[tuple, list[Found]] = {}
    for found in files:
        groups.setdefault((found.compression, json.dumps(columns[found.path])), []).append(found)
    selects = []
    for (compression, names), group in groups.items():
        build = _csv_selects if request.kind == "csv" else _parquet_selects
        selects += build(request, place_of(request.folder), json.loads(names), group, shapes, compression)
    return " union all ".join(selects) or _no_rows(request, shapes)


def _check_files(request: Request, folder: str, listing: Listing) -> None:
    if not listing.wanted:
        there = "".join(f" Left out: {line}." for line in summary(listing.left_out)[:5])
        raise ReadingError(f"No raw file matches {folder}/{request.pattern}. {request.remedy}{there}")
    for found in listing.wanted:
        file = f"{folder}/{found.path}"
        if found.size == 0:
            raise ReadingError(f"Raw file {file} is empty (0 bytes). {request.remedy}")
        if PATTERN_CHARACTERS & set(file):
            raise ReadingError(
                f"Raw file {file} has one of * ? [ ] \\ in its path, which stand for other names in a pattern. "
                "Rename it."
            )
        for name in request.partitions:
            if f"/{name}=" not in f"/{os.path.dirname(found.path)}":  # noqa: PTH120
                raise ReadingError(
                    f"Raw file {file} lies in no folder {name}=..., which partitions of the adapter requires. Move it "
                    f"into one, or leave {name} out of partitions."
                )


def _columns_of_files(
    request: Request, folder: str, files: Iterable[Found], known: Known
) -> dict[str, parquet_files.Columns]:
    """Names and types by file. Only files that are new or changed are opened."""
    columns: dict[str, parquet_files.Columns] = {}
    new = []
    parsed: dict[str, parquet_files.Columns] = {}
    for found in files:
        size, modified_ns, text = known.get(found.path, (None, None, ""))
        if (size, modified_ns) == (found.size, found.modified_ns):
            if text not in parsed:
                parsed[text] = [(name, type_) for name, type_ in json.loads(text)]
            columns[found.path] = parsed[text]
        else:
            new.append(found.path)
    if request.kind == "parquet":
        by_file = parquet_files.columns_of([f"{folder}/{path}" for path in new], request.remedy)
        columns |= {path: by_file[f"{folder}/{path}"] for path in new}
    else:
        columns |= {path: [(name, "VARCHAR") for name in _header(request, f"{folder}/{path}")] for path in new}
    return columns


def _header(request: Request, file: str) -> list[str]:
    """A CSV file's column names: as its first line has them, renamed, or as the adapter gives them."""
    fields, is_text = csv_files.fields_of_first_line(file, request.delim, request.quote, request.remedy)
    names = [request.rename.get(name, name) for name in fields]
    if request.header is None:
        missing = [name for name in request.columns if name not in names and name not in request.partitions]
        if missing and not is_text:
            raise ReadingError(f"{_lacks(file, missing, names)} Its bytes are not UTF-8 text. {request.remedy}")
        return names
    if len(fields) != len(request.header):
        raise ReadingError(
            f"Raw file {file} has {len(fields)} fields in its first line, but header names {len(request.header)} "
            f"columns: {', '.join(request.header)}. Correct header, or delim ({request.delim!r}). {request.remedy}"
        )
    if fields == request.header or names == request.header:
        raise ReadingError(
            f"Raw file {file} has the names of its columns in its first line. Leave header out of the adapter. "
            f"{request.remedy}"
        )
    return request.header


def _lacks(file: str, missing: list[str], names: list[str]) -> str:
    return (
        f"Raw file {file} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}. Its first line has "
        f"{len(names)}: {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}."
    )


def _check_columns(request: Request, file: str, names: list[str]) -> None:
    missing = [name for name in request.columns if name not in names and name not in request.partitions]
    if missing:
        raise ReadingError(f"{_lacks(file, missing, names)} {request.remedy}")
    for name in request.columns:
        if names.count(name) > 1:
            raise ReadingError(
                f"Raw file {file} has {names.count(name)} columns named {name}: which is meant? Rename all but one. "
                f"{request.remedy}"
            )
    for name in request.partitions:
        if name in names:
            raise ReadingError(
                f"Raw file {file} has a column {name} and lies in a folder {name}=...: which is meant? Leave {name} "
                f"out of partitions, or the column out of the file. {request.remedy}"
            )


def _distinct_types(request: Request, folder: str, columns: dict[str, parquet_files.Columns]) -> list[tuple]:
    """(file, column, type) of the wanted columns, of the first file that has the type alone."""
    wanted = set(request.columns)
    found: dict[tuple[str, str], tuple[str, str, str]] = {}
    seen: set[int] = set()  # files of one schema share their list
    for path, names in columns.items():
        if id(names) in seen:
            continue
        seen.add(id(names))
        for name, type_ in names:
            if name in wanted:
                found.setdefault((name, type_), (f"{folder}/{path}", name, type_))
    return list(found.values())


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


def lines_about(left_out: str) -> str:
    """Files left out, [path, reason] each, as lines for the end of a build: one per reason (JSON in and out)."""
    return json.dumps(summary([LeftOut(path, reason) for path, reason in json.loads(left_out)]), ensure_ascii=False)
