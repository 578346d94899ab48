"""Where the columns lie while a network trains, and their values on the device in time.

Columns that fit lie on the device, and a batch is a gather there. Columns that don't fit stay in the host's memory: a
thread gathers the next batches and sends them while the device is at the present one.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing
from typing import Literal

import numpy as np
import torch

from storage.ahead import ahead
from trainer.columns.store import Columns
from trainer.columns.tensors import Raw, Reads, sent
from trainer.inputs.batcher import Batcher

Place = Literal["auto", "device", "host"]
SHARE = 0.6  # of the device's free memory that columns may take; weights and activations want the rest
AHEAD = 3  # batches that are gathered before they are wanted


def lie_on_device(wanted: Place, columns: Columns, reads: Reads, device: torch.device) -> bool:
    """Whether the columns are to lie on the device. On a CPU they do: device and host have one memory."""
    if wanted != "auto" or device.type == "cpu":
        return wanted != "host"
    free, _ = torch.cuda.mem_get_info(device)
    return reads.n_bytes(columns) <= SHARE * free


def fed(batcher: Batcher, rows: Iterable[np.ndarray]) -> Generator[Raw]:
    """The values of these rows on the batcher's device, block by block, in their order.

    An error of the thread that gathers is raised where its block was wanted.
    """
    if batcher.resident:
        yield from map(batcher.raw, rows)
        return
    stream = torch.cuda.Stream(batcher.device) if batcher.device.type == "cuda" else None

    def gathered(rows_B: np.ndarray) -> tuple[Raw, torch.cuda.Event | None]:
        here = batcher.raw(rows_B)
        if stream is None:
            return here, None
        with torch.cuda.stream(stream):
            there = sent(here, batcher.device)
            return there, stream.record_event()

    with closing(ahead(gathered, rows, depth=AHEAD)) as blocks:
        for raw, copied in blocks:
            yield _arrived(raw, copied)


def _arrived(raw: Raw, copied: torch.cuda.Event | None) -> Raw:
    """The values, which the device's present stream may read from now on."""
    if copied is not None:
        present = torch.cuda.current_stream()
        present.wait_event(copied)
        for tensor in raw.values():
            tensor.record_stream(present)
    return raw
