"""The files of a log: which ones, of what kind, and with which columns."""

import csv
import io
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from storage.listing import Listing, list_files, summary, uncompressed
from warehouse.init.errors import InitError
from warehouse.reading import csv_files, scan

REMEDY = "Correct --log."
GLOB = re.compile(r"[*?\[]")
DELIMITERS = {",": "a comma", "\t": "a tab", ";": "a semicolon", "|": "a bar"}
MOST_RECORDS = 1000  # of a CSV file's beginning, looked at for its delimiter and header
HEAD = 1 << 18  # bytes of it
VALUE = re.compile(r"[-+]?[0-9][0-9.,:/ T+Z-]*([eE][-+]?[0-9]+)?")  # a number or a time, which is no column's name


@dataclass(frozen=True)
class RawLog:
    """What an adapter must say of the files to have them read."""

    folder: Path
    pattern: str
    kind: str  # csv, parquet
    files: tuple[str, ...]  # paths below the folder
    columns: dict[str, str]  # name -> DuckDB's type, of what every file has
    only_in_some: tuple[str, ...] = ()
    delim: str = ","
    quote: str = '"'
    header: tuple[str, ...] | None = None  # names given to the columns of files without a header
    partitions: tuple[str, ...] = ()  # columns in the names of folders
    notes: tuple[str, ...] = ()

    def scan(self, columns: Sequence[str]) -> str:
        """SQL that reads these columns of all files, as text by each file's own types."""
        return str(_answer(self._request(columns))["sql"])

    def _request(self, columns: Sequence[str]) -> dict[str, object]:
        return {
            "kind": self.kind,
            "folder": str(self.folder),
            "pattern": self.pattern,
            "columns": list(columns),
            "remedy": REMEDY,
            "partitions": list(self.partitions),
            "delim": self.delim,
            "quote": self.quote,
            "header": list(self.header) if self.header else None,
        }


def find_log(given: Sequence[str], delimiter: str | None, names: Sequence[str] | None) -> RawLog:
    """Look for the files that `--log` means. names: of the columns, where the files have no header.

    Raises: InitError, ReadingError.
    """
    folder, pattern = _place(given)
    listing = list_files(folder, pattern)
    if not listing.wanted:
        there = "".join(f"\n  {line}" for line in summary(listing.left_out)[:5])
        raise InitError(f"No file matches {folder}/{pattern}. Correct --log.{' Left out:' if there else ''}{there}")
    kind = _kind(folder, listing)
    if kind == "parquet" and (delimiter or names):
        raise InitError("--delimiter and --columns are for CSV files, but these are Parquet: leave them out.")
    files = tuple(found.path for found in listing.wanted)
    partitions = _partitions(files)
    log = RawLog(folder, pattern, kind, files, {}, partitions=partitions)
    _answer(log._request([]) | {"partitions": [], "header": None})  # empty, damaged and wrongly named files
    if kind == "csv":
        log = _as_csv(log, delimiter, names)
    found = [dict(json.loads(text)) for text in _strings(_answer(log._request([]) | {"partitions": []})["columns"])]
    common = {name: type_ for name, type_ in found[0].items() if all(name in other for other in found)}
    some = tuple(dict.fromkeys(name for one in found for name in one if name not in common))
    in_paths = {name: "VARCHAR" for name in partitions if name not in common and name not in some}
    clash = [name for name in ("source_file", "source_row") if name in common]
    notes = tuple(f"{name}: the scan of raw files adds a column of this name" for name in clash)
    columns = {name: type_ for name, type_ in (common | in_paths).items() if name not in clash and name}
    if not columns:
        raise InitError(
            f"The {len(files)} files of {folder}/{pattern} have no column in common. The first has "
            f"{', '.join(found[0]) or 'none'}. Choose files of one log with --log."
        )
    left_out = [line for line in summary(listing.left_out) if not re.search(r": does not match", line)]
    notes += tuple(f"not read: {line}" for line in left_out)
    return replace(log, columns=columns, only_in_some=some, partitions=tuple(in_paths), notes=notes)


def _place(given: Sequence[str]) -> tuple[Path, str]:
    """The folder, and the pattern below it."""
    if len(given) > 1:
        return _place_of_several(given)
    text = os.path.expanduser(given[0])  # noqa: PTH111 (a Path would drop what a pattern means)
    path = Path(text)
    if path.is_dir():
        kinds = sorted({found.kind for found in list_files(path).wanted if found.kind in (".csv", ".tsv", ".parquet")})
        if len(kinds) != 1:
            there = f"holds {' and '.join(kinds)} files" if kinds else "holds no CSV or Parquet file"
            raise InitError(f"--log {given[0]} is a folder that {there}. Give a pattern such as '{given[0]}/*.csv'.")
        deep = any("/" in found.path for found in list_files(path).wanted if found.kind == kinds[0])
        return path.resolve(), f"{'**/' if deep else ''}*{kinds[0]}"
    parts = Path(text).parts
    first = next((n for n, part in enumerate(parts) if GLOB.search(part)), len(parts) - 1)
    if path.is_file():
        first = len(parts) - 1
        if GLOB.search(parts[-1]):
            raise InitError(f"{given[0]} has * ? or [ in its name, which stand for other names. Rename the file.")
    folder = Path(*parts[:first]) if first else Path()
    if not folder.is_dir():
        raise InitError(f"--log {given[0]}: there is no folder {folder}.")
    pattern = "/".join(parts[first:])
    return folder.resolve(), uncompressed(pattern) if path.is_file() else pattern


