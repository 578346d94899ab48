"""Batches on one GPU, without waiting for each.

    texts -> tokens (a thread) -> ids in pinned memory (a thread) -> device: states, pooling -> pinned memory -> vectors

A batch is launched while those before it are still computed. Its vectors are copied back on a stream of their own and
collected some batches later, so neither the host nor the device waits. On a CPU the same code runs without streams and
pinned memory; tests use that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from embeddings.batching import Batch, fitting_tokens
from embeddings.errors import EmbeddingsError
from embeddings.torch_engine import TorchEngine
from storage.ahead import ahead

if TYPE_CHECKING:
    import torch

IN_FLIGHT = 3  # batches that are launched and not collected; each holds its ids and its vectors, no activations
_LAID_AHEAD = 4  # batches that wait in pinned memory
_PROBE_TOKENS = 4096


@dataclass(frozen=True)
class _Laid:
    """A batch as tensors of the host. Shapes: ids_BS, padded with 0; spans_2B, the lengths and the starts; int64."""

    batch: Batch
    ids_BS: torch.Tensor
    spans_2B: torch.Tensor


@dataclass(frozen=True)
class _Launched:
    """Vectors that the device may still be computing; they are there once `copied` has happened."""

    batch: Batch
    vectors_BD: torch.Tensor
    copied: torch.cuda.Event | None

    def collect(self) -> tuple[Batch, np.ndarray]:
        if self.copied is not None:
            self.copied.synchronize()
        return self.batch, self.vectors_BD.numpy().copy()  # pinned memory is given back


class DeviceQueue:
    """A network, and the pooling of its states, on one device."""

    def __init__(self, engine: TorchEngine, pooling: str) -> None:
        import torch

        self._engine = engine
        self._pooling = pooling
        self._on_cuda = engine.device == "cuda"
        self._back: Any = torch.cuda.Stream() if self._on_cuda else None

    def pooled(self, batches: Iterable[Batch]) -> Generator[tuple[Batch, np.ndarray], None, None]:
        """Every batch with its pooled states, in order. Shapes: (B, width of the pooling), float32.

        Raises: EmbeddingsError where the device has too little memory.
        """
        launched: deque[_Launched] = deque()
        with closing(ahead(self._lay_out, batches, depth=_LAID_AHEAD)) as laid:
            for one in laid:
                launched.append(self._launch(one))
                if len(launched) > IN_FLIGHT:
                    yield launched.popleft().collect()
            while launched:
                yield launched.popleft().collect()

    def fitting_tokens(self, longest: int) -> int:
        """Tokens in a batch, padding included, by the device's free memory (`batching.fitting_tokens`).

        What a token takes is measured: the peak of a batch of the longest texts.
        """
        import torch

        n_texts = max(1, _PROBE_TOKENS // longest)
        probe = Batch(np.arange(n_texts), [[0] * longest] * n_texts, np.full(n_texts, longest), np.zeros(n_texts, int))
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        self._launch(self._lay_out(probe)).collect()
        per_token = (torch.cuda.max_memory_allocated() - before) / (n_texts * longest)
        free = torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return fitting_tokens(free, per_token)

    def _lay_out(self, batch: Batch) -> _Laid:
        import torch

        longest = int(batch.lengths_B.max())
        ids_BS = torch.zeros((len(batch.ids), longest), dtype=torch.long, pin_memory=self._on_cuda)
        real_BS = np.arange(longest) < batch.lengths_B[:, None]
        ids_BS.numpy()[real_BS] = np.concatenate([np.asarray(one, np.int64) for one in batch.ids])
        spans_2B = torch.empty((2, len(batch.ids)), dtype=torch.long, pin_memory=self._on_cuda)
        spans_2B.numpy()[:] = batch.lengths_B, batch.starts_B
        return _Laid(batch, ids_BS, spans_2B)

    def _launch(self, laid: _Laid) -> _Launched:
        """Start a batch on the device; nothing here waits for it."""
        import torch

        try:
            with torch.inference_mode():
                ids_BS = laid.ids_BS.to(self._engine.device, non_blocking=True)
                lengths_B, starts_B = laid.spans_2B.to(self._engine.device, non_blocking=True)
                states_BSD = self._engine.hidden(ids_BS, lengths_B)
                vectors_BD = pool(states_BSD.float(), lengths_B, starts_B, self._pooling)
                if not self._on_cuda:
                    return _Launched(laid.batch, vectors_BD, None)
                self._back.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(self._back):
                    there_BD = torch.empty(vectors_BD.shape, dtype=torch.float32, pin_memory=True)
                    there_BD.copy_(vectors_BD, non_blocking=True)
                    copied = torch.cuda.Event()
                    copied.record()
                vectors_BD.record_stream(self._back)
                return _Launched(laid.batch, there_BD, copied)
        except torch.cuda.OutOfMemoryError as error:
            n_texts, longest = laid.ids_BS.shape
            raise EmbeddingsError(
                f"The GPU has too little free memory for {n_texts:,} texts of up to {longest:,} tokens"
                f" ({str(error).splitlines()[0][:150]}). End what else runs on it, cut texts with --max-tokens, or use"
                " --device cpu."
            ) from error


def pool(states_BSD: torch.Tensor, lengths_B: torch.Tensor, starts_B: torch.Tensor, pooling: str) -> torch.Tensor:
    """`head.Head`'s pooling in torch, so that only vectors leave the device and not states.

    Shapes: states (B, S, D), float32, padded on the right; lengths and starts (B,) -> (B, D * poolings), float32.
    """
    import torch

    parts = [_pool(states_BSD, lengths_B, starts_B, name) for name in pooling.split("+")]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _pool(states_BSD: torch.Tensor, lengths_B: torch.Tensor, starts_B: torch.Tensor, pooling: str) -> torch.Tensor:
    import torch

    rows = torch.arange(len(lengths_B), device=states_BSD.device)
    if pooling == "cls":
        return states_BSD[rows, starts_B]
    if pooling == "last":
        return states_BSD[rows, lengths_B - 1]
    at_S = torch.arange(states_BSD.shape[1], device=states_BSD.device)
    counts_BS = (at_S < lengths_B[:, None]) & (at_S >= starts_B[:, None])
    if pooling == "max":
        return states_BSD.masked_fill(~counts_BS[..., None], -torch.inf).amax(dim=1)
    counted_BSD = states_BSD.masked_fill(~counts_BS[..., None], 0)
    if pooling == "weightedmean":
        weights_BS = torch.where(counts_BS, at_S + 1, 0).float()
        return (counted_BSD * weights_BS[..., None]).sum(dim=1) / weights_BS.sum(dim=1, keepdim=True)
    n_B1 = (lengths_B - starts_B).float()[:, None]
    return counted_BSD.sum(dim=1) / (n_B1 if pooling == "mean" else n_B1.sqrt())
