"""Processes that do one job together, and how they agree; one process by itself is a team of one."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist

from trainer.base.errors import TrainerError

T = TypeVar("T")


@dataclass(frozen=True)
class Team:
    """rank: this process, from 0; size: how many there are.

    Every method but `leads` is to be called by all processes, in the same order.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def sum(self, values: np.ndarray) -> np.ndarray:
        """The sum over all processes, element by element. Shapes: as `values`, int64 or float64."""
        if self.size == 1:
            return values
        summed = torch.from_numpy(np.array(values))
        with others():
            dist.all_reduce(summed)
        return summed.numpy()

    def gather(self, value: T) -> list[T]:
        """Every process's value, by rank."""
        if self.size == 1:
            return [value]
        found: list[T | None] = [None] * self.size
        with others():
            dist.all_gather_object(found, value)
        return found  # type: ignore[return-value]  # all are there now

    def to_leader(self, value: T) -> list[T]:
        """Every process's value, by rank, for the first process; the others get an empty list."""
        if self.size == 1:
            return [value]
        found: list[T | None] | None = [None] * self.size if self.leads else None
        with others():
            dist.gather_object(value, found)
        return found or []  # type: ignore[return-value]  # all are there now

    def agreed(self, value: T) -> T:
        """The first process's value."""
        if self.size == 1:
            return value
        box = [value]
        with others():
            dist.broadcast_object_list(box, src=0)
        return box[0]

    def together(self, work: Callable[[], T]) -> T:
        """What `work` makes in this process. Where it fails in one of them, all stop, and each says why."""
        if self.size == 1:
            return work()
        error: Exception | None = None
        try:
            made = work()
        except Exception as found:  # whatever it is, the others must hear of it
            error = found
        said = self.gather(None if error is None else f"{socket.gethostname()}: {error}")
        if error is not None:
            raise error
        for rank, why in enumerate(said):
            if why is not None:
                raise TrainerError(f"Process {rank} of this fit stopped, on {why}")
        return made

    def check_same(self, facts: dict[str, str], advice: str) -> None:
        """Raises: TrainerError, in every process, naming the first fact in which one differs from the first process."""
        first, *rest = self.gather(facts)
        for rank, theirs in enumerate(rest, start=1):
            for name, text in theirs.items():
                lines = zip_longest(text.splitlines(), first[name].splitlines(), fillvalue="nothing")
                for other, line in ((other, line) for other, line in lines if other != line):
                    raise TrainerError(
                        f"Process {rank} of this fit has another {name} than process 0: {other.strip()[:150]!r} in "
                        f"place of {line.strip()[:150]!r}. {advice}"
                    )


ALONE = Team()


def said_by(error: Exception) -> str:
    """The first sentence of what a backend says, without the place in its source."""
    line = re.sub(r"^\[[^\]]*\]:?\s*", "", str(error).split("\n")[0])
    return " ".join(line.split(". ")[0].split())[:200]


@contextmanager
def others() -> Iterator[None]:
    """Around what waits for other processes. Raises: TrainerError where one of them is gone."""
    try:
        yield
    except RuntimeError as error:  # of torch's backends, each in its own words
        why = said_by(error)
        raise TrainerError(
            "Another process of this fit is gone, or hasn't answered in time; its own output, or its machine, says "
            f"why ({why}). The fit has stopped, and goes on from its last checkpoint with --resume."
        ) from None
