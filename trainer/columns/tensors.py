"""A column store as tensors: positions of rows in, the store's own values out.

The tensors lie where they are asked for: in the memory-mapped files (CPU), or on the device that trains, so that a
batch is a gather there.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch

from trainer.columns.ragged import Lists
from trainer.columns.store import Columns

# The store's own values of B rows, by name; D numbers, C categories, G levels, L outcomes, K texts of all B rows:
#   dense_BD float32, NaN for missing; codes_BC int32; scene_B int16; label_B uint8; level_BG int8, -1 for NULL
#   texts/<column>: codes_K int32, all rows' lists end to end; begin/<column>: int64 (B,), where each row's begin
#   past_item_BL, past_text_BL int32; past_label_BL int8, -1 where there is no outcome, or none with a label
Raw = dict[str, torch.Tensor]

_PLAIN = {
    "dense_BD": "dense_ND",
    "codes_BC": "codes_NC",
    "scene_B": "scene_N",
    "label_B": "label_N",
    "level_BG": "level_NG",
}
_COPIED = 1 << 26  # bytes that go to the device at once: what the host holds of a mapped file meanwhile
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Reads:
    """What of a store is read: the numbers and categories always, these columns of texts, and L outcomes of a user.

    past_texts: the outcomes' texts too.
    """

    texts: tuple[str, ...] = ()
    history: int = 0
    past_texts: bool = False

    def lists(self, columns: Columns) -> dict[str, Lists]:
        known = {f"texts/{column.name}": column.codes for column in columns.texts}
        out = {name: known[name] for name in (f"texts/{text}" for text in self.texts)}
        past = columns.history
        if self.history and past is not None:
            out |= {"past_item_BL": past.items, "past_label_BL": past.labels}
            if self.past_texts and past.texts is not None:
                out["past_text_BL"] = past.texts
        return out

    def n_bytes(self, columns: Columns) -> int:
        """What the tensors take."""
        arrays = [getattr(columns, name) for name in _PLAIN.values()]
        lists = self.lists(columns).values()
        return sum(a.nbytes for a in (*arrays, *(p for each in lists for p in (each.offsets, each.codes_M))))


@dataclass(frozen=True)
class ListTensors:
    """ragged.Lists as tensors on one device."""

    offsets: torch.Tensor
    codes_M: torch.Tensor

    def take(self, at_B: torch.Tensor, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The rows' elements end to end, n in all, and where each row's begin. Shapes: -> (B,) int64, (n,)."""
        start_B = self.offsets[at_B]
        length_B = self.offsets[at_B + 1] - start_B
        begin_B = length_B.cumsum(0) - length_B
        shift_K = torch.repeat_interleave(start_B - begin_B, length_B, output_size=n)
        return begin_B, self.codes_M[torch.arange(n, device=at_B.device) + shift_K]

    def padded(self, at_B: torch.Tensor, length: int, nothing: int) -> torch.Tensor:
        """The first `length` elements of each row, and `nothing` where it has fewer. Shapes: -> (B, length)."""
        if not len(self.codes_M):
            return torch.full((len(at_B), length), nothing, dtype=self.codes_M.dtype, device=at_B.device)
        at_BL = self.offsets[at_B][:, None] + torch.arange(length, device=at_B.device)
        real_BL = at_BL < self.offsets[at_B + 1][:, None]
        return torch.where(real_BL, self.codes_M[at_BL.clamp_(max=len(self.codes_M) - 1)], nothing)


class ColumnTensors:
    """The columns that are read, as tensors on one device."""

    def __init__(self, columns: Columns, reads: Reads, device: torch.device = CPU):
        self._columns, self._reads, self._device = columns, reads, device
        self._plain = {name: self._placed(getattr(columns, array)) for name, array in _PLAIN.items()}
        self._offsets_on_host = {name: lists.offsets for name, lists in reads.lists(columns).items()}
        self._lists = {
            name: ListTensors(self._placed(lists.offsets), self._placed(lists.codes_M))
            for name, lists in reads.lists(columns).items()
        }

    def _placed(self, array_N: np.ndarray) -> torch.Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a read-only map: nothing writes to it
            here = torch.from_numpy(array_N)
        if self._device.type == "cpu":
            return here
        there = torch.empty(here.shape, dtype=here.dtype, device=self._device)
        step = max(1, _COPIED // max(1, array_N.itemsize * int(np.prod(array_N.shape[1:]))))
        for s in range(0, len(here), step):
            there[s : s + step].copy_(here[s : s + step])
            self._columns.release_pages()
        return there

    def rows(self, rows_B: np.ndarray) -> Raw:
        """Shapes: rows_B int64 positions -> their values, on the device. Nothing waits for the device."""
        at_B = on_device(torch.from_numpy(rows_B), self._device)
        raw = {name: tensor.index_select(0, at_B) for name, tensor in self._plain.items()}
        for name, lists in self._lists.items():
            if name.startswith("past_"):
                raw[name] = lists.padded(at_B, self._reads.history, -1 if name == "past_label_BL" else 0)
            else:
                # The host knows how many there are: the device would have to be waited for.
                offsets = self._offsets_on_host[name]
                n = int((offsets[rows_B + 1] - offsets[rows_B]).sum())
                raw[name.replace("texts/", "begin/")], raw[name] = lists.take(at_B, n)
        if self._device.type == "cpu":
            self._columns.release_pages()
        return raw


def on_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on the device, without waiting for what the device is at."""
    if tensor.device.type == device.type:
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


def sent(raw: Raw, device: torch.device) -> Raw:
    return {name: on_device(tensor, device) for name, tensor in raw.items()}
