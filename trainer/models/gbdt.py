"""00_gbdt: histogram gradient boosting on the declared features, without ids. The baseline to beat."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from threadpoolctl import threadpool_limits


@dataclass(frozen=True)
class GBDT:
    """Boosted trees as plain arrays, so that a saved model is data and loading it runs no code of the file's.

    Legend: B rows, C categorical features, F features (the categorical ones first), T trees.
    nodes: all trees' nodes end to end, scikit-learn's record type; node_starts_T, bitset_starts_T: where a tree begins.
    Source: Ke et al. 2017 as scikit-learn has it. `loss` holds train and validation log loss by iteration.
    """

    baseline: float
    nodes: np.ndarray
    node_starts_T: np.ndarray
    bitsets: np.ndarray
    bitset_starts_T: np.ndarray
    known_bitsets: np.ndarray
    feature_map_F: np.ndarray
    loss: np.ndarray

    @classmethod
    def fit(
        cls, x_BF: np.ndarray, y_B: np.ndarray, x_val_BF: np.ndarray, y_val_B: np.ndarray, *, n_categorical: int,
        seed: int, threads: int, patience: int, on_iteration: Callable[[int], None], **parameters: float | int,
    ) -> GBDT:  # fmt: skip
        """Boost until the validation log loss hasn't improved for `patience` iterations, and keep the best ones.

        Shapes: x_BF, x_val_BF float64, NaN for missing; categories are 0 .. K-1, all of which occur in x_BF.
        Without validation rows all `max_iter` iterations are made and kept. `on_iteration` hears how many are done.
        """
        stops = len(y_val_B) > 0
        model = HistGradientBoostingClassifier(
            categorical_features=list(range(n_categorical)), random_state=seed, early_stopping=stops, scoring="loss",
            n_iter_no_change=patience, verbose=2, **parameters,
        )  # fmt: skip
        with threadpool_limits(threads), redirect_stdout(_Iterations(on_iteration)):
            model.fit(x_BF, y_B, **({"X_val": x_val_BF, "y_val": y_val_B} if stops else {}))
        # Iteration 0 of the scores is the baseline alone.
        best = int(np.argmax(model.validation_score_)) if stops else model.n_iter_
        trees = [trees[0] for trees in model._predictors[:best]]
        known_bitsets, feature_map_F = model._bin_mapper.make_known_categories_bitsets()
        loss = (
            np.stack([-np.asarray(model.train_score_), -np.asarray(model.validation_score_)])
            if stops
            else np.empty((2, 0))
        )
        bitsets = [t.raw_left_cat_bitsets for t in trees]
        return cls(
            float(model._baseline_prediction[0, 0]),
            np.concatenate([np.empty(0, PREDICTOR_RECORD_DTYPE), *(t.nodes for t in trees)]),
            _starts([len(t.nodes) for t in trees]),
            np.concatenate([np.empty((0, 8), np.uint32), *bitsets]),
            _starts([len(b) for b in bitsets]),
            known_bitsets, feature_map_F, loss,
        )  # fmt: skip

    def predict(self, x_BF: np.ndarray, threads: int) -> np.ndarray:
        """Shapes: x_BF float64 -> logits_B, float64."""
        logits_B = np.full(len(x_BF), self.baseline)
        for t in range(len(self.node_starts_T) - 1):
            nodes = self.nodes[self.node_starts_T[t] : self.node_starts_T[t + 1]]
            bitsets = self.bitsets[self.bitset_starts_T[t] : self.bitset_starts_T[t + 1]]
            # The unpacked loop of scikit-learn's own predict; a test holds the two equal.
            logits_B += TreePredictor(nodes, bitsets, bitsets).predict(
                x_BF, self.known_bitsets, self.feature_map_F, threads
            )
        return logits_B

    @property
    def n_trees(self) -> int:
        return len(self.node_starts_T) - 1

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The model as named arrays, one a node field."""
        arrays = {f"nodes.{name}": np.ascontiguousarray(self.nodes[name]) for name in PREDICTOR_RECORD_DTYPE.names}
        return arrays | {
            "baseline": np.array([self.baseline]), "node_starts": self.node_starts_T, "bitsets": self.bitsets,
            "bitset_starts": self.bitset_starts_T, "known_bitsets": self.known_bitsets,
            "feature_map": self.feature_map_F, "loss": self.loss,
        }  # fmt: skip

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> GBDT:
        """The inverse of `to_arrays`. Raises: ValueError where a node points outside its tree."""
        nodes = np.empty(len(arrays["nodes.value"]), PREDICTOR_RECORD_DTYPE)
        for name in PREDICTOR_RECORD_DTYPE.names:
            nodes[name] = arrays[f"nodes.{name}"]
        starts = arrays["node_starts"]
        # The predictor is compiled code that trusts its indices; a damaged file must not reach it.
        size_of = np.repeat(np.diff(starts), np.diff(starts))
        inner = nodes["is_leaf"] == 0
        if (np.maximum(nodes["left"], nodes["right"])[inner] >= size_of[inner]).any() or (
            nodes["feature_idx"][inner] >= len(arrays["feature_map"])
        ).any():
            raise ValueError("a tree node points outside its tree")
        return cls(
            float(arrays["baseline"][0]), nodes, starts, arrays["bitsets"], arrays["bitset_starts"],
            arrays["known_bitsets"], arrays["feature_map"], arrays["loss"],
        )  # fmt: skip


class _Iterations(io.TextIOBase):
    """Takes what scikit-learn prints while it boosts, which is its only sign of life: `[12/500] 1 tree, ...`."""

    def __init__(self, on_iteration: Callable[[int], None]):
        self.on_iteration = on_iteration

    def write(self, text: str) -> int:
        if match := re.match(r"\[(\d+)/\d+\]", text):
            self.on_iteration(int(match[1]))
        return len(text)


def _starts(lengths: list[int]) -> np.ndarray:
    return np.cumsum([0, *lengths]).astype(np.int64)
