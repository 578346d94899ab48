"""Every file of a folder is wanted or left out for a reason; none is missing from both lists."""

import os
import random
from collections import Counter
from pathlib import Path

import pytest

from storage import listing
from storage.listing import LeftOut, list_files, matches, summary


def fill(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)


def wanted(folder: Path, *patterns: str) -> list[str]:
    return [found.path for found in list_files(folder, patterns).wanted]


def reasons(folder: Path, *patterns: str) -> dict[str, str]:
    return {each.path: each.reason for each in list_files(folder, patterns).left_out}


def test_suffixes_in_any_case_and_compressed_are_of_one_kind(tmp_path: Path) -> None:
    fill(tmp_path, "b.CSV", "a.csv", "c.csv.gz", "D.Csv.ZST", "e.csv.bz2", "f.csv.zip", "g.txt", "h.parquet", "i.gz")
    found = list_files(tmp_path, "*.csv").wanted
    assert [file.path for file in found] == ["D.Csv.ZST", "a.csv", "b.CSV", "c.csv.gz"]
    assert {file.kind for file in found} == {".csv"}
    assert [file.compression for file in found] == [".zst", "", "", ".gz"]
    assert reasons(tmp_path, "*.csv") == {
        "e.csv.bz2": listing.UNREADABLE,
        "f.csv.zip": listing.UNREADABLE,
        **dict.fromkeys(("g.txt", "h.parquet", "i.gz"), "does not match *.csv"),
    }


def test_parquet_compressed_as_a_whole_is_left_out(tmp_path: Path) -> None:
    fill(tmp_path, "a.parquet", "b.parquet.gz", "c.gz.parquet", "d.PARQUET")
    assert wanted(tmp_path, "*.parquet") == ["a.parquet", "c.gz.parquet", "d.PARQUET"]
    assert reasons(tmp_path, "*.parquet") == {"b.parquet.gz": listing.WHOLE_PARQUET}


@pytest.mark.parametrize(
    ("pattern", "fitting"),
    [
        ("*.csv", ["a.csv"]),
        ("**/*.csv", ["a.csv", "dt=1/a.csv", "dt=1/hour=2/a.csv", "dt=2/b.csv"]),
        ("dt=*/*.csv", ["dt=1/a.csv", "dt=2/b.csv"]),
        ("DT=*/*.CSV", ["dt=1/a.csv", "dt=2/b.csv"]),
        ("dt=1/**", ["dt=1/a.csv", "dt=1/hour=2/a.csv"]),
        ("**/a.csv", ["a.csv", "dt=1/a.csv", "dt=1/hour=2/a.csv"]),
        ("*/*/*", ["dt=1/hour=2/a.csv"]),
        ("dt=[!1]/?.csv", ["dt=2/b.csv"]),
        ("dt=[12]/?.csv", ["dt=1/a.csv", "dt=2/b.csv"]),
    ],
)
def test_patterns_are_globs(pattern: str, fitting: list[str], tmp_path: Path) -> None:
    fill(tmp_path, "a.csv", "dt=1/a.csv", "dt=1/hour=2/a.csv", "dt=2/b.csv")
    assert wanted(tmp_path, pattern) == fitting


@pytest.mark.parametrize("name", ["a+b.csv", "a.b.csv", "(1).csv", "ab.csv", "a^b.csv"])
def test_a_pattern_without_wildcards_matches_itself_alone(name: str) -> None:
    names = ["a+b.csv", "a.b.csv", "(1).csv", "ab.csv", "aab.csv", "a^b.csv", "1.csv"]
    assert [other for other in names if matches(other, name)] == [name]


def test_hidden_files_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    fill(tmp_path, "_SUCCESS", ".a.csv.crc", "_b.csv", ".x/c.csv", "_day=1/d.csv", "_temporary/e.csv", "f.csv")
    assert wanted(tmp_path, "**/*.csv") == ["_day=1/d.csv", "f.csv"]
    assert set(reasons(tmp_path, "**/*.csv").values()) == {listing.HIDDEN}
    assert wanted(tmp_path, "_*.csv") == ["_b.csv"]


