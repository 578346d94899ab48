"""What CSV files are: compressed or not, text or not, and the names in their header."""

import csv
import gzip
import io
import zlib
from pathlib import Path

import pyarrow as pa

from warehouse.reading.errors import ReadingError

HEAD = 1_000_000  # bytes in which a header ends
BYTE_ORDER_MARKS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"PK\x03\x04": "zip"}
NAMES = {"gzip": ".gz", "zstd": ".zst"}
AS_UTF8 = "Save it as UTF-8 (iconv -f {} -t UTF-8), or move it away."


def fields_of_first_line(file: str, delim: str, quote: str, remedy: str) -> tuple[list[str], bool]:
    """The fields of the first line, without blanks at either end, and whether the line is UTF-8 text.

    Raises: ReadingError if the file isn't what its name says: another compression, cut short, UTF-16.
    """
    compression = {".gz": "gzip", ".zst": "zstd"}.get(Path(file).suffix.lower(), "")
    with Path(file).open("rb") as opened:
        start = opened.read(8)
    found = next((name for magic, name in MAGIC.items() if start.startswith(magic)), "")
    if found != compression:
        if compression:
            raise ReadingError(
                f"Raw file {file} is named {NAMES[compression]} but is not compressed with {compression}"
                f"{f' (it looks like {found})' if found else ''}. Give it the name of what it is, or write it again. "
                f"{remedy}"
            )
        renamed = f"Rename it to {file}{NAMES[found]}." if found in NAMES else "Decompress it."
        raise ReadingError(
            f"Raw file {file} is compressed with {found}, which its name doesn't say. {renamed} {remedy}"
        )
    if compression:
        check_is_whole(file, compression, remedy)
    with open_raw(file) as opened:
        return fields_of_head(file, opened.read(HEAD), delim, quote, remedy)


def fields_of_head(file: str, head: bytes, delim: str, quote: str, remedy: str) -> tuple[list[str], bool]:
    """fields_of_first_line of the first bytes of a file, decompressed."""
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if head.startswith(mark):
            raise ReadingError(f"Raw file {file} is {encoding}, not UTF-8. {AS_UTF8.format(encoding)} {remedy}")
    if b"\0" in head[:200] and _is_utf16(head[:200]):
        raise ReadingError(
            f"Raw file {file} looks like UTF-16 without a byte-order mark, not UTF-8. "
            f"{AS_UTF8.format('UTF-16LE')} {remedy}"
        )
    text = head.decode("utf-8-sig", errors="replace").replace("\0", "\ufffd")
    fields = _first_record(text, delim, quote)
    return [field.strip() for field in fields], "\ufffd" not in "".join(fields)


def _is_utf16(head: bytes) -> bool:
    """Every other byte of what is mostly ASCII is zero in UTF-16."""
    return any(
        head[side::2].count(0) > 0.7 * len(head[side::2]) and not head[1 - side :: 2].count(0) for side in (0, 1)
    )


def _first_record(text: str, delim: str, quote: str) -> list[str]:
    if len(delim) != 1:  # the csv module knows one character alone
        line = text.splitlines()[0] if text else ""
        return [field.strip().strip(quote) if quote else field for field in line.split(delim)]
    csv.field_size_limit(HEAD)
    file = io.StringIO(text, newline="")
    if quote:
        return next(csv.reader(file, delimiter=delim, quotechar=quote), [])
    return next(csv.reader(file, delimiter=delim, quoting=csv.QUOTE_NONE), [])


def open_raw(file: str) -> io.BufferedIOBase:
    """A raw file's bytes, decompressed."""
    suffix = Path(file).suffix.lower()
    if suffix == ".gz":
        return gzip.open(file, "rb")
    if suffix == ".zst":
        return pa.input_stream(file, compression="zstd")
    return Path(file).open("rb")


def check_is_whole(file: str, compression: str, remedy: str) -> None:
    """Refuse a compressed file that is cut short or damaged; DuckDB reads what is left of a .zst without a word."""
    try:
        whole = _gzip_is_whole(file) if compression == "gzip" else _zstd_is_whole(Path(file))
    except (OSError, EOFError, zlib.error):
        whole = False
    if not whole:
        raise ReadingError(
            f"Raw file {file} is cut short or damaged: its {compression} stream doesn't end as it should. Copy it "
            f"again, or move it away. {remedy}"
        )


def _gzip_is_whole(file: str) -> bool:
    with gzip.open(file, "rb") as opened:
        while opened.read(1 << 22):  # checks length and CRC on the way
            pass
    return True


def _zstd_is_whole(path: Path) -> bool:
    """Walk the frames from block to block (RFC 8878, section 3.1); nothing is decompressed."""
    size = path.stat().st_size
    with path.open("rb") as opened:

        def number(n_bytes: int) -> int:
            read = opened.read(n_bytes)
            if len(read) < n_bytes:
                raise EOFError
            return int.from_bytes(read, "little")

        while opened.tell() < size:
            magic = number(4)
            if 0x184D2A50 <= magic <= 0x184D2A5F:  # a skippable frame
                opened.seek(number(4), 1)
                continue
            if magic != 0xFD2FB528:
                return False
            descriptor = number(1)
            is_single = descriptor >> 5 & 1
            n_bytes_of_size = (1 if is_single else 0, 2, 4, 8)[descriptor >> 6]
            opened.seek((0 if is_single else 1) + (0, 1, 2, 4)[descriptor & 3] + n_bytes_of_size, 1)
            is_last = False
            while not is_last:
                block = number(3)
                is_last, kind = bool(block & 1), block >> 1 & 3
                if kind == 3:
                    return False
                opened.seek(1 if kind == 1 else block >> 3, 1)
            opened.seek(4 if descriptor >> 2 & 1 else 0, 1)
        return opened.tell() == size


def count_lines(file: str) -> str:
    """How many lines of a text file hold anything, its first one included."""
    with open_raw(file) as opened:
        return str(sum(1 for line in io.BufferedReader(opened) if line.strip()))
