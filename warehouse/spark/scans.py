"""Raw files on Spark: found and checked as on DuckDB (warehouse/reading), read through tables over files of one schema.

Types are Spark's own. Files of this machine are listed here, all others by the file systems that Spark is set up for.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from pathlib import Path

from storage import listing
from storage.listing import Found, LeftOut, Listing
from warehouse.reading import csv_files, scan
from warehouse.reading.columns import Known, check_columns, check_files, header_of
from warehouse.reading.errors import ReadingError
from warehouse.reading.parquet_files import Columns
from warehouse.reading.request import Request, place_of
from warehouse.spark.files import entries, read_head, session, uri_of
from warehouse.spark.selects import csv_table, is_nested, parquet_table

PACKED = "compressed in a way that Spark can't read (compress it as .gz, in small letters, or not at all)"
_NUMBERS = ("tinyint", "smallint", "int", "bigint", "float", "double", "boolean", "decimal")


def find_raw_files(requests: dict[str, dict], known: list[list]) -> str:
    """The rows of the model raw_files, as JSON. Raises: ReadingError naming the file that can't be read."""
    return json.dumps(scan.rows_of_raw_files(requests, known, _find, _list), ensure_ascii=False)


def reading_rules(_: str) -> str:
    """Changes when the rules of warehouse/reading or of this folder do: what was read by others is read again."""
    own = b"".join((Path(__file__).parent / name).read_bytes() for name in ("scans.py", "selects.py"))
    return hashlib.md5(scan.reading_rules("").encode() + own).hexdigest()


def _list(folder: str, pattern: str, links_may_repeat: bool = False) -> Listing:
    """The files of a folder, without those that Spark can't read."""
    if ":/" in folder:
        found = [(each, listing.reason_not_to_read(each.path, (pattern,))) for each in entries(folder)]
        wanted = [Found(each.path, each.size, each.modified_ns) for each, why in found if not why]
        left_out = [LeftOut(each.path, why, each.size, each.modified_ns) for each, why in found if why]
    else:
        here = listing.list_files(place_of(folder), pattern, links_may_repeat)
        wanted, left_out = list(here.wanted), list(here.left_out)
    readable = []
    for each in wanted:
        why = listing.HIDDEN if listing.is_hidden(each.path) else ""
        if each.compression and not each.path.endswith(".gz"):
            why = PACKED
        if why:
            left_out.append(LeftOut(each.path, why, each.size, each.modified_ns))
        else:
            readable.append(each)
    return Listing(tuple(readable), tuple(sorted(left_out)))


def _find(request: Request, known: Known) -> tuple[Listing, dict[str, Columns]]:
    """The files, and names and Spark's types of their columns. Only files that are new or changed are opened."""
    folder = place_of(request.folder)
    found = _list(request.folder, request.pattern, bool(request.partitions))
    check_files(request, folder, found)
    columns: dict[str, Columns] = {}
    for each in found.wanted:
        size, modified_ns, text = known.get(each.path, (None, None, ""))
        if (size, modified_ns) == (each.size, each.modified_ns):
            columns[each.path] = json.loads(text)
        elif request.kind == "csv":
            columns[each.path] = [(name, "string") for name in _header(request, f"{folder}/{each.path}")]
        else:
            columns[each.path] = _parquet_columns(request, f"{folder}/{each.path}")
        check_columns(request, f"{folder}/{each.path}", [name for name, _ in columns[each.path]])
    _types(request, columns)
    return found, columns


def _header(request: Request, file: str) -> list[str]:
    if ":/" not in file:
        first = csv_files.fields_of_first_line(file, request.delim, request.quote, request.remedy)
    else:
        head = read_head(file, csv_files.HEAD)
        if file.endswith(".gz"):
            head = zlib.decompressobj(31).decompress(head, csv_files.HEAD)
        first = csv_files.fields_of_head(file, head, request.delim, request.quote, request.remedy)
    return header_of(request, file, *first)


