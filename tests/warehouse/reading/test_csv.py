"""CSV files as they come: compressed, headerless, with odd headers; each row numbered as it stands in its file."""

import csv
import gzip
import io
import random
from pathlib import Path

import pyarrow as pa
import pytest

from tests.warehouse.reading.scanning import error, rows


def zstd(content: bytes) -> bytes:
    stream = pa.BufferOutputStream()
    with pa.CompressedOutputStream(stream, "zstd") as compressed:
        compressed.write(content)
    return stream.getvalue().to_pybytes()


PACK = {"": bytes, ".gz": gzip.compress, ".GZ": gzip.compress, ".zst": zstd}


def write(folder: Path, name: str, content: bytes) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


@pytest.mark.parametrize("seed", range(12))
def test_rows_are_those_of_a_plain_reader(seed: int, tmp_path: Path) -> None:
    """Files of one log: columns in any order and more of them, any compression and case."""
    draw = random.Random(seed)
    delim, suffix = draw.choice([(",", "csv"), ("\t", "tsv"), (";", "csv"), ("|", "txt")])
    values = ["1", "1.0", "", "a b", 'say "hi"', f"x{delim}y", "中", "line\nend", "é", "NULL", "nan"]
    expected = []
    for number in range(draw.randrange(1, 9)):
        names = ["user_id", "item_id", *draw.sample(["", "x", "x", "filename", "Unnamed: 0"], draw.randrange(4))]
        draw.shuffle(names)
        table = [[draw.choice(values) for _ in names] for _ in range(draw.randrange(6))]
        written = io.StringIO()
        csv.writer(written, delimiter=delim, lineterminator=draw.choice(["\n", "\r\n"])).writerows([names, *table])
        packing = draw.choice(list(PACK))
        name = f"{draw.choice(['', 'day=1/', 'x/y/'])}f{number}.{draw.choice([suffix, suffix.upper()])}{packing}"
        mark = draw.choice([b"", b"\xef\xbb\xbf"])
        write(tmp_path, name, PACK[packing](mark + written.getvalue().encode()))
        places = [names.index("item_id"), names.index("user_id")]
        expected += [(*(row[place] or None for place in places), name, n) for n, row in enumerate(table, start=1)]
    found = rows(tmp_path, "csv", f"**/*.{suffix}", ["item_id", "user_id"], delim=delim)
    unquoted = [tuple(None if value == "" else value for value in row) for row in found]
    assert unquoted == sorted(expected, key=lambda row: row[2:])


@pytest.mark.parametrize("packing", list(PACK))
def test_rows_are_numbered_file_by_file(packing: str, tmp_path: Path) -> None:
    sizes = [1, 70_000, 3, 0, 40_000, 2]
    for number, n_rows in enumerate(sizes):
        lines = "".join(f"{number}:{row},{'x' * 20}\n" for row in range(1, n_rows + 1))
        write(tmp_path, f"f{number}.csv{packing}", PACK[packing](b"id,text\n" + lines.encode()))
    found = rows(tmp_path, "csv", "*.csv", ["id"])
    assert len(found) == sum(sizes)
    assert all(name == f"{file[1]}:{row}" for name, file, row in found)


def test_header_names_the_columns_of_files_without(tmp_path: Path) -> None:
    write(tmp_path, "a.tsv", b"u1\ti1\t0\nu2\ti2\t1\n")
    write(tmp_path, "b.tsv.gz", gzip.compress(b"u3\ti3\t1\n"))
    names = {"header": ["user", "item", "label"], "delim": "\t", "quote": ""}
    assert rows(tmp_path, "csv", "*.tsv", ["label", "user"], **names) == [
        ("0", "u1", "a.tsv", 1),
        ("1", "u2", "a.tsv", 2),
        ("1", "u3", "b.tsv.gz", 1),
    ]
    write(tmp_path, "c.tsv", b"u4\ti4\n")
    said = error(tmp_path, "csv", "*.tsv", ["label", "user"], **names)
    assert said.startswith(
        f"Raw file {tmp_path}/c.tsv has 2 fields in its first line, but header names 3 columns: user,"
    )
    write(tmp_path, "c.tsv", b"user\titem\tlabel\n")
    assert "c.tsv has the names of its columns in its first line. Leave header out" in error(
        tmp_path, "csv", "*.tsv", ["label", "user"], **names
    )


