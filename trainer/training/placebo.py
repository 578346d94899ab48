"""Texts shuffled on purpose: every text gets the vector of another of its kind, so what texts gain must vanish.

A placebo run keeps everything of a text stage (inputs, parameters, how often a text recurs) but the meaning. Its
config says `placebo: texts`, and nothing but comparing it is allowed: it neither scores nor exports.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from trainer.base.errors import TrainerError
from trainer.columns.store import Columns
from trainer.config import GbdtStage, NetworkStage, Stage
from trainer.inputs.text import texts_of_rows
from trainer.inputs.vectors import HISTORY


def is_placebo(stage: Stage) -> bool:
    return isinstance(stage, NetworkStage) and stage.placebo is not None


def label(stage: Stage) -> str:
    """The stage's name as results show it, so that a placebo is never taken for the real one."""
    return f"{stage.stage} (texts shuffled)" if is_placebo(stage) else stage.stage


def reads_texts(stage: Stage) -> bool:
    return stage.inputs.texts is not None or stage.inputs.llm is not None


def as_placebo(stage: Stage) -> Stage:
    """The stage with shuffled texts. Raises: TrainerError for a stage that reads none."""
    if isinstance(stage, GbdtStage) or not reads_texts(stage):
        raise TrainerError(f"{stage.stage} reads no texts, so there is nothing to shuffle. Take a text stage.")
    return stage.model_copy(update={"placebo": "texts"})


def refuse_placebo(stage: Stage, what: str) -> None:
    """Raises: TrainerError for a placebo run."""
    if is_placebo(stage):
        raise TrainerError(
            f"This run's texts were shuffled on purpose (placebo: texts), so it can't {what}. Train the stage "
            "without --placebo."
        )


def seen_by(stage: Stage, columns: Columns) -> Columns:
    """The columns as the stage sees them: themselves, or with texts shuffled among those that the same columns hold.

    Texts of train rows stay among themselves: a space made from them may have no vector for the others. The seed of the
    stage decides the order, so evaluating the run again shuffles them the same way.
    """
    if not is_placebo(stage):
        return columns
    kind_K = np.zeros(len(columns.text_ids) + 1, np.int64)
    every = [*(c.name for c in columns.texts), HISTORY]
    for k, codes in enumerate(texts_of_rows(columns, every, np.arange(len(columns))).values()):
        kind_K[codes] |= 1 << k
    for codes in texts_of_rows(columns, every, columns.rows("train")).values():
        kind_K[codes] |= 1 << len(every)
    ids = np.array(columns.text_ids, object)
    generator = np.random.default_rng([stage.seed, 0x9ACEB0])
    shuffled = ids.copy()
    for kind in np.unique(kind_K[1:]):
        at = np.flatnonzero(kind_K[1:] == kind)
        shuffled[at] = ids[generator.permutation(at)]
    out = replace(columns)
    vars(out)["text_ids"] = shuffled.tolist()  # in place of what the property would read
    return out
