"""Files that are whole or absent: everything is written aside and renamed."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from psutil import pid_exists


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
def written_aside(target: Path) -> Iterator[Path]:
    """Yield a fresh folder beside `target`; at the end rename it to `target`, on an error remove it.

    A process that is killed leaves only folders that carry `.partial` in their name, which the next one removes
    when their process is gone.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target)
    aside = target.parent / f"{target.name}.partial-{os.getpid()}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        yield aside
        if target.exists():
            old = target.parent / f"{target.name}.partial-{os.getpid()}-old"
            target.rename(old)
            aside.rename(target)
            shutil.rmtree(old)
        else:
            aside.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def remove_leftovers(target: Path) -> None:
    """Remove the `.partial` folders of `target` whose process no longer lives."""
    for path in target.parent.glob(f"{target.name}.partial-*"):
        pid = path.name.removeprefix(f"{target.name}.partial-").split("-")[0]
        if not pid.isdigit() or not pid_exists(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def replace_text(path: Path, text: str) -> None:
    """Write a text file aside and rename it to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.partial-{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)