def _place_of_several(given: Sequence[str]) -> tuple[Path, str]:
    """Files that a shell found for an unquoted pattern: the folder's files of that suffix, if those are all."""
    paths = [Path(one).expanduser().resolve() for one in given]
    folders, suffixes = {path.parent for path in paths}, {Path(uncompressed(path.name)).suffix for path in paths}
    if len(folders) == 1 and len(suffixes) == 1:
        folder, pattern = folders.pop(), f"*{suffixes.pop()}"
        if {folder / found.path for found in list_files(folder, pattern).wanted} == set(paths):
            return folder, pattern
    raise InitError(
        f"--log got {len(given)} files. Give one pattern for all of them, in quotes so that the shell leaves it alone: "
        "--log 'logs/*.parquet'."
    )


def _kind(folder: Path, listing: Listing) -> str:
    suffixes = {found.kind for found in listing.wanted}
    parquet = {".parquet", ".pq"} & suffixes
    if parquet and suffixes - parquet:
        raise InitError(
            f"{folder} has files of several kinds that match: {', '.join(sorted(suffixes))}. "
            "Name one kind with --log, such as 'logs/*.parquet'."
        )
    for found in listing.wanted:
        if not parquet and found.kind in (".json", ".jsonl", ".ndjson", ".avro", ".orc", ".xlsx", ".xls", ".feather"):
            raise InitError(f"{folder}/{found.path} is {found.kind}: write the log as CSV or Parquet.")
    return "parquet" if parquet else "csv"


def _partitions(files: Sequence[str]) -> tuple[str, ...]:
    """The columns that the names of all files' folders have: day=2024-01-05/a.parquet."""
    named = [re.findall(r"([^/=]+)=[^/]*/", file) for file in files]
    return tuple(name for name in named[0] if all(name in others for others in named))


def _answer(request: dict[str, object]) -> dict[str, object]:
    answer = json.loads(scan.raw_scan(json.dumps(request), "{}"))
    if "error" in answer:
        raise InitError(answer["error"])
    return dict(answer)


def _strings(value: object) -> list[str]:
    assert isinstance(value, list)
    return [str(one) for one in value]


# ---- CSV: the delimiter, and whether there is a header


def _as_csv(log: RawLog, delimiter: str | None, names: Sequence[str] | None) -> RawLog:
    heads = {file: _head(log.folder / file) for file in log.files}
    first = log.files[0]
    delim, quote = _delimiter(log.folder / first, heads[first], delimiter)
    records = {file: _records(text, delim, quote) for file, text in heads.items()}
    with_header = [file for file, found in records.items() if has_header(found)]
    width = len(records[first][0])
    if names:
        if len(names) != width:
            raise InitError(
                f"--columns names {len(names)} columns, but {log.folder / first} has {width} fields in its first "
                f"line: {_shown(records[first][0])}."
            )
        return replace(log, delim=delim, quote=quote, header=tuple(names))
    if not with_header:
        return replace(log, delim=delim, quote=quote, header=tuple(f"column_{n}" for n in range(1, width + 1)))
    if len(with_header) < len(records):
        without = next(file for file in records if file not in with_header)
        raise InitError(
            f"{log.folder / with_header[0]} begins with the names of its columns, {log.folder / without} doesn't: its "
            f"first line is {_shown(records[without][0])}. Write all files in one way, or name fewer with --log."
        )
    return replace(log, delim=delim, quote=quote)


def _head(path: Path) -> str:
    with csv_files.open_raw(str(path)) as opened:
        return opened.read(HEAD).decode("utf-8-sig", errors="replace")


def _records(text: str, delim: str, quote: str) -> list[list[str]]:
    """The records of a file's beginning; the last one, which may be cut, is left out if there are others."""
    quoting: dict[str, Any] = {"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE}
    csv.field_size_limit(HEAD * 2)
    found = []
    for record in csv.reader(io.StringIO(text, newline=""), delimiter=delim, **quoting):
        if record:
            found.append([value.strip() for value in record])
        if len(found) > MOST_RECORDS:
            break
    if len(text) >= HEAD // 4 and len(found) > 1:
        found.pop()
    return found or [[]]


def _delimiter(path: Path, text: str, given: str | None) -> tuple[str, str]:
    """The delimiter by which all records have the same number of fields, and the quote."""
    if given:
        return {"\\t": "\t", "tab": "\t"}.get(given, given), '"'
    best: tuple[int, str, str] | None = None
    for quote in ('"', ""):
        for delim in DELIMITERS:
            widths = [len(record) for record in _records(text, delim, quote)]
            if widths[0] > 1 and widths.count(widths[0]) >= 0.98 * len(widths) and (not best or widths[0] > best[0]):
                best = (widths[0], delim, quote)
        if best:
            return best[1], best[2]
    raise InitError(
        f"No delimiter gives the lines of {path} the same number of fields (tried "
        f"{', '.join(DELIMITERS.values())}). Give it with --delimiter, or correct --log."
    )


def has_header(records: list[list[str]]) -> bool:
    """Whether the first record is names: no number or time, unlike the values below it or at least not one of them."""
    names, *rows = records
    if any(VALUE.fullmatch(name) for name in names) or len(set(names)) < len(names) or not any(names):
        return False
    if not rows:
        return True
    columns = [[row[n] for row in rows if n < len(row) and row[n]] for n in range(len(names))]
    if any(sum(bool(VALUE.fullmatch(value)) for value in column) > len(column) / 2 for column in columns if column):
        return True
    return not any(name in column for name, column in zip(names, columns, strict=True))


def _shown(record: Sequence[str]) -> str:
    return ", ".join(record[:8]) + (", ..." if len(record) > 8 else "")