def test_headers_are_csv(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", b'"price, in cents","two\nlines",user_id, item_id ,\n1,2,u1,i1,\n')
    assert rows(tmp_path, "csv", "*.csv", ["item_id", "price, in cents", "two\nlines"]) == [
        ("i1", "1", "2", "a.csv", 1)
    ]
    assert rows(tmp_path, "csv", "*.csv", ["price"], rename={"price, in cents": "price"}) == [("1", "a.csv", 1)]


def test_a_wanted_column_that_is_there_twice_is_ambiguous(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", b"user_id,x,x\nu1,1,2\n")
    assert rows(tmp_path, "csv", "*.csv", ["user_id"]) == [("u1", "a.csv", 1)]
    assert error(tmp_path, "csv", "*.csv", ["x"]) == (
        f"Raw file {tmp_path}/a.csv has 2 columns named x: which is meant? Rename all but one. Mend it."
    )


PLAIN = b"a,b\n1,2\n" * 2000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "a,b\n1,2\n".encode("utf-16"), "is UTF-16, not UTF-8. Save it as UTF-8 (iconv -f UTF-16 -t UTF-8)"),
        ("a.csv", b"\xfe\xff" + "a,b\n".encode("utf-16-be"), "is UTF-16, not UTF-8."),
        ("a.csv", "a,b\n1,2\n".encode("utf-32"), "is UTF-32, not UTF-8."),
        ("a.csv", "a,b\n1,2\n".encode("utf-16-le"), "looks like UTF-16 without a byte-order mark"),
        ("a.csv.gz", gzip.compress("a,b\n1,2\n".encode("utf-16")), "is UTF-16, not UTF-8."),
        ("a.csv", gzip.compress(PLAIN), "is compressed with gzip, which its name doesn't say. Rename it to"),
        ("a.csv", zstd(PLAIN), "is compressed with zstd, which its name doesn't say. Rename it to"),
        ("a.csv.gz", PLAIN, "is named .gz but is not compressed with gzip."),
        ("a.csv.gz", zstd(PLAIN), "is named .gz but is not compressed with gzip (it looks like zstd)."),
        ("a.csv.zst", PLAIN, "is named .zst but is not compressed with zstd."),
        ("a.csv.gz", gzip.compress(PLAIN)[:-5], "is cut short or damaged: its gzip stream"),
        ("a.csv.gz", gzip.compress(PLAIN)[:30], "is cut short or damaged: its gzip stream"),
        ("a.csv.gz", gzip.compress(PLAIN)[:-8] + b"\0" * 8, "is cut short or damaged: its gzip stream"),
        ("a.csv.zst", zstd(random.Random(1).randbytes(300_000))[:200_000], "is cut short or damaged: its zstd stream"),
        ("a.csv.zst", zstd(PLAIN)[:-1], "is cut short or damaged: its zstd stream"),
        ("a.csv.zst", zstd(PLAIN) + b"junk", "is cut short or damaged: its zstd stream"),
        ("a.csv", b"\xcd\xb7,\xc9\xcc\n1,2\n", "lacks the columns a, b. Its first line has 2: "),
        ("a.csv", b"\xcd\xb7,\xc9\xcc\n1,2\n", "Its bytes are not UTF-8 text."),
        ("a.csv", b"PK\x03\x04xlsx", "is compressed with zip, which its name doesn't say. Decompress it."),
        ("a.csv", b"", "is empty (0 bytes). Mend it."),
        ("b.txt", b"a,b\n", "*.csv. Mend it. Left out: b.txt: does not match *.csv."),
        ("a.gz", gzip.compress(PLAIN), "Left out: a.gz: does not match *.csv."),
        ("a.csv.xz", b"x", "Left out: a.csv.xz: compressed in a way that can't be read"),
    ],
    ids=lambda value: value if isinstance(value, str) else "content",  # a gzip holds the time it was made at
)
def test_what_is_no_csv_is_named_with_its_remedy(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    write(tmp_path, name, content)
    said = error(tmp_path, "csv", "*.csv", ["a", "b"])
    assert message in said
    assert f"{tmp_path}/" in said
    assert "Mend it." in said


def test_compressed_streams_in_parts_are_whole(tmp_path: Path) -> None:
    write(tmp_path, "a.csv.gz", gzip.compress(b"a\n1\n") + gzip.compress(b"2\n"))
    write(tmp_path, "b.csv.zst", zstd(b"a\n3\n") + b"\x50\x2a\x4d\x18\x02\x00\x00\x00hi" + zstd(b"4\n"))
    assert [row[0] for row in rows(tmp_path, "csv", "*.csv", ["a"])] == ["1", "2", "3", "4"]
