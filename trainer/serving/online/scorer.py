"""From requests to probabilities: features by the state, then the model of a run. Whatever serves scores here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from trainer.base.errors import TrainerError
from trainer.serving.online.features import Online
from trainer.serving.score import Model


@dataclass(frozen=True)
class Scored:
    """probability_B: (B,) float64. features: what the model read, as the mart has it; B rows."""

    probability_B: np.ndarray
    features: pa.Table


class Scorer:
    """A state and the model of a finished run.

    Raises: TrainerError where the run reads a column that can't be served, or was fitted on another mart.
    """

    def __init__(self, online: Online, run: Path, vectors: Path | None = None):
        self.online, self.model = online, Model.load(run, vectors)
        if self.model.fitted.inputs.window:
            raise TrainerError(
                f"{run} reads its users' outcomes as whole rows, which a state doesn't keep. Score it with "
                "`trainer score --history`."
            )
        for name in self.model.required.names:
            if name in online.batch_only:
                raise TrainerError(f"{run} reads {name}: batch only, {online.batch_only[name]}.")

    def score(self, events: pa.Table) -> Scored:
        """Score requests, which have the columns of `stg_events`. Shapes: B rows -> B rows."""
        features = self.online.features(events)
        known = {name: events[name] for name in ("user_id", "item_id") if name not in features.column_names}
        for name, values in known.items():
            features = features.append_column(name, values)
        features = features.select(self.model.required.names)
        return Scored(self.model.probabilities(features, "the request"), features)
