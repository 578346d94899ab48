"""From requests to probabilities: features by the state, then the model of a run. Whatever serves scores here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from trainer.base.errors import TrainerError
from trainer.serving.online.event_rows import EventRows
from trainer.serving.online.features import Online, requests_of
from trainer.serving.online.fits import check_fits
from trainer.serving.online.past import Past
from trainer.serving.online.predictor import Predictor
from trainer.serving.online.state import State
from trainer.serving.online.stores import Store
from trainer.serving.score import Model


@dataclass(frozen=True)
class Scored:
    """probability_B: (B,) float64. features: what the model read, as the mart has it; B rows. clock: the state's."""

    probability_B: np.ndarray
    clock: int | None
    _features: Callable[[], pa.Table]

    @property
    def features(self) -> pa.Table:
        return self._features()


class Scorer:
    """A state and the model of a finished run.

    Raises: TrainerError where the run reads a column that can't be served, or was fitted on another mart.
    """

    def __init__(self, store: Store, run: Path, vectors: Path | None = None):
        self.model = Model.load(run, vectors)
        settings = State(store).settings
        check_fits(run, self.model.fitted.inputs.scenes, settings)
        if self.model.fitted.inputs.window and not settings.rows:
            raise TrainerError(
                f"{run} reads its users' outcomes as whole rows, which this state doesn't keep. Build one that does in "
                "another place: `trainer state build --rows`."
            )
        self.online = Online(store, self.model.required.names)
        for name, reason in self.online.batch_only.items():
            raise TrainerError(f"{run} reads {name}: batch only, {reason}.")
        torch.set_num_threads(1)  # in this process: for rows this few, threads cost more than they save
        self._predict = Predictor(self.model, run)
        self._past = Past(self.online, self.model) if self.model.fitted.inputs.window else None

    def score(self, events: pa.Table | EventRows) -> Scored:
        """Score requests, which have the columns of `stg_events`. Shapes: B rows -> B rows."""
        events = EventRows.of(events)
        requests = requests_of(events)
        gathered = self.online.gather(requests, *(["past"] if self._past else []))
        computed = self.online.compute(events, gathered)
        past = self._past(requests, gathered) if self._past else None
        return Scored(
            self._predict(computed, events, past), gathered.clock, lambda: self._predict.table(computed, events)
        )