def test_links_are_followed_once(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    fill(root, "a.csv", "day/b.csv")
    fill(elsewhere, "c.csv", "deep/d.csv")
    (root / "linked").symlink_to(elsewhere)
    (root / "z.csv").symlink_to(elsewhere / "c.csv")
    (root / "latest").symlink_to(root / "day")
    (root / "day/up").symlink_to(root)
    (root / "gone.csv").symlink_to(tmp_path / "nowhere")
    (root / "self").symlink_to(root / "self")
    os.mkfifo(root / "pipe.csv")
    assert wanted(root, "**/*.csv") == ["a.csv", "day/b.csv", "linked/c.csv", "linked/deep/d.csv"]
    assert reasons(root, "**/*.csv") == {
        "z.csv": "the same file as linked/c.csv, by a link",
        "latest/b.csv": "the same file as day/b.csv, by a link",
        "day/up": listing.CYCLE,
        "latest/up": listing.CYCLE,
        "gone.csv": listing.BROKEN_LINK,
        "self": "can't be opened: Too many levels of symbolic links",
        "pipe.csv": listing.SPECIAL,
    }
    both = [file.path for file in list_files(root, "**/*.csv", links_may_repeat=True).wanted]
    assert both == ["a.csv", "day/b.csv", "latest/b.csv", "linked/c.csv", "linked/deep/d.csv", "z.csv"]


def test_a_file_is_its_path_and_its_state(tmp_path: Path) -> None:
    fill(tmp_path, "x=1/part-0.csv", "x=2/part-0.csv")
    found = list_files(tmp_path, "**/*.csv").wanted
    assert [file.path for file in found] == ["x=1/part-0.csv", "x=2/part-0.csv"]
    state = (tmp_path / "x=2/part-0.csv").stat()
    assert (found[1].size, found[1].modified_ns) == (state.st_size, state.st_mtime_ns)


def test_a_folder_that_is_not_there_has_no_files(tmp_path: Path) -> None:
    assert list_files(tmp_path / "nowhere", "*.csv") == listing.Listing((), ())


def test_names_that_are_not_text_are_left_out(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.csv")).write_text("x")
    assert reasons(tmp_path, "*.csv") == {"caf\ufffd.csv": listing.BAD_NAME}


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_missing_from_both_lists(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    stems, folders = ["a", "_b", ".c", "D", "e f", "it's"], ["", "x/", "dt=1/", "_h/", "x/y/", "X/"]
    suffixes = [".csv", ".CSV", ".csv.gz", ".tsv.zst", ".parquet", ".parquet.gz", ".csv.bz2", "", ".gz"]
    paths = {draw.choice(folders) + draw.choice(stems) + draw.choice(suffixes) for _ in range(30)}
    fill(tmp_path, *paths)
    patterns = draw.sample(["*.csv", "**/*.csv", "x/*", "**/*.parquet", "dt=*/*.tsv", "**/*"], 2)
    found = list_files(tmp_path, patterns)
    on_disk = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
    assert Counter(file.path for file in found.wanted + found.left_out) == Counter(on_disk)


def test_the_summary_has_a_line_per_reason() -> None:
    left_out = [LeftOut(f"x/{n}.txt", "does not match *.csv") for n in range(3)]
    left_out += [
        LeftOut("l/a.csv", "the same file as a.csv, by a link"),
        LeftOut("l/b.csv", "the same file as b.csv, by a link"),
    ]
    left_out.append(LeftOut("_SUCCESS", listing.HIDDEN))
    assert summary(left_out) == [
        "x/0.txt, x/1.txt, x/2.txt: does not match *.csv",
        "l/a.csv, l/b.csv: a link to a file that is read anyway",
        "_SUCCESS: hidden (the name begins with . or _)",
    ]
    many = [LeftOut(f"{n:04}.txt", "does not match *.csv") for n in range(1300)]
    assert summary(many) == [", ".join(f"{n:04}.txt" for n in range(20)) + " and 1,280 more: does not match *.csv"]
