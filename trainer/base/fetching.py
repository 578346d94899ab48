"""Files behind a URI, with a spinner while they are fetched; nothing happens for a local path."""

from __future__ import annotations

from pathlib import Path

from storage.places import is_remote, shown
from trainer.base.progress import working


def look(path: Path) -> None:
    """Make a folder be there, with the (empty) folders in it, or a file. Raises: RemoteError."""
    if is_remote(path):
        from storage import remote

        remote.look(path)


def fetch(path: Path) -> None:
    """Make a file or a folder be there as its store has it now. Raises: RemoteError."""
    if is_remote(path):
        from storage import remote

        with working(f"Fetching {shown(path)}"):
            remote.fetch(path)
