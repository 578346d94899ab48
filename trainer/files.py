"""Files that are whole or absent: everything is written aside and renamed."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Any

from psutil import pid_exists

_OLD = "-old"  # ends the name of what is moved away for its successor


def write_json(path: Path, value: Any) -> None:
    """Write JSON with one trailing newline; NaN and infinity are refused, since they aren't JSON."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def file_name(name: str) -> str:
    """A name of any kind as the name of one file: what would lead elsewhere is written as %2F and the like."""
    return re.sub(r"[%/\\\x00-\x1f\x7f]", lambda found: f"%{ord(found[0]):02X}", name)


def is_plain(name: str) -> bool:
    """Whether this names something in a folder itself: no path, nor the folder or the one above."""
    return Path(name).name == name and name not in ("", "..")


@contextmanager
def written_aside(target: Path, *, keep: bool = False) -> Iterator[Path]:
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
def file_aside(target: Path) -> Iterator[Path]:
    """Yield a name beside `target` to write a file under; at the end rename it to `target`, on an error remove it.

    What killed processes left goes, as in `written_aside`.
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


def replace_text(path: Path, text: str) -> None:
    """Write a text file aside and rename it to `path`."""
    with file_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def _aside(target: Path) -> Path:
    return target.with_name(f"{target.name}.partial-{os.getpid()}")
