"""One thread in which all work is done, one piece after another, while the event loop stays free."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")
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
        self.check()
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self.waiting -= 1

    def check(self) -> None:
        """Raises: BusyError where too much is waiting already."""
        if self.waiting > self._most:  # the one that runs doesn't wait
            raise BusyError

    def close(self) -> None:
        """Return when all work is done."""
        self._pool.shutdown()


class _Waiting(Generic[Item, Result]):
    def __init__(self, item: Item):
        self.item = item
        self.answer: Result | Exception | None = None


class Together(Generic[Item, Result]):
    """Work of one kind that is done at once for all who wait for it: a commit costs the same for one and for many.

    do: the items -> what each is answered, or the error that it is answered with.
    """

    def __init__(self, worker: Worker, do: Callable[[Sequence[Item]], list[Result | Exception]], most: int):
        """most: items that are taken at once."""
        self._worker, self._do, self._most = worker, do, most
        self._waiting = deque[_Waiting[Item, Result]]()

    async def run(self, item: Item) -> Result:
        """Raises: BusyError; what `do` raises or answers for this item."""
        self._worker.check()
        one = _Waiting[Item, Result](item)
        self._waiting.append(one)
        return await self._worker.run(lambda: self._answer(one))

    def _answer(self, one: _Waiting[Item, Result]) -> Result:
        """In the worker's thread: do what waits, unless an earlier call has done this one's with its own."""
        while one.answer is None:
            some = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            try:
                answers = self._do([each.item for each in some])
            except Exception as error:  # it is the answer to all of them
                answers = [error] * len(some)
            for each, answer in zip(some, answers, strict=True):
                each.answer = answer
        if isinstance(one.answer, Exception):
            raise one.answer
        return one.answer
