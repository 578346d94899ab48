"""Which code made a run: a hash over the folders that can change its numbers."""

from __future__ import annotations

import functools
import hashlib
from importlib.util import find_spec
from pathlib import Path

from trainer.base.folders import model_folders

_TRAINER = Path(__file__).parents[1]
# A run depends on all that `run` imports. Later folders only look at finished runs, and `report` only describes them:
# a change there leaves every finished run as good as it was.
_FOLDERS = ("base", "contract", "metrics", "columns", "inputs", "models", "training", "evaluation", "run")
_FILES = ("config.py",)
_PACKAGES = ("embeddings", "storage")  # whitening and the vector store; how files are written


@functools.cache
def code_hash() -> str:
    """sha256 over path and bytes of the Python files of every folder that a run depends on.

    A commit names more than it should (a typo in a page moves it) and less (what isn't committed yet).
    """
    roots = {f"trainer/{name}": _TRAINER / name for name in (*_FOLDERS, *_FILES)}
    roots |= {name: Path(found.origin).parent for name in _PACKAGES if (found := find_spec(name)) and found.origin}
    roots |= {f"own models {k}": folder for k, folder in enumerate(model_folders())}
    return hash_of(roots)


def hash_of(roots: dict[str, Path]) -> str:
    """sha256 over path and bytes of each Python file below these folders, and of these files. Keys name them."""
    digest = hashlib.sha256()
    for name, root in sorted(roots.items()):
        for path in sorted(root.rglob("*.py")) if root.is_dir() else [root]:
            where = f"{name}/{path.relative_to(root).as_posix()}" if root.is_dir() else name
            digest.update(where.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
