"""Calibration by scene: a temperature, and a shift where it helps, fit on validation after training.

`p = sigmoid(logit / temperature[scene] + shift[scene])`. Temperatures are positive, so the order of rows within a
scene, and with it the scene's AUC, stays as it was; the order across scenes may move.
Source: Guo et al. 2017 (temperature scaling); with a shift it is Platt 1999 scaling, scene by scene.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from trainer.base.files import read_json, write_json
from trainer.base.readable import readable
from trainer.metrics.metrics import log_loss

FILE = "calibration.json"
MIN_CLASS = 30  # clicks and non-clicks a scene needs on validation; with fewer it is left as it is
FOLDS = 5


@dataclass(frozen=True)
class Calibration:
    """temperature, shift by scene; a scene that isn't named is left as it is.

    chosen: what the cross-validation took, of the candidates in cross_validated_log_loss.
    """

    temperature: dict[str, float]
    shift: dict[str, float]
    chosen: str = "none"
    cross_validated_log_loss: dict[str, float | None] = field(default_factory=dict)

    def __call__(self, logits_B: np.ndarray, scene_B: np.ndarray, scenes: tuple[str, ...]) -> np.ndarray:
        """Shapes: logits_B, scene_B positions in scenes -> logits_B, float64."""
        temperature_S = np.array([self.temperature.get(s, 1.0) for s in scenes])
        shift_S = np.array([self.shift.get(s, 0.0) for s in scenes])
        return logits_B / temperature_S[scene_B] + shift_S[scene_B]

    def save(self, folder: Path) -> None:
        write_json(folder / FILE, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> Calibration | None:
        """What `save` wrote; None for a run without calibration."""
        path = folder / FILE
        with readable(folder):
            return cls(**read_json(path)) if path.exists() else None


@threadpool_limits.wrap(limits=1, user_api="blas")  # NumPy takes as many as there are cores, and sums in their order
def fit_calibration(
    logits_B: np.ndarray, label_B: np.ndarray, scene_B: np.ndarray, user_B: np.ndarray, scenes: tuple[str, ...]
) -> Calibration:
    """Fit on validation rows, the form chosen by cross-validated log loss over folds of users.

    The candidates are nothing, a temperature a scene, and a temperature and a shift a scene: whichever predicts users
    best that it wasn't fit on. Shapes: (B,) each.
    """
    fold_B = np.unique(user_B, return_inverse=True)[1] % FOLDS
    loss: dict[str, float | None] = {"none": log_loss(label_B, _sigmoid(logits_B))}
    for name, with_shift in (("temperature", False), ("temperature and shift", True)):
        held_out_B = np.array(logits_B, np.float64)
        for fold in range(FOLDS):
            own = fold_B == fold
            fitted = _fit(logits_B[~own], label_B[~own], scene_B[~own], scenes, with_shift)
            held_out_B[own] = fitted(logits_B[own], scene_B[own], scenes)
        loss[name] = log_loss(label_B, _sigmoid(held_out_B))
    known = {name: value for name, value in loss.items() if value is not None}
    chosen = min(known, key=lambda name: known[name], default="none")
    found = (
        Calibration({}, {})
        if chosen == "none"
        else _fit(logits_B, label_B, scene_B, scenes, chosen == "temperature and shift")
    )
    return replace(found, chosen=chosen, cross_validated_log_loss=loss)


def _fit(
    logits_B: np.ndarray, label_B: np.ndarray, scene_B: np.ndarray, scenes: tuple[str, ...], with_shift: bool
) -> Calibration:
    from sklearn.linear_model import LogisticRegression  # here: who doesn't calibrate need not hold it in memory

    temperature, shift = {}, {}
    for s, scene in enumerate(scenes):
        in_B = scene_B == s
        n_pos = int(label_B[in_B].sum())
        if min(n_pos, int(in_B.sum()) - n_pos) < MIN_CLASS:
            continue
        # A logistic regression on the logit alone; without a penalty worth the name, so that 1/T may be anything.
        line = LogisticRegression(C=1e6, fit_intercept=with_shift).fit(logits_B[in_B, None], label_B[in_B])
        slope = float(line.coef_[0, 0])
        if slope <= 0:  # the model orders this scene the wrong way round; turning it over isn't calibration's business
            continue
        temperature[scene] = 1 / slope
        if with_shift:
            shift[scene] = float(line.intercept_[0])
    return Calibration(temperature, shift)


def _sigmoid(z_B: np.ndarray) -> np.ndarray:
    return np.where(z_B >= 0, 1 / (1 + np.exp(-np.abs(z_B))), np.exp(-np.abs(z_B)) / (1 + np.exp(-np.abs(z_B))))
