"""The known outcomes of a request's users as whole rows, for a run that reads them. A user's are kept for a while."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import pyarrow as pa
from msgspec import msgpack

from trainer.columns.sequences import OutcomeIndex
from trainer.inputs.table import HISTORY, block_columns
from trainer.serving.online.features import Online
from trainer.serving.online.gathered import Gathered
from trainer.serving.online.keys import Request
from trainer.serving.score import Model

_MOST = 200_000  # outcomes that are kept in memory, of all users together

Users = tuple[tuple[str, bytes | None], ...]  # with the list of each one's events


class Past:
    """From what was gathered for requests to the outcomes of their users, encoded for the model."""

    def __init__(self, online: Online, model: Model):
        self._online, self._scenes = online, model.fitted.inputs.scenes
        self._required = model.required.of_history(model.contract)
        self._known = OrderedDict[Users, OutcomeIndex]()
        self._n_known = 0

    def __call__(self, requests: Sequence[Request], gathered: Gathered) -> OutcomeIndex:
        """gathered: with the grain `past`."""
        blobs, position = gathered.blobs["past"], gathered.position["past"]
        users = tuple({one.user_id: blobs[at] for one, at in zip(requests, position, strict=True)}.items())
        if users in self._known:
            self._known.move_to_end(users)
            return self._known[users]
        tables = [self._online.past(user, msgpack.decode(blob) if blob else []) for user, blob in users]
        table = pa.concat_tables(tables) if tables else self._online.past("", [])
        table = table.sort_by([("event_at", "ascending"), ("event_id", "ascending")])  # as a mart's rows are
        found = OutcomeIndex(block_columns(table, self._required, self._scenes, "the state", HISTORY))
        self._known[users], self._n_known = found, self._n_known + len(table)
        while self._n_known > _MOST and len(self._known) > 1:
            self._n_known -= len(self._known.popitem(last=False)[1].columns)
        return found
