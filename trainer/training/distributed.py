"""Where a fit runs: the device, and which of several processes (`torchrun --nproc-per-node 2 -m -- trainer fit ...`;
without the `--` torchrun takes --run for an option of its own).

Data parallel: each process reads its own days of the mart and takes its part of every batch from them; gradients are
summed, so all hold the same weights, and the first process writes. A sparse gradient travels sparse.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType

import torch
import torch.distributed as dist
from torch import nn

from trainer.base.errors import TrainerError
from trainer.base.team import ALONE, Team, others, said_by
from trainer.base.threads import is_forked
from trainer.config import GbdtStage, Stage
from trainer.training.placebo import is_placebo

# For what one process does while others wait: reading more days than they have. One that is killed is noticed at once,
# by its closed connections; one whose machine vanished, after this time.
WAIT = timedelta(minutes=30)
JOIN = timedelta(minutes=5)  # for all of them to have started
_NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_START = "Start the processes with torchrun, which sets all of them; for one process, unset WORLD_SIZE."


def sum_gradients(team: Team, model: nn.Module, loss: torch.Tensor) -> torch.Tensor:
    """Make each gradient the sum over all processes, in one message for the dense ones; returns the summed loss.

    A parameter without a gradient has one of zeros: a process may have no row in a batch.
    """
    if team.size == 1:
        return loss
    sparse = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding) and module.sparse}
    dense = []
    with others():
        for parameter in model.parameters():
            if id(parameter) in sparse:  # on CPUs alone, so gloo's to sum
                gradient = _nothing(parameter) if parameter.grad is None else parameter.grad.coalesce()
                dist.all_reduce(gradient)
                parameter.grad = gradient
                continue
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dense.append(parameter.grad)
        flat = torch.cat([*(g.flatten() for g in dense), loss.reshape(1)])
        dist.all_reduce(flat)
        for gradient, summed in zip(dense, flat.split([*(g.numel() for g in dense), 1]), strict=False):
            gradient.copy_(summed.view_as(gradient))
    return flat[-1]


def _nothing(weight_NE: torch.Tensor) -> torch.Tensor:
    """A sparse gradient without a row. It is coalesced."""
    values = torch.empty(0, weight_NE.shape[1])
    empty = torch.sparse_coo_tensor(torch.empty(1, 0, dtype=torch.int64), values, weight_NE.shape)
    return empty.coalesce()


@contextmanager
def team() -> Iterator[Team]:
    """The processes that torchrun started, or this one alone.

    Raises: TrainerError where the environment isn't that of a process among several, there are more of them on this
    machine than GPUs, or the others can't be reached; within, where torchrun ends this process since another failed.
    """
    rank, size = _place()
    if size == 1:
        yield ALONE
        return
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        local, n = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
        if local >= n:
            raise TrainerError(
                f"Process {local + 1} of this machine has no GPU: it has {n}. Start as many processes per machine as "
                "it has GPUs, or hide the GPUs with CUDA_VISIBLE_DEVICES= to train on CPUs."
            )
        torch.cuda.set_device(local)
    # Optimizers import it, and what it holds by then lives as long as the process: a group whose threads outlive
    # Python's end would abort that (its functions' default is the group of all processes).
    from torch.distributed.nn import functional  # noqa: F401

    with _ended_in_words():
        try:
            store, _, _ = next(dist.rendezvous("env://", rank, size, timeout=JOIN))
            store.set_timeout(WAIT)
            backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
            dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=WAIT)
        except (RuntimeError, ValueError) as error:
            why = said_by(error)
            raise TrainerError(
                f"Process {rank} of {size}, on {socket.gethostname()}, doesn't reach the others at "
                f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']} ({why}). Is that the first machine's "
                "address, as this machine sees it, and was the fit started on all of them?"
            ) from None
        try:
            yield Team(rank, size)
        finally:
            dist.destroy_process_group()


def _place() -> tuple[int, int]:
    """This process's rank, and how many there are. Raises: TrainerError where the environment contradicts itself."""
    try:
        size = int(os.environ.get("WORLD_SIZE") or 1)
        rank = int(os.environ.get("RANK") or 0)
        if size == 1:
            return 0, 1
        if missing := [name for name in _NEEDED if not os.environ.get(name)]:
            raise TrainerError(f"WORLD_SIZE is {size}, but not set: {', '.join(missing)}. {_START}")
        int(os.environ["MASTER_PORT"])
    except ValueError as error:
        raise TrainerError(f"RANK, WORLD_SIZE or MASTER_PORT is no number ({error}). {_START}") from None
    if not 0 <= rank < size:
        raise TrainerError(f"RANK is {rank} and WORLD_SIZE {size}: expected a rank from 0 to {size - 1}. {_START}")
    return rank, size


@contextmanager
def _ended_in_words() -> Iterator[None]:
    """torchrun ends its other processes when one of them failed: this one then says so, in place of dying silently."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise TrainerError(
            "This process was told to end: another process of this fit failed, or somebody stopped it. The fit goes on "
            "from its last checkpoint with --resume."
        )

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def check_divisible(stage: Stage, processes: Team) -> None:
    """Raises: TrainerError for a stage that several processes can't fit."""
    if processes.size == 1:
        return
    why = None
    if isinstance(stage, GbdtStage):
        why = "has trees, which are grown from all rows at once"
    elif stage.inputs.sequence:
        why = "reads all outcomes of a user, and these lie in days that different processes read"
    elif is_placebo(stage):
        why = "is a placebo, whose texts are shuffled among those of all days"
    if why:
        raise TrainerError(
            f"{stage.stage} {why}: {processes.size} processes can't share it. Fit it by one process, without torchrun."
        )


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
