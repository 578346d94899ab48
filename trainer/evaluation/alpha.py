"""The gate of models that have one: how much of each row's logit comes from its content."""

from __future__ import annotations

import numpy as np
import torch

from trainer.base.progress import Tick, silent
from trainer.columns.store import Columns
from trainer.inputs.batcher import Batcher
from trainer.training.fitted import Fitted
from trainer.training.loop import PREDICT_BATCH, determinism

_GATE = "alpha_and_content"


def has_gate(fitted: Fitted) -> bool:
    return hasattr(fitted.model, _GATE)


def alphas(fitted: Fitted, columns: Columns, rows_B: np.ndarray, tick: Tick = silent) -> np.ndarray | None:
    """alpha of `logit = (1 - alpha) * structured + alpha * content`, by row; None for a model without a gate.

    A network has a gate when it has a method `alpha_and_content(batch) -> alpha_B in (0, 1), logits_B`.
    Shapes: -> alpha_B, float64.
    """
    if not has_gate(fitted):
        return None
    gate = getattr(fitted.network, _GATE)
    batcher = Batcher(fitted.inputs, columns, fitted.vectors)
    fitted.network.eval()
    out = [np.empty(0)]
    with determinism(fitted.stage.threads), torch.inference_mode():
        for s in range(0, len(rows_B), PREDICT_BATCH):
            out.append(gate(batcher.batch(rows_B[s : s + PREDICT_BATCH]))[0].numpy().astype(np.float64))
            tick(len(out[-1]))
    return np.concatenate(out)
