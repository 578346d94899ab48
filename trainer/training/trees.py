"""Gradient-boosted trees: what they see of the rows, and how they are fitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainer.base.progress import progress, working
from trainer.base.threads import usable
from trainer.columns.store import Columns, evenly_spaced
from trainer.config import GbdtStage
from trainer.contract.schema import Contract
from trainer.inputs.batcher import Batcher
from trainer.inputs.features import UNSEEN, FittedInputs, fit_inputs
from trainer.training.loop import UNCHOSEN, TrainingHistory, can_choose, check_classes

if TYPE_CHECKING:
    from trainer.models.gbdt import GBDT


def fit_trees(
    stage: GbdtStage, contract: Contract, columns: Columns, train_rows: np.ndarray, val_rows: np.ndarray
) -> tuple[FittedInputs, GBDT, TrainingHistory]:
    """Fit inputs and trees on train rows; validation says how many trees are kept."""
    from trainer.models.gbdt import GBDT, Config

    model = stage.model
    assert isinstance(model, Config)
    train_rows = evenly_spaced(train_rows, model.max_train_rows)
    check_classes(columns.label_N[train_rows], f"train rows that max_train_rows ({model.max_train_rows}) leaves")
    with working("Fitting vocabularies and scales"):
        inputs = fit_inputs(
            columns,
            contract.inputs,
            train_rows,
            min_count=stage.inputs.min_count,
            clip=stage.inputs.clip,
            ids=False,
            max_values=model.max_values,
        )
    batcher = Batcher(inputs, columns)
    val_labels = columns.label_N[val_rows]
    if not can_choose(val_labels):
        val_rows, val_labels = val_rows[:0], val_labels[:0]
    with progress() as bar:
        task = bar.add_task(
            "Boosting", total=model.max_iter, note=f"stops after {model.patience} without gain", unit="trees"
        )
        trees, losses = GBDT.fit(
            tree_features(batcher, train_rows),
            columns.label_N[train_rows],
            tree_features(batcher, val_rows),
            val_labels,
            n_categorical=1 + len(inputs.codes),
            seed=stage.seed,
            threads=usable(stage.threads),
            on_iteration=lambda done: bar.update(task, completed=done),
            **model.model_dump(exclude={"kind", "max_values", "max_train_rows"}),
        )
    evaluations = [
        {"step": k, "epoch": k, "train_loss": float(a), "val_log_loss": float(b)}
        for k, (a, b) in enumerate(losses.T, start=1)
    ]
    stopped = (
        f"all iterations; {UNCHOSEN}"
        if not len(val_rows)
        else "all iterations"
        if len(evaluations) == model.max_iter
        else f"validation log_loss did not improve in {model.patience} iterations"
    )
    return inputs, trees, TrainingHistory(evaluations, trees.n_trees, stopped)


def tree_features(batcher: Batcher, rows_B: np.ndarray) -> np.ndarray:
    """What the trees see of rows of a column store. Shapes: -> (B, F), float32, which is the mart's own precision."""
    return as_tree_features(batcher.inputs, batcher.scenes(rows_B), batcher.codes(rows_B), batcher.raw_dense(rows_B))


def as_tree_features(
    inputs: FittedInputs, scene_B: np.ndarray, codes_BF: np.ndarray, dense_BD: np.ndarray
) -> np.ndarray:
    """What the trees see: the scene, the categories, then the numbers that vary in train.

    A category that train doesn't have is NaN, unless rare ones were folded into UNSEEN, which is then a category.
    Shapes: positions of scenes, stand-ins applied, vocabulary indices, float32 -> (B, F), float32; categories are
    0 .. K-1 without gaps.
    """
    present = [k for k, scene in enumerate(inputs.scenes) if scene not in inputs.stand_ins]
    category_BF = codes_BF.astype(np.float32)
    for f, code in enumerate(inputs.codes):
        if not code.has_rest:
            category_BF[:, f] = np.where(codes_BF[:, f] == UNSEEN, np.nan, category_BF[:, f] - 1)
    scene_B1 = np.searchsorted(present, scene_B)[:, None]
    return np.concatenate([scene_B1, category_BF, dense_BD[:, _varies(inputs)]], 1, dtype=np.float32)


def n_tree_features(inputs: FittedInputs) -> int:
    """How many columns `tree_features` makes."""
    return 1 + len(inputs.codes) + int(_varies(inputs).sum())


def _varies(inputs: FittedInputs) -> np.ndarray:
    """Which numbers have more than one value in train. Shapes: -> (D,), bool."""
    return np.array([d.scale > 0 for d in inputs.dense], bool)
