"""One scan: the files of a pattern, and the SQL that reads them; what the adapters' macros call, JSON in and out.

A file's own columns, plus `source_file` (its path below the raw folder) and `source_row` (from 1).
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from storage.listing import Found, LeftOut, Listing, list_files, summary
from warehouse.reading.columns import Known, find_files
from warehouse.reading.errors import ReadingError
from warehouse.reading.parquet_files import Columns
from warehouse.reading.request import Request, place_of
from warehouse.reading.selects import sql_of

Find = Callable[[Request, Known], tuple[Listing, dict[str, Columns]]]
Lister = Callable[[str, str], Listing]


def find_raw_files(requests: str, known: str) -> str:
    """rows_of_raw_files on DuckDB, JSON in and out; or the error in words."""
    try:
        return json.dumps(
            rows_of_raw_files(json.loads(requests), json.loads(known), find_files, _list), ensure_ascii=False
        )
    except ReadingError as error:
        return str(error)


def rows_of_raw_files(requests: dict[str, dict], known: list[list], find: Find, lister: Lister) -> list[dict]:
    """List the files of all scans, as rows of the model raw_files.

    requests: by name of the scan. known: [scan, file, size, modified_ns, columns] of the files that were read before,
    so that one which hasn't changed need not be opened again. find, lister: the engine's way to look into files, and
    to list those of a folder that match a pattern. Raises: ReadingError naming the file that can't be read.
    """
    before: dict[str, Known] = {}
    for scan, path, size, modified_ns, names in known:
        before.setdefault(scan, {})[path] = (size, modified_ns, names)
    read: list[dict[str, object]] = []
    left_out: dict[str, LeftOut] = {}
    for scan, text in requests.items():
        listing, columns = find(resolved(Request(**text), lister), before.get(scan, {}))
        for found in listing.wanted:
            row = {"scan": scan, "file": found.path, "size": found.size, "modified_ns": found.modified_ns}
            read.append(row | {"columns": json.dumps(columns[found.path], ensure_ascii=False)})
        for each in listing.left_out:
            # A scan that matches a file but can't read it has the better reason than one that doesn't match it.
            if each.path not in left_out or left_out[each.path].reason.startswith("does not match"):
                left_out[each.path] = each
    paths = {row["file"] for row in read}
    unread = [
        {"file": each.path, "size": each.size, "modified_ns": each.modified_ns, "reason": each.reason}
        for each in left_out.values()
        if each.path not in paths
    ]
    return read + unread


def _list(folder: str, pattern: str) -> Listing:
    return list_files(place_of(folder), pattern)


def scan_sql(request: str, files: str) -> str:
    """The SQL that reads the files that find_raw_files found: [file, columns] each."""
    pairs = json.loads(files)
    parsed_names = {names: json.loads(names) for names in {names for _, names in pairs}}
    columns = {path: parsed_names[names] for path, names in pairs}
    return sql_of(
        of_one_kind(Request(**json.loads(request)), columns), [Found(path, 0, 0) for path in sorted(columns)], columns
    )


def of_one_kind(request: Request, paths: Iterable[str]) -> Request:
    """A request for parts as one for what its files are."""
    if request.kind != "parts":
        return request
    is_parquet = any(path.lower().endswith(".parquet") for path in paths)
    return replace(request, kind="parquet" if is_parquet else "csv")


def raw_scan(request: str, known: str) -> str:
    """One scan by itself: its SQL, the files found and those left out; or the error in words (JSON in and out).

    `known` maps the path of a file that was read before to its size, its time of change and its columns.
    """
    try:
        parsed = resolved(Request(**json.loads(request)), _list)
        listing, columns = find_files(parsed, json.loads(known))
        only = set(columns if parsed.only is None else parsed.only)
        answer: dict[str, object] = {"sql": sql_of(parsed, [f for f in listing.wanted if f.path in only], columns)}
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


def reading_rules(_: str) -> str:
    """Changes when this package does: rows read by other rules must be read again."""
    here = Path(__file__).parent
    return hashlib.md5(b"".join(path.read_bytes() for path in sorted(here.glob("*.py")))).hexdigest()


def resolved(request: Request, lister: Lister) -> Request:
    """A log in parts, of which nothing is said but that they are all CSV or all Parquet, as what it is."""
    if request.kind != "parts":
        return request
    patterns = {kind: f"{request.pattern}.{kind}" for kind in ("csv", "parquet")}
    n_found = {kind: len(lister(request.folder, pattern).wanted) for kind, pattern in patterns.items()}
    if all(n_found.values()):
        raise ReadingError(
            f"{request.folder} holds {n_found['csv']} CSV and {n_found['parquet']} "
            "Parquet files: which is the log? Move one kind away."
        )
    kind = "parquet" if n_found["parquet"] else "csv"
    return replace(request, kind=kind, pattern=patterns[kind])


def lines_about(left_out: str) -> str:
    """Files left out, [path, reason] each, as lines for the end of a build: one per reason (JSON in and out)."""
    return json.dumps(summary([LeftOut(path, reason) for path, reason in json.loads(left_out)]), ensure_ascii=False)
