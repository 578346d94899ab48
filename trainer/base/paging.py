"""How much memory the process holds, and releasing mapped pages, so that a log larger than memory can be read.

A page of a mapped file counts as this process's memory from the first touch on, though the system could take it back at
any time. A released page stays in the system's file cache as long as there is room, and reading it again maps it
again: nothing changes but what the process holds.
"""

from __future__ import annotations

import mmap
import re
import resource
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

MOST = 640 << 20  # bytes of mapped files in memory, code of libraries (200 MB) included, above which pages go back
_STATUS = Path("/proc/self/status")


def maps_of(arrays: Iterable[np.ndarray]) -> list[mmap.mmap]:
    """The maps behind those of the arrays that are memory-mapped."""
    bases: list[Any] = [array.base for array in arrays if isinstance(array, np.memmap)]  # numpy's types: an array
    return [base for base in bases if isinstance(base, mmap.mmap)]


def release_pages(maps: Iterable[mmap.mmap], most: int | None = None) -> None:
    """Release the pages of read-only maps where the process holds more than `most` (default: MOST) bytes of files.

    Does nothing on a system that doesn't say how much that is (it is Linux that does).
    """
    if getattr(psutil.Process().memory_info(), "shared", 0) > (MOST if most is None else most):
        for each in maps:
            each.madvise(mmap.MADV_DONTNEED)


def peak_rss_mib() -> int:
    """The most that this process has held since it began, in MiB.

    On Linux `ru_maxrss` may be the parent's: a child begins with it. So the kernel's own mark is read where it gives
    one (a sandbox's kernel may not).
    """
    if _STATUS.exists() and (mark := re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())):
        return round(int(mark[1]) / 1024)
    return round(
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    )
