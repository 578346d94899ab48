"""Which code made a run: a hash over the files that can change its numbers."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

_HERE = Path(__file__).parent
# What only looks at finished runs, or describes what one was fed; a change there leaves every finished run as good as
# it was.
_READERS = (
    "api", "blocks", "charts", "cli", "code", "compare", "drift", "export", "guide", "heldout", "importance",
    "importance_file", "ladder", "progress", "report", "scoring", "textfacts", "tracking",
)  # fmt: skip


@functools.cache
def code_hash() -> str:
    """sha256 over path and bytes of the trainer's modules, without those that only read finished runs.

    A commit names more than it should (a typo in a page moves it) and less (what isn't committed yet).
    """
    digest = hashlib.sha256()
    for path in sorted(_HERE.rglob("*.py")):
        relative = path.relative_to(_HERE)
        if relative.parts[0].removesuffix(".py") not in _READERS:
            digest.update(relative.as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
