"""One update of a network: a batch in, its loss out, which stays on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from trainer.base.team import Team
from trainer.inputs.batch import Batch
from trainer.inputs.features import FittedInputs
from trainer.training.distributed import sum_gradients
from trainer.training.optimizers import TABLE

_BY_HAND = 3  # updates before one is recorded: until then optimisers make their state, and libraries their workspaces


@dataclass
class Step:
    """Updates the weights.

    id_dropout: share of ids that go to the row of the unseen. embedding_l2: the penalty falls on the rows the batch
    touches, each as often as it occurs. amp: bfloat16 in the forward and backward pass, where that is safe.
    """

    model: nn.Module
    inputs: FittedInputs
    device: torch.device
    optimizers: Sequence[torch.optim.Optimizer]
    id_dropout: float
    embedding_l2: float
    amp: bool
    team: Team

    def __post_init__(self) -> None:
        self._id_fields = [f for f, code in enumerate(self.inputs.codes) if code.is_id]
        self._unseen_F = torch.from_numpy(self.inputs.offsets).to(self.device)

    def __call__(self, batch: Batch | None, part: float) -> torch.Tensor:
        """The loss of the whole batch, a number on the device.

        batch: this process's rows of it; None where it has none. part: their share of the whole batch, in [0, 1].
        """
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=self.device) if batch is None else self._backward(batch, part)
        loss = sum_gradients(self.team, self.model, loss)
        for optimizer in self.optimizers:
            optimizer.step()
        return loss

    def _backward(self, batch: Batch, part: float) -> torch.Tensor:
        """Make the gradients of these rows; returns what they add to the batch's loss."""
        batch = drop_ids(batch, self._id_fields, self._unseen_F, self.id_dropout)
        self.model.train()
        there = self.device.type
        # A cast that is kept would be a recorded step's own, and the weights have moved on by the next one.
        with torch.autocast(there, torch.bfloat16, enabled=self.amp, cache_enabled=there == "cpu"):
            logits_B = self.model(batch)
        loss = nn.functional.binary_cross_entropy_with_logits(logits_B.float(), batch.label_B)
        total = loss
        if self.embedding_l2:
            e_BFE = self.model.get_submodule(TABLE)(batch.ids_BF)
            total = loss + self.embedding_l2 * e_BFE.square().sum() / len(e_BFE)
        if part != 1:
            total, loss = total * part, loss * part
        total.backward()
        return loss.detach()


def drop_ids(batch: Batch, id_fields: list[int], unseen_F: torch.Tensor, share: float) -> Batch:
    """Send a share of the ids to their field's UNSEEN row, so that the row learns what an unknown id is like.

    Of the rows, and of their users' outcomes.
    """
    if not share or not id_fields:
        return batch
    if batch.outcomes is not None:
        seen = replace(batch.outcomes, rows=drop_ids(batch.outcomes.rows, id_fields, unseen_F, share))
        batch = replace(batch, outcomes=seen)
    ids_BF = batch.ids_BF.clone()
    for f in id_fields:
        dropped_B = torch.rand(len(ids_BF), device=ids_BF.device) < share
        ids_BF[:, f] = torch.where(dropped_B, unseen_F[f], ids_BF[:, f])
    return replace(batch, ids_BF=ids_BF)


@dataclass
class RecordedStep:
    """A step on a GPU, recorded as a CUDA graph: hundreds of kernels start as one.

    What is recorded has fixed shapes: batches of `n_rows`; others are gone through by hand. Seeds and learning rates
    are read anew by each replay, and a replay comes to the same bytes as a step by hand.
    """

    step: Callable[[Batch | None, float], torch.Tensor]
    n_rows: int
    _by_hand: int = 0
    _graph: torch.cuda.CUDAGraph | None = None
    _batch: Batch | None = None
    _loss: torch.Tensor = field(default_factory=lambda: torch.empty(0))

    def __call__(self, batch: Batch | None, part: float) -> torch.Tensor:
        assert batch is not None  # one process has rows in every batch
        if len(batch.label_B) != self.n_rows or self._by_hand < _BY_HAND:
            self._by_hand += 1
            return self.step(batch, part)
        if self._graph is None:
            own: dict[str, Any] = {name: tensor.clone() for name, tensor in batch.tensors().items()}
            self._batch = replace(batch, **own)
            graph = torch.cuda.CUDAGraph()
            # Only this thread is watched: the one that sends the next batches may take memory meanwhile.
            with torch.cuda.graph(graph, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"):
                self._loss = self.step(self._batch, part)
            self._graph = graph  # recorded, and not yet run
        assert self._batch is not None
        recorded = self._batch.tensors()
        for name, tensor in batch.tensors().items():
            recorded[name].copy_(tensor)
        self._graph.replay()
        return self._loss.clone()
