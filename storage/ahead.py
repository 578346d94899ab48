"""Work that threads do before its result is needed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def ahead(
    make: Callable[[Item], Made], items: Iterable[Item], *, depth: int, threads: int = 1
) -> Generator[Made, None, None]:
    """`make` of every item, in order; threads work on the next ones while the caller uses this one.

    Args: depth, the most results that wait. What `make` raises is raised here, at that item's turn. When the caller
    stops early, nothing more is started, and the items that are being made are waited for.
    """
    pool = ThreadPoolExecutor(threads)
    waiting: deque[Future[Made]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(make, item))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
