"""One writer at a time, and an error that names the writer."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from embeddings.errors import EmbeddingsError
from storage.uris import command_line


@contextmanager
def exclusive(path: Path, doing: str) -> Iterator[None]:
    """Hold the lock file at `path`, or fail at once with an error that names its holder.

    The lock is the operating system's: it goes with the process, so a killed run leaves none behind.
    Raises: EmbeddingsError when another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    owner = path.with_name(path.name + ".owner")
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise EmbeddingsError(
            f"{doing} by another run{_who(owner)} (lock file {path}). Wait for it to end, or stop it; finished work"
            " is kept, and the same command then carries on."
        ) from error
    try:
        note = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": command_line([Path(sys.argv[0]).name, *sys.argv[1:]]),
        }
        owner.write_text(json.dumps(note), encoding="utf-8")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _who(owner: Path) -> str:
    try:
        note = json.loads(owner.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""  # between taking the lock and writing the note
    return f": process {note['pid']} on {note['host']} since {note['since']} ({note['command']})"