def _parquet_columns(request: Request, file: str) -> Columns:
    """Spark reads a null column as int, so a wanted int is looked into: void if it has no value."""
    try:
        rows = session().read.parquet(escaped(uri_of(file)))
    except Exception as error:  # several kinds of Spark's
        why = " ".join(str(error).split())[:200]
        raise ReadingError(f"Raw file {file} can't be read as Parquet: {why} {request.remedy}") from None
    types = [(field.name, field.dataType.simpleString()) for field in rows.schema.fields]
    integers = [name for name, type_ in types if type_ == "int" and name in request.columns]
    empty = set()
    if integers:
        counts = rows.selectExpr(*(f"count(`{name}`) as `{name}`" for name in integers)).collect()[0].asDict()
        empty = {name for name, n in counts.items() if n == 0}
    return [(name, "void" if name in empty else type_) for name, type_ in types]


def _types(request: Request, columns: dict[str, Columns]) -> dict[str, dict[str, tuple[str, str]]]:
    """{column: {kind: (type, file)}} of the wanted columns. Raises: ReadingError for kinds that don't go together."""
    seen: dict[str, dict[str, tuple[str, str]]] = {}
    for path, names in columns.items():
        file = f"{request.folder}/{path}"
        for name, type_ in names:
            if name not in request.columns or type_ == "void":
                continue
            kind, others = _kind(type_), seen.setdefault(name, {})
            for other, (other_type, where) in others.items():
                if other != kind and (
                    {other, kind} == {"a time", "a number"} or is_nested(type_) or is_nested(other_type)
                ):
                    raise ReadingError(
                        f"Column {name} is {kind} ({type_}) in raw file {file}, but {other} ({other_type}) in {where}. "
                        f"Write it in one type in all files. {request.remedy}"
                    )
            others.setdefault(kind, (type_, file))
    return seen


def _kind(type_: str) -> str:
    if type_ in ("date", "timestamp", "timestamp_ntz"):
        return "a time"
    if type_.split("(")[0] in _NUMBERS:
        return "a number"
    return {"array": "a list", "map": "a map", "struct": "a struct"}.get(type_.split("<")[0], "text")


def scan_sql(
    request: dict, scan_name: str, schema: str, files: list[list[str]], only: list[str] | None
) -> dict[str, list[str]]:
    """The scan of files that find_raw_files found ([file, columns] each), through tables that are made for it.

    only: of the files, those to read now; the others count for the types. Returns: `rows`, the selects of its rows; and
    `malformed`, those of lines that are no rows.
    """
    columns = {path: json.loads(names) for path, names in files}
    parsed = scan.of_one_kind(Request(**request), columns)
    types = _types(parsed, columns) if parsed.kind == "parquet" else {}
    groups: dict[str, list[str]] = {}
    for path in sorted(columns if only is None else only):
        groups.setdefault(json.dumps(columns[path]), []).append(path)
    selects: dict[str, list[str]] = {"rows": [], "malformed": []}
    for number, (names, paths) in enumerate(groups.items(), start=1):
        table = f"raw__{scan_name[:8]}_{number}{'' if only is None else '_new'}"
        root = re.sub("^[A-Za-z0-9]+:(//[^/]*)?/+", "/", uri_of(parsed.folder)).rstrip("/") + "/"
        place = _glob_of(uri_of(parsed.folder), paths)
        make = csv_table if parsed.kind == "csv" else parquet_table
        made = make(parsed, f"{schema}.{table}", json.loads(names), place, root, types)
        session().sql(f"drop table if exists {schema}.{table}")
        session().sql(made["table"])
        selects["rows"].append(made["rows"])
        selects["malformed"].append(made["malformed"])
    return selects


def escaped(path: str) -> str:
    """A path as a Hadoop glob that matches it alone."""
    return re.sub(r"([\\{}\[\]*?,])", r"\\\1", path)


def _glob_of(folder: str, paths: list[str]) -> str:
    """One Hadoop glob for several files of a folder."""
    names = [escaped(path) for path in paths]
    return f"{folder}/{names[0] if len(names) == 1 else '{' + ','.join(names) + '}'}"
