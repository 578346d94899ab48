"""JSON, and names of files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any


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
