"""One scan: the files of a pattern, and the SQL that reads them; what the adapters' macros call, JSON in and out.

A file's own columns, plus `source_file` (its path below the raw folder) and `source_row` (from 1).
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from storage.listing import Found, LeftOut, list_files, summary
from warehouse.reading.columns import Known, find_files
from warehouse.reading.errors import ReadingError
from warehouse.reading.request import Request, place_of
from warehouse.reading.selects import sql_of


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
            listing, columns = find_files(_resolved(Request(**text)), before.get(scan, {}))
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
    return sql_of(parsed, [Found(path, 0, 0) for path in sorted(columns)], columns)


def raw_scan(request: str, known: str) -> str:
    """One scan by itself: its SQL, the files found and those left out; or the error in words (JSON in and out).

    `known` maps the path of a file that was read before to its size, its time of change and its columns.
    """
    try:
        parsed = _resolved(Request(**json.loads(request)))
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


def lines_about(left_out: str) -> str:
    """Files left out, [path, reason] each, as lines for the end of a build: one per reason (JSON in and out)."""
    return json.dumps(summary([LeftOut(path, reason) for path, reason in json.loads(left_out)]), ensure_ascii=False)
