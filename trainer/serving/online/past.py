"""The known outcomes of a request's users as whole rows, for a run that reads them. A user's are kept for a while.

Of one user, what the network's layers make of the outcomes is kept too, so that candidates are only asked of it.
Legend: B rows, T outcomes of the user.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import torch
from msgspec import msgpack

from trainer.columns.sequences import OutcomeIndex
from trainer.inputs.batch import Batch, Outcomes
from trainer.inputs.batcher import Batcher
from trainer.inputs.table import HISTORY, block_columns
from trainer.models.sequence import Sequence as Network
from trainer.serving.online.features import Online
from trainer.serving.online.gathered import Gathered
from trainer.serving.online.keys import Request
from trainer.serving.score import Model

_MOST = 200_000  # outcomes that are kept in memory, of all users together

Users: TypeAlias = tuple[tuple[str, bytes | None], ...]  # with the list of each one's events


@dataclass(frozen=True)
class Known:
    """The outcomes of users, and of a single one what the network remembers of them."""

    index: OutcomeIndex
    network: Network | None = None
    outcomes: Outcomes | None = None
    memories: tuple[torch.Tensor, ...] = ()

    @property
    def is_of_one(self) -> bool:
        """Whether candidates can be asked of what is remembered."""
        return bool(self.memories)

    @classmethod
    def of(cls, index: OutcomeIndex, model: Model, n_users: int) -> Known:
        network, fitted = model.fitted.network, model.fitted
        if n_users != 1 or not len(index.order) or fitted.inputs.text_columns or not isinstance(network, Network):
            return cls(index)
        with torch.inference_mode():
            columns, order = index.columns, index.order
            rows = replace(Batcher(fitted.inputs, columns, fitted.vectors).batch(order), outcomes=None)
            at_1T, row_1T = torch.from_numpy(columns.event_at_N[order])[None], torch.arange(len(order))[None]
            seen_1T = torch.from_numpy(index.own_seen)[None]
            outcomes = Outcomes(rows, row_1T, seen_1T, at_1T, row_1T, row_1T, at_1T, row_1T[0])
            return cls(index, network, outcomes, tuple(network.eval().remember(outcomes)))

    def ask(self, rows: Batch, at_B: np.ndarray) -> np.ndarray:
        """Logits of the user's candidates at instants, microseconds. Shapes: B rows, (B,) -> (B,), float64."""
        assert self.network is not None and self.outcomes is not None
        place_B, at_1B = torch.arange(len(at_B)), torch.from_numpy(at_B)[None]
        columns, order = self.index.columns, self.index.order
        assert columns.known_at_N is not None
        known_at_T = np.maximum(columns.known_at_N, columns.event_at_N)[order]
        seen_1B = torch.from_numpy(np.searchsorted(known_at_T, at_B))[None]
        asked = replace(
            self.outcomes, asked_GQ=place_B[None], asked_seen_GQ=seen_1B, asked_at_GQ=at_1B, place_B=place_B
        )
        with torch.inference_mode():
            return self.network.ask(replace(rows, outcomes=asked), self.memories).numpy().astype(np.float64)


class Past:
    """From what was gathered for requests to the known outcomes of their users."""

    def __init__(self, online: Online, model: Model):
        self._online, self._model = online, model
        self._required = model.required.of_history(model.contract)
        self._known = OrderedDict[Users, Known]()
        self._n_known = 0

    def __call__(self, requests: Sequence[Request], gathered: Gathered) -> Known:
        """gathered: with the grain `past`."""
        blobs, position = gathered.blobs["past"], gathered.position["past"]
        users = tuple({one.user_id: blobs[at] for one, at in zip(requests, position, strict=True)}.items())
        if users in self._known:
            self._known.move_to_end(users)
            return self._known[users]
        tables = [self._online.past(user, msgpack.decode(blob) if blob else []) for user, blob in users]
        table = pa.concat_tables(tables) if tables else self._online.past("", [])
        table = table.sort_by([("event_at", "ascending"), ("event_id", "ascending")])  # as a mart's rows are
        scenes = self._model.fitted.inputs.scenes
        index = OutcomeIndex(block_columns(table, self._required, scenes, "the state", HISTORY))
        found = Known.of(index, self._model, len(users))
        self._known[users], self._n_known = found, self._n_known + len(table)
        while self._n_known > _MOST and len(self._known) > 1:
            self._n_known -= len(self._known.popitem(last=False)[1].index.columns)
        return found
