"""One thread in which all work is done, one piece after another, while the event loop stays free."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


class BusyError(Exception):
    """More work is waiting than is taken."""


class Worker:
    """Work that may wait, up to a number of pieces."""

    def __init__(self, name: str, most_waiting: int):
        self._pool = ThreadPoolExecutor(1, name)
        self._most, self.waiting = most_waiting, 0

    async def run(self, work: Callable[[], Result]) -> Result:
        """Raises: BusyError where too much is waiting already; what `work` raises."""
        if self.waiting > self._most:  # the one that runs doesn't wait
            raise BusyError
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self.waiting -= 1

    def close(self) -> None:
        """Return when all work is done."""
        self._pool.shutdown()
