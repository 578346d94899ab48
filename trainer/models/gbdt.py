"""00_gbdt: histogram gradient boosting on the declared features, without ids. The baseline to beat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from trainer.base.errors import TrainerError
from trainer.models.keys import ModelConfig

if TYPE_CHECKING:
    import lightgbm

_OLD = "nodes.value"  # an array of runs whose trees were scikit-learn's
_CATEGORICAL = 1  # the bit of decision_type that marks a split by a set of categories


class Config(ModelConfig):
    """Gradient-boosted trees, by LightGBM."""

    learning_rate: Annotated[float, Field(gt=0, le=1, description="What each tree is multiplied by.")]
    max_iter: Annotated[int, Field(ge=1, description="Trees at most.")]
    max_leaf_nodes: Annotated[int, Field(ge=2, description="Leaves of a tree at most.")]
    min_samples_leaf: Annotated[int, Field(ge=1, description="Rows in a leaf at least.")]
    l2_regularization: Annotated[float, Field(ge=0, description="Penalty on the values of the leaves.")]
    max_features: Annotated[float, Field(gt=0, le=1, description="Share of the features that a split may choose from.")]
    patience: Annotated[int, Field(ge=1, description="Trees without a better validation log loss before stopping.")]
    max_values: Annotated[
        int,
        Field(
            ge=1,
            le=253,
            description="Categories kept a feature, the most frequent ones; the rest is one more (255 bins in all).",
        ),
    ]
    max_train_rows: Annotated[
        int,
        Field(ge=1, description="Beyond it, training uses an even sample (all rows are held as float32 at once)."),
    ]


@dataclass(frozen=True)
class GBDT:
    """LightGBM's trees as plain arrays, so that a saved model is data: checked before compiled code sees any of it.

    Legend: C splits by categories, I inner nodes, L leaves, T trees, W words of bits; all trees' nodes end to end.
    n_leaves_T: leaves per tree; a tree has one inner node fewer. left_I, right_I: an inner node of the same tree, or
    -1 - k for its leaf k. threshold_I: rows at or below it go left; for a split by categories, which of the tree's sets
    of categories goes left. set_starts: where each set's bits begin in set_bits_W, for each tree from 0.
    Source: Ke et al. 2017.
    """

    n_features: np.ndarray
    n_leaves_T: np.ndarray
    split_feature_I: np.ndarray
    threshold_I: np.ndarray
    decision_type_I: np.ndarray
    left_I: np.ndarray
    right_I: np.ndarray
    leaf_value_L: np.ndarray
    n_sets_T: np.ndarray
    set_starts: np.ndarray
    set_bits_W: np.ndarray

    @classmethod
    def fit(
        cls,
        x_BF: np.ndarray,
        y_B: np.ndarray,
        x_val_BF: np.ndarray,
        y_val_B: np.ndarray,
        *,
        n_categorical: int,
        seed: int,
        threads: int,
        patience: int,
        on_iteration: Callable[[int], None],
        max_iter: int,
        learning_rate: float,
        max_leaf_nodes: int,
        min_samples_leaf: int,
        l2_regularization: float,
        max_features: float,
    ) -> tuple[GBDT, np.ndarray]:
        """Boost until the validation log loss hasn't improved for `patience` iterations, and keep the best ones.

        Shapes: x_BF, x_val_BF float32 or float64, NaN for missing; the first `n_categorical` columns hold categories,
        numbered from 0. -> the trees, and the train and validation log loss per iteration, (2, iterations).
        Without validation rows all `max_iter` iterations are made and kept, and there is no loss. `on_iteration` is
        called with the number of iterations done.
        """
        lightgbm = _lightgbm()
        parameters = {
            "objective": "binary",
            "metric": "binary_logloss",
            "learning_rate": learning_rate,
            "num_leaves": max_leaf_nodes,
            "min_data_in_leaf": min_samples_leaf,
            "lambda_l2": l2_regularization,
            "feature_fraction_bynode": max_features,
            "max_bin": 255,
            "seed": seed,
            "num_threads": threads,
            # Sums in one order: the same trees on any number of threads.
            "deterministic": True,
            "force_col_wise": True,
            "verbosity": -1,
        }
        train = lightgbm.Dataset(x_BF, y_B, categorical_feature=list(range(n_categorical)), params=parameters)
        loss: dict[str, Any] = {}
        callbacks = [lambda env: on_iteration(env.iteration + 1), lightgbm.record_evaluation(loss)]
        sets = {"train": train}
        if len(y_val_B):
            sets["val"] = train.create_valid(x_val_BF, y_val_B)
            callbacks.append(lightgbm.early_stopping(patience, verbose=False))
        booster = lightgbm.train(
            parameters, train, max_iter, valid_sets=list(sets.values()), valid_names=list(sets), callbacks=callbacks
        )
        best = booster.best_iteration if "val" in sets else booster.current_iteration()
        losses = [loss[name]["binary_logloss"] for name in ("train", "val")] if "val" in sets else [[], []]
        return _read(booster.model_to_string(num_iteration=best)), np.array(losses)

    def predict(self, x_BF: np.ndarray, threads: int) -> np.ndarray:
        """Shapes: x_BF float32 or float64 -> logits_B, float64."""
        return np.asarray(self._booster.predict(x_BF, raw_score=True, num_threads=threads))

    @property
    def n_trees(self) -> int:
        return len(self.n_leaves_T)

    @property
    def n_nodes(self) -> int:
        return len(self.split_feature_I) + len(self.leaf_value_L)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The model as named arrays."""
        return {field.name: np.ascontiguousarray(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> GBDT:
        """The inverse of `to_arrays`. Raises: ValueError for arrays that don't describe trees."""
        if _OLD in arrays:
            raise ValueError("its trees are of an older trainer, whose format is no longer read")
        model = cls(**arrays)
        model._check()
        try:
            _ = model._booster
        except _lightgbm().basic.LightGBMError as error:
            raise ValueError(f"LightGBM doesn't take the trees: {error}") from None
        return model

    @cached_property
    def _booster(self) -> lightgbm.Booster:
        """LightGBM's own predictor, from text that is written here out of checked numbers."""
        return _lightgbm().Booster(model_str="\n".join(self._lines()))

    def _lines(self) -> list[str]:
        """The model in LightGBM's text format, with what its predictor needs."""
        n = int(self.n_features[0])
        lines = [
            "tree",
            "version=v4",
            "num_class=1",
            "num_tree_per_iteration=1",
            "label_index=0",
            f"max_feature_idx={n - 1}",
            "objective=binary sigmoid:1",
            "feature_names=" + " ".join(f"f{k}" for k in range(n)),
            "feature_infos=" + " ".join(["none"] * n),
            "",
        ]
        for tree, (inner, leaves, starts, bits) in enumerate(self._trees()):
            lines += [f"Tree={tree}", f"num_leaves={self.n_leaves_T[tree]}", f"num_cat={self.n_sets_T[tree]}"]
            for name, array in (
                ("split_feature", self.split_feature_I[inner]),
                ("threshold", self.threshold_I[inner]),
                ("decision_type", self.decision_type_I[inner]),
                ("left_child", self.left_I[inner]),
                ("right_child", self.right_I[inner]),
                ("leaf_value", self.leaf_value_L[leaves]),
                ("cat_boundaries", self.set_starts[starts]),
                ("cat_threshold", self.set_bits_W[bits]),
            ):
                if len(array):
                    lines.append(f"{name}={' '.join(map(repr, array.tolist()))}")
            lines += ["is_linear=0", "shrinkage=1", "", ""]
        return [*lines, "end of trees", ""]

    def _trees(self) -> list[tuple[slice, ...]]:
        """Where each tree's inner nodes, leaves, starts of sets and bits of sets lie."""
        n_starts = np.where(self.n_sets_T > 0, self.n_sets_T + 1, 0)
        ends = np.cumsum(n_starts)
        n_bits = np.array([self.set_starts[e - 1] if n else 0 for e, n in zip(ends, n_starts, strict=True)], np.int64)
        return list(zip(*map(_slices, (self.n_leaves_T - 1, self.n_leaves_T, n_starts, n_bits)), strict=True))

    def _check(self) -> None:
        """Raise ValueError unless these are trees, each path of which ends at a leaf. A damaged file stops here."""
        for name, (dtype, _) in _FIELDS.items():
            if getattr(self, name).dtype != dtype or getattr(self, name).ndim != 1:
                raise ValueError(f"the array {name} is {getattr(self, name).dtype}; expected {dtype} in one dimension")
        _expect(len(self.n_features) == 1 and 1 <= self.n_features[0] <= _MOST_FEATURES, "the number of features")
        _expect(len(self.n_sets_T) == self.n_trees > 0, "the number of trees")
        for sizes_T, least, most in (
            (self.n_leaves_T, 1, len(self.leaf_value_L)),
            (self.n_sets_T, 0, len(self.set_starts)),
        ):
            _expect(((sizes_T >= least) & (sizes_T <= most)).all(), "the size of a tree")
        inner_T = self.n_leaves_T - 1
        n_inner = int(inner_T.sum())
        per_inner = (self.split_feature_I, self.threshold_I, self.decision_type_I, self.left_I, self.right_I)
        _expect(all(len(array) == n_inner for array in per_inner), "the size of a tree")
        _expect(len(self.leaf_value_L) == n_inner + self.n_trees, "the size of a tree")
        _expect(len(self.set_starts) == int((self.n_sets_T + (self.n_sets_T > 0)).sum()), "the sets of categories")
        _expect(np.isfinite(self.leaf_value_L).all(), "the value of a leaf")
        _expect(not np.isnan(self.threshold_I).any(), "a threshold")  # infinite: all numbers against missing ones
        _expect(((self.split_feature_I >= 0) & (self.split_feature_I < self.n_features[0])).all(), "a feature's number")
        _expect(((self.decision_type_I >= 0) & (self.decision_type_I < 16)).all(), "the type of a split")
        size_I = np.repeat(inner_T, inner_T)
        at_I = np.arange(n_inner) - np.repeat(np.cumsum(inner_T) - inner_T, inner_T)
        for child_I in (self.left_I, self.right_I):
            # LightGBM numbers a node after its parent, so a path can't come back.
            inside = np.where(child_I >= 0, (child_I > at_I) & (child_I < size_I), child_I >= -1 - size_I)
            _expect(inside.all(), "a node points outside its tree")
        by_set_I = self.decision_type_I % 2 == _CATEGORICAL
        sets_I = np.repeat(self.n_sets_T, inner_T)[by_set_I]
        index_I = self.threshold_I[by_set_I]
        _expect(((index_I >= 0) & (index_I < sets_I) & (index_I == np.floor(index_I))).all(), "a set of categories")
        used = 0
        for starts in np.split(self.set_starts, np.cumsum(self.n_sets_T + (self.n_sets_T > 0))[:-1]):
            if len(starts):
                _expect(starts[0] == 0 and (np.diff(starts) >= 0).all(), "the sets of categories")
                used += int(starts[-1])
        _expect(used == len(self.set_bits_W), "the sets of categories")


# Each array's type, and its key in LightGBM's text where it has one there.
_FIELDS: dict[str, tuple[np.dtype, str]] = {
    "n_features": (np.dtype(np.int64), ""),
    "n_leaves_T": (np.dtype(np.int64), "num_leaves"),
    "split_feature_I": (np.dtype(np.int64), "split_feature"),
    "threshold_I": (np.dtype(np.float64), "threshold"),
    "decision_type_I": (np.dtype(np.int64), "decision_type"),
    "left_I": (np.dtype(np.int64), "left_child"),
    "right_I": (np.dtype(np.int64), "right_child"),
    "leaf_value_L": (np.dtype(np.float64), "leaf_value"),
    "n_sets_T": (np.dtype(np.int64), "num_cat"),
    "set_starts": (np.dtype(np.int64), "cat_boundaries"),
    "set_bits_W": (np.dtype(np.uint32), "cat_threshold"),
}
_MOST_FEATURES = 100_000


def _read(text: str) -> GBDT:
    """The arrays of a model that LightGBM wrote."""
    head, *trees = text.split("\nend of trees")[0].split("\nTree=")
    values = [dict(line.split("=", 1) for line in tree.splitlines() if "=" in line) for tree in trees]
    n_features = 1 + int(dict(line.split("=", 1) for line in head.splitlines() if "=" in line)["max_feature_idx"])
    arrays = {
        name: np.array([word for tree in values for word in tree.get(key, "").split()], dtype=str).astype(dtype)
        for name, (dtype, key) in _FIELDS.items()
        if key
    }
    model = GBDT(n_features=np.array([n_features]), **arrays)
    model._check()
    return model


def _lightgbm() -> ModuleType:
    """LightGBM, which only a run of trees pays for. Raises: TrainerError where it can't be loaded."""
    try:
        import lightgbm
    except (ImportError, OSError) as error:  # OSError: minimal images lack the OpenMP library that its wheel expects
        raise TrainerError(
            f"Trees need LightGBM, which can't be loaded here ({error}). Run `pip install lightgbm`; "
            "where libgomp.so.1 is missing, install it (`apt-get install libgomp1` on Debian)."
        ) from None
    return lightgbm


def _slices(lengths: np.ndarray) -> list[slice]:
    ends = np.cumsum(lengths)
    return [slice(int(end - length), int(end)) for length, end in zip(lengths, ends, strict=True)]


def _expect(holds: bool | np.bool, what: str) -> None:
    if not holds:
        raise ValueError(f"the trees can't be right: {what}")
