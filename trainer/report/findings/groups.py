"""The runs of a page by stage: seeds of one stage on one mart count as one, and only runs on the same rows compare."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from trainer.base.errors import TrainerError
from trainer.config import Stage, load_stage
from trainer.evaluation.held_out import HeldOut, check_same_rows
from trainer.evaluation.paired import Estimate, auc_of, interval
from trainer.training.placebo import is_placebo, reads_texts


@dataclass(frozen=True)
class Group:
    """Runs of one stage on one mart, a seed each. runs: as read_run gives them; held: their test rows."""

    name: str
    stage: Stage
    mart: str
    runs: tuple[dict[str, Any], ...]
    held: tuple[HeldOut, ...]

    @property
    def kind(self) -> str:
        return self.stage.model.kind

    @property
    def placebo(self) -> bool:
        return is_placebo(self.stage)

    @property
    def texts(self) -> bool:
        return reads_texts(self.stage)

    @property
    def rows(self) -> HeldOut:
        return self.held[0]

    @property
    def validation(self) -> float | None:
        """Mean validation AUC, by which the best is chosen; None where it is undefined."""
        found = [run["metrics"]["splits"]["val"]["auc"] for run in self.runs]
        return float(np.mean(found)) if None not in found else None

    @cached_property
    def auc(self) -> Estimate | None:
        return self.auc_in(np.ones(len(self.rows.label_B), bool))

    def auc_in(self, in_B: np.ndarray) -> Estimate | None:
        return auc_of(self.held, in_B, self.stage.evaluation.min_class)

    def minus(self, other: Group, in_B: np.ndarray | None = None, family: int = 1) -> dict[str, Any] | None:
        """The difference in AUC to another group, over all test rows or some; None where those have no AUC."""
        one, two = (g.auc if in_B is None else g.auc_in(in_B) for g in (self, other))
        return None if one is None or two is None else interval(one.minus(two), self.rows, family)


def stage_of(run: dict[str, Any]) -> Stage | None:
    """None for a stage that this version no longer reads: its run is shown, and no sentence is about it."""
    with suppress(TrainerError):
        return load_stage(run["folder"] / "config.yaml")
    return None


def essence(stage: Stage, **replaced: Any) -> str:
    """The stage without what a repetition may change."""
    return stage.model_copy(update={"seed": 0, "threads": 0} | replaced).model_dump_json()


def groups_of(loaded: list[dict[str, Any]]) -> tuple[list[Group], list[str]]:
    """The runs that can be compared, by stage and mart; and the names of those that can't, with why."""
    found: dict[tuple[str, str], Group] = {}
    left_out = []
    for run in loaded:
        stage, held = stage_of(run), run["held"]
        if stage is None or held is None or (found and not _same_rows(next(iter(found.values())).rows, held)):
            left_out.append(run["name"])
            continue
        key = run["dataset"]["mart"], essence(stage)
        if key not in found:
            found[key] = Group(run["name"], stage, key[0], (run,), (held,))
        else:
            one = found[key]
            found[key] = replace(one, name=run["metrics"]["stage"], runs=(*one.runs, run), held=(*one.held, held))
    return _named(list(found.values())), left_out


def _same_rows(one: HeldOut, other: HeldOut) -> bool:
    try:
        check_same_rows(one, other)
    except TrainerError:
        return False
    return True


def _named(groups: list[Group]) -> list[Group]:
    """Two groups with one name are told apart by their marts, or by the names of their first runs."""
    names = [g.name for g in groups]
    by_mart = [
        f"{g.name} on {g.mart.removeprefix('training_examples_')}" if names.count(g.name) > 1 else g.name
        for g in groups
    ]
    return [
        replace(g, name=name if by_mart.count(name) == 1 else g.runs[0]["name"])
        for g, name in zip(groups, by_mart, strict=True)
    ]


def best_of(groups: list[Group]) -> Group | None:
    """The best on validation of those whose test rows have an AUC; the first of them where validation has none."""

    def rank(group: Group) -> float:
        return -1.0 if group.validation is None else group.validation

    return max((g for g in groups if g.auc is not None), key=rank, default=None)
