"""A bucket with a few files."""

from __future__ import annotations

from pathlib import Path

from tests.s3 import BUCKET

FILES = {"a.txt": b"alpha", "deep/b c%20d.txt": b"beta", "deep/er/c=1.bin": bytes(range(256)) * 5000}
FOLDER = f"s3://{BUCKET}/folder"


def here(path: Path) -> dict[str, bytes]:
    return {found.relative_to(path).as_posix(): found.read_bytes() for found in path.rglob("*") if found.is_file()}
