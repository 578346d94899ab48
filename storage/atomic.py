"""Atomic writes: a file or a folder is there, complete, or it isn't. The only module that renames.

A file or folder is written next to its target as `.<name>.partial-<process>`, flushed to disk, and renamed to its
target atomically. So a reader finds the old or the new one, after a power failure too. A killed process leaves its
partial file; the next writer of that name removes it once the process is gone.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from psutil import pid_exists

_OLD = "-old"  # ends the name of a folder that was moved away for its successor
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of Linux: fcntl.h, fs.h


def partial(target: Path) -> Path:
    """Where this process writes what is to become `target`."""
    return target.with_name(f".{target.name}.partial-{os.getpid()}")


@contextmanager
def workspace(target: Path) -> Iterator[Path]:
    """Yield a fresh folder next to `target` that is removed at the end, for files that `publish` moves out of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target)
    aside = partial(target)
    shutil.rmtree(aside, ignore_errors=True)  # left by a killed process that had the same id
    aside.mkdir()
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def folder(target: Path, *, keep: bool = False) -> Iterator[Path]:
    """Yield a fresh folder, which takes the place of `target` at the end and is removed on an error.

    keep: two that are written at once are alike, and the one that is there first stays.
    """
    with workspace(target) as aside:
        yield aside
        if keep and target.exists():
            return
        try:
            publish(aside, target)
        except OSError:
            if not (keep and target.exists()):  # it appeared in the meantime
                raise


@contextmanager
def file(target: Path) -> Iterator[Path]:
    """Yield a path to write to, which takes the place of `target` at the end and is removed on an error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target)
    aside = partial(target)
    try:
        yield aside
        publish(aside, target)
    finally:
        aside.unlink(missing_ok=True)


def text(target: Path, content: str) -> None:
    """Write a text file, in UTF-8."""
    with file(target) as aside:
        aside.write_text(content, encoding="utf-8")


def publish(finished: Path, target: Path) -> None:
    """Flush `finished`, a file or a folder, to disk, and put it at `target`, whose old content goes.

    A folder changes places with the old one in one act where system and file system can. Elsewhere there are two
    renames with a moment between them; a process killed there leaves the old one for `remove_leftovers` to put back.
    """
    _flush(finished)
    if not (finished.is_dir() and target.exists()):
        finished.replace(target)
    elif exchange(finished, target):
        shutil.rmtree(finished, ignore_errors=True)
    else:
        old = target.with_name(partial(target).name + _OLD)
        target.rename(old)
        finished.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    _flush_entry(target.parent)


def exchange(one: Path, other: Path) -> bool:
    """Let two paths change places, in one act (renameat2); False where system or file system can't."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    return renameat2 is not None and not renameat2(
        _AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE
    )


def remove_leftovers(target: Path) -> None:
    """Remove the partials of `target` whose process is gone. A folder that was moved away without a successor returns.

    Of this process's own, only what was moved away is a leftover: the rest is being written.
    """
    start = f".{target.name}.partial-"
    for path in target.parent.glob(f"{escape(start)}*"):
        pid = path.name.removeprefix(start).removesuffix(_OLD)
        moved_away = path.name.endswith(_OLD)
        if not pid.isdigit() or (pid_exists(int(pid)) and not (int(pid) == os.getpid() and moved_away)):
            continue
        if moved_away and not target.exists():
            path.rename(target)
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _flush(finished: Path) -> None:
    """Flush a file, or every file below a folder, and the folders."""
    paths = [finished, *finished.rglob("*")] if finished.is_dir() else [finished]
    for path in paths:
        if path.is_dir():
            _flush_entry(path)
        elif path.is_file():
            with path.open("rb") as opened:
                os.fsync(opened.fileno())


def _flush_entry(where: Path) -> None:
    """Flush a folder's list of names, where the system lets a folder be opened."""
    if os.name != "posix":
        return
    opened = os.open(where, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
