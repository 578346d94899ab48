"""Which columns the files of a scan have, and whether the scan can read them."""

import json
import os
from collections.abc import Iterable

from storage.listing import Found, Listing, list_files, summary
from warehouse.reading import csv_files, parquet_files
from warehouse.reading.errors import ReadingError
from warehouse.reading.request import Request, place_of
from warehouse.reading.text import Shape, merged_shapes

PATTERN_CHARACTERS = set("*?[]\\")
Known = dict[str, tuple[int, int, str]]  # of a file that was read before: size, time of change, columns as JSON


def find_files(request: Request, known: Known) -> tuple[Listing, dict[str, parquet_files.Columns]]:
    """The files, and names and types of their columns.

    Raises: ReadingError naming the file that can't be read.
    """
    folder = place_of(request.folder)
    if "://" in folder:
        raise ReadingError(f"var raw_dir is {folder}: on DuckDB raw files are read from a folder of this machine.")
    listing = list_files(folder, request.pattern, links_may_repeat=bool(request.partitions))
    check_files(request, folder, listing)
    columns = _columns_of_files(request, folder, listing.wanted, known)
    for path, names in columns.items():
        check_columns(request, f"{folder}/{path}", [name for name, _ in names])
    shapes_of(request, columns)
    return listing, columns


def shapes_of(request: Request, columns: dict[str, parquet_files.Columns]) -> dict[str, Shape]:
    return merged_shapes(_distinct_types(request, place_of(request.folder), columns), request.remedy)


def check_files(request: Request, folder: str, listing: Listing) -> None:
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
    return header_of(request, file, *csv_files.fields_of_first_line(file, request.delim, request.quote, request.remedy))


def header_of(request: Request, file: str, fields: list[str], is_text: bool) -> list[str]:
    """A CSV file's column names: as its first line has them, renamed, or as the adapter gives them."""
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


def check_columns(request: Request, file: str, names: list[str]) -> None:
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
