"""How many threads may compute: in a forked process one.

OpenMP (libgomp, which PyTorch and scikit-learn each bring along) starts its threads with the first parallel loop and
keeps them. A fork copies the state of that pool without its threads, so the next parallel loop of the child waits for
them for ever. A loop of one thread asks for no pool.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_started = os.getpid()


def is_forked() -> bool:
    """Whether this process is a fork of the one that imported the trainer."""
    return os.getpid() != _started


def usable(threads: int) -> int:
    """The threads that were asked for; 1 in a forked process."""
    return 1 if is_forked() else threads


@contextmanager
def one_each() -> Iterator[int]:
    """PyTorch computes with one thread here, and in each thread that starts within. Yields: how many may start."""
    threads = usable(torch.get_num_threads())
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)
