"""List the files of a folder so that none is left out silently: each is wanted, or left out for a stated reason.

Everything that reads a folder of data (the warehouse's raw files, `trainer score`) uses this module and its rules:

- Links are followed; a link back to a folder above it, or to a file that is listed already, is left out.
- A pattern is a glob relative to the folder, in any case: `*.csv` is the folder's own CSV files, `**/*.csv` those of
  its subfolders too, `dt=*/*.csv` those one level down.
- `a.csv.gz` and `a.csv.zst` match where `a.csv` does. Other compressions are left out.
- Names that begin with `.` or `_` are hidden, unless the pattern names them; a folder `_day=1` is not hidden.

A folder behind a URI (storage/places.py) is listed in its store, by the same rules, and nothing of it is fetched.
"""

import functools
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from storage.places import is_remote

READABLE = (".gz", ".zst")
COMPRESSED = (
    *READABLE,
    ".bz2",
    ".xz",
    ".zip",
    ".7z",
    ".rar",
    ".lz4",
    ".lzo",
    ".sz",
    ".snappy",
    ".br",
    ".z",
    ".tgz",
    ".tar",
)

MOST_NAMES = 20  # of files left out for one reason, in a message

HIDDEN = "hidden (the name begins with . or _)"
BROKEN_LINK = "a link to nothing"
CYCLE = "a link back to a folder above it"
SPECIAL = "not a plain file"
BAD_NAME = "its name is not UTF-8 text"
UNREADABLE = "compressed in a way that can't be read (compress it as .gz or .zst, or not at all)"
WHOLE_PARQUET = "Parquet compressed as a whole (decompress it: Parquet compresses by itself)"
NO_MATCH = "does not match {}"
TWICE = "the same file as {}, by a link"
NOT_OPENED = "can't be opened: {}"


@dataclass(frozen=True, order=True)
class Found:
    """A file to read. `path` is relative to the folder listed, with forward slashes."""

    path: str
    size: int
    modified_ns: int

    @property
    def kind(self) -> str:
        """The suffix in lower case without that of a compression: `.csv` for `b.CSV.gz`."""
        return Path(uncompressed(self.path)).suffix.lower()

    @property
    def compression(self) -> str:
        """`.gz` or `.zst`; empty for a file that isn't compressed as a whole."""
        suffix = Path(self.path).suffix.lower()
        return suffix if suffix in READABLE else ""


@dataclass(frozen=True, order=True)
class LeftOut:
    """A file, or a folder that can't be opened, that is not to be read."""

    path: str
    reason: str
    size: int = 0
    modified_ns: int = 0


@dataclass(frozen=True)
class Listing:
    """What lies below a folder, each part sorted by path."""

    wanted: tuple[Found, ...]
    left_out: tuple[LeftOut, ...]


def list_files(folder: str | Path, patterns: str | Sequence[str] = "**/*", links_may_repeat: bool = False) -> Listing:
    """List the files below `folder` that match one of `patterns`, and all others with the reason why they don't count.

    A folder that doesn't exist has no files. `links_may_repeat`: a file that is reached twice, by a link, is wanted
    under both paths (where the path itself has a meaning, as `day=2024-01-05/` has).
    """
    patterns = (patterns,) if isinstance(patterns, str) else tuple(patterns)
    wanted: list[Found] = []
    left_out: list[LeftOut] = []
    linked: set[str] = set()
    for entry in _remote(Path(folder)) if is_remote(Path(folder)) else _walk(Path(folder), left_out):
        reason = reason_not_to_read(entry.path, patterns)
        if reason:
            left_out.append(LeftOut(entry.path, reason, entry.size, entry.modified_ns))
        else:
            wanted.append(Found(entry.path, entry.size, entry.modified_ns))
            if entry.is_linked:
                linked.add(entry.path)
    wanted.sort()
    if linked and not links_may_repeat:
        wanted = _once(Path(folder), wanted, linked, left_out)
    return Listing(tuple(wanted), tuple(sorted(left_out)))


def summary(left_out: Sequence[LeftOut]) -> list[str]:
    """One line per reason, the most frequent first: the files by name, from the 21st on their number."""
    by_reason: dict[str, list[str]] = {}
    for each in left_out:
        reason = re.sub(r"^the same file as .*, by a link$", "a link to a file that is read anyway", each.reason)
        by_reason.setdefault(reason, []).append(each.path)
    lines = []
    for reason, paths in sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[0])):
        more = f" and {len(paths) - MOST_NAMES:,} more" if len(paths) > MOST_NAMES else ""
        lines.append(f"{', '.join(sorted(paths)[:MOST_NAMES])}{more}: {reason}")
    return lines


def uncompressed(name: str) -> str:
    """A file's name without the suffix of a compression, if it has one."""
    suffix = Path(name).suffix.lower()
    return name[: -len(suffix)] if suffix in COMPRESSED else name


def matches(path: str, pattern: str) -> bool:
    """Whether a path matches a glob, in any case; `**` stands for any number of folders."""
    return _regex(pattern).fullmatch(path) is not None


