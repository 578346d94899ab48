"""Where a fit runs: the device, and which of several processes (`torchrun --nproc-per-node 2 -m -- trainer fit ...`;
without the `--` torchrun takes --run for an option of its own).

Data parallel: each process takes its share of every batch, gradients are summed, so all hold the same weights; the
first one writes. A sparse gradient travels sparse.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from trainer.base.threads import is_forked


@dataclass(frozen=True)
class Team:
    """rank: this process, from 0; size: how many there are."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """The others wait until the first process is through: what it has built on disk they then find."""
        if self.size > 1 and not self.leads:
            dist.barrier()
        yield
        if self.size > 1 and self.leads:
            dist.barrier()

    def part(self, n_rows: int) -> float:
        """Which part of a batch of so many rows is this process's, in [0, 1]."""
        return len(range(self.rank, n_rows, self.size)) / n_rows

    def share(self, rows_B: np.ndarray) -> np.ndarray:
        """This process's rows of a batch; one row, whose part is 0, if it has none."""
        return rows_B[self.rank :: self.size] if self.part(len(rows_B)) else rows_B[:1]

    def sum_gradients(self, model: nn.Module) -> None:
        """Make each gradient the sum over all processes, in one message for the dense ones."""
        if self.size == 1:
            return
        dense = []
        for parameter in model.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            if parameter.grad.is_sparse:  # on CPUs alone, so gloo's to sum
                gradient = parameter.grad.coalesce()
                dist.all_reduce(gradient)
                parameter.grad = gradient
            else:
                dense.append(parameter.grad)
        flat = torch.cat([g.flatten() for g in dense])
        dist.all_reduce(flat)
        for gradient, summed in zip(dense, flat.split([g.numel() for g in dense]), strict=True):
            gradient.copy_(summed.view_as(gradient))

    def agreed(self, value: float) -> float:
        """The first process's value, so that all decide alike."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]


@contextmanager
def team() -> Iterator[Team]:
    """The processes that torchrun started, or this one alone."""
    size = int(os.environ.get("WORLD_SIZE", 1))
    if size == 1:
        yield Team()
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Team(dist.get_rank(), size)
    finally:
        dist.destroy_process_group()


def device() -> torch.device:
    """The GPU where there is one, else the CPU; also in a fork of a process that used the GPU, which CUDA refuses."""
    lost = is_forked() and torch.cuda._is_in_bad_fork()
    return torch.device("cuda" if torch.cuda.is_available() and not lost else "cpu")


@contextmanager
def side_stream(device: torch.device) -> Iterator[None]:
    """On a GPU a stream of one's own, on which steps can be recorded; what was begun elsewhere is done by then."""
    if device.type == "cpu":
        yield
        return
    main, own = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    own.wait_stream(main)
    with torch.cuda.stream(own):
        yield
    main.wait_stream(own)
