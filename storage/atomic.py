"""Atomic writes: a file or a folder is complete, or it isn't there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from psutil import pid_exists

_OLD = "-old"  # ends the name of what is moved away for its successor


@contextmanager
def folder(target: Path, *, keep: bool = False) -> Iterator[Path]:
    """Yield a fresh folder beside `target`; at the end rename it to `target`, on an error remove it.

    keep: two that are written at once are alike, and the one that is there first stays.
    A process that is killed leaves only folders that carry `.partial` in their name, which the next one removes
    when their process is gone.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target)
    aside = _aside(target)
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        yield aside
        if keep and target.exists():
            return
        if target.exists():
            old = aside.with_name(aside.name + _OLD)
            target.rename(old)
            aside.rename(target)
            shutil.rmtree(old)
            return
        try:
            aside.rename(target)
        except OSError:  # it came into being since
            if not (keep and target.exists()):
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def file(target: Path) -> Iterator[Path]:
    """Yield a name beside `target` to write a file under; at the end rename it to `target`, on an error remove it.

    What killed processes left goes, as in `folder`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target)
    aside = _aside(target)
    try:
        yield aside
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def remove_leftovers(target: Path) -> None:
    """Remove what carries `.partial` beside `target` and belongs to no living process.

    A folder that was moved away and not yet replaced by its successor comes back.
    """
    for path in target.parent.glob(f"{escape(target.name)}.partial-*"):
        pid = path.name.removeprefix(f"{target.name}.partial-").removesuffix(_OLD)
        if pid.isdigit() and pid_exists(int(pid)) and (int(pid) != os.getpid() or not path.name.endswith(_OLD)):
            continue
        if path.name.endswith(_OLD) and not target.exists():
            path.rename(target)
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def text(path: Path, text: str) -> None:
    """Write a text file aside and rename it to `path`."""
    with file(path) as aside:
        aside.write_text(text, encoding="utf-8")


def _aside(target: Path) -> Path:
    return target.with_name(f"{target.name}.partial-{os.getpid()}")