@functools.lru_cache
def _regex(pattern: str) -> re.Pattern[str]:
    text = ""
    *folders, name = pattern.split("/")
    for folder in folders:
        text += "(?:[^/]+/)*" if folder == "**" else _regex_of_part(folder) + "/"
    text += ".*" if name == "**" else _regex_of_part(name)
    return re.compile(text, re.IGNORECASE | re.DOTALL)


def _regex_of_part(part: str) -> str:
    """A glob without slashes as a regular expression: * ? [a-z] [!a-z]."""
    text, rest = "", part
    while rest:
        chosen = re.match(r"\[(!?)(\]?[^\]]*)\]", rest)
        if chosen:
            members = chosen[2].replace("\\", r"\\").replace("[", r"\[").replace("]", r"\]").replace("^", r"\^")
            text += f"[{'^/' if chosen[1] else ''}{members}]"
            rest = rest[chosen.end() :]
        else:
            text += {"*": "[^/]*", "?": "[^/]"}.get(rest[0]) or re.escape(rest[0])
            rest = rest[1:]
    return text


@dataclass(frozen=True)
class _Entry:
    path: str
    size: int
    modified_ns: int
    is_linked: bool


def _remote(folder: Path) -> Iterator[_Entry]:
    from storage.remote import entries  # needs pyarrow, which the lister of local files doesn't

    for entry in entries(folder) or ():
        yield _Entry(entry.path, entry.size, entry.modified_ns, is_linked=False)


def _walk(folder: Path, left_out: list[LeftOut]) -> Iterator[_Entry]:
    """Every plain file below `folder`; what is none goes to `left_out`."""
    # above: the folders on the way down, by device and inode
    pending: list[tuple[str, frozenset[tuple[int, int]], bool]] = [("", frozenset(), False)]
    while pending:
        below, above, is_linked = pending.pop()
        place = folder / below
        try:
            own = place.stat()
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except FileNotFoundError:
            if below:
                left_out.append(LeftOut(below, BROKEN_LINK))
            continue
        except OSError as error:
            left_out.append(LeftOut(below or ".", NOT_OPENED.format(error.strerror)))
            continue
        here = above | {(own.st_dev, own.st_ino)}
        for entry in entries:
            path = f"{below}/{entry.name}" if below else entry.name
            try:
                path.encode()
            except UnicodeEncodeError:
                left_out.append(LeftOut(os.fsencode(path).decode(errors="replace"), BAD_NAME))
                continue
            by_link = is_linked or entry.is_symlink()
            try:
                state = entry.stat()
            except FileNotFoundError:
                left_out.append(LeftOut(path, BROKEN_LINK))
                continue
            except OSError as error:  # too many links among them
                left_out.append(LeftOut(path, NOT_OPENED.format(error.strerror)))
                continue
            if stat.S_ISDIR(state.st_mode):
                if (state.st_dev, state.st_ino) in here:
                    left_out.append(LeftOut(path, CYCLE))
                else:
                    pending.append((path, here, by_link))
            elif stat.S_ISREG(state.st_mode):
                yield _Entry(path, state.st_size, state.st_mtime_ns, by_link)
            else:
                left_out.append(LeftOut(path, SPECIAL))


def reason_not_to_read(path: str, patterns: Sequence[str]) -> str:
    """Why a plain file is not wanted; empty if it is."""
    plain = uncompressed(path)
    fitting = [pattern for pattern in patterns if matches(path, pattern) or matches(plain, pattern)]
    if is_hidden(path) and not any(_asks_for_hidden(path, pattern) for pattern in fitting):
        return HIDDEN
    if not fitting:
        return NO_MATCH.format(" or ".join(patterns))
    if plain != path:
        if Path(path).suffix.lower() not in READABLE:
            return UNREADABLE
        if plain.lower().endswith(".parquet"):
            return WHOLE_PARQUET
    return ""


def is_hidden(path: str) -> bool:
    *folders, name = path.split("/")
    # as Spark has it: _day=1 is a partition
    return name[0] in "._" or any(part[0] == "." or (part[0] == "_" and "=" not in part) for part in folders)


def _asks_for_hidden(path: str, pattern: str) -> bool:
    """Whether the pattern spells out the dot or underscore that each hidden part of the path begins with."""
    asked = {part[0] for part in pattern.split("/") if part[:1] in (".", "_")}
    return {part[0] for part in path.split("/") if is_hidden(part)} <= asked


def _once(folder: Path, wanted: list[Found], linked: set[str], left_out: list[LeftOut]) -> list[Found]:
    """`wanted` without the links to files that are wanted under another path."""
    root = os.path.realpath(folder)
    first = {f"{root}/{found.path}": found.path for found in wanted if found.path not in linked}
    kept = []
    for found in wanted:
        if found.path in linked:
            real = os.path.realpath(folder / found.path)
            if real in first:
                left_out.append(LeftOut(found.path, TWICE.format(first[real]), found.size, found.modified_ns))
                continue
            first[real] = found.path
        kept.append(found)
    return kept
