"""Permutation importance: what a run's validation AUC loses when an input's values are shuffled among rows.

Source: Breiman 2001, for a whole group of inputs at once too (one permutation for all of them). Nothing is refitted.
Legend: B sampled rows, P rows of a part of the sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from storage.places import recorded
from trainer.base.errors import TrainerError
from trainer.base.files import read_json
from trainer.base.progress import progress
from trainer.base.readable import readable
from trainer.base.threads import usable
from trainer.columns.build import open_columns
from trainer.columns.ragged import Lists
from trainer.columns.sequences import OutcomeIndex
from trainer.columns.store import ARRAYS, Columns, History, TextColumn
from trainer.config import load_stage
from trainer.contract.read import read_contract
from trainer.evaluation.calibration import Calibration
from trainer.evaluation.importance_file import write_importance
from trainer.inputs.features import FittedInputs
from trainer.metrics.metrics import MIN_CLASS, auc, too_small
from trainer.run.integrity import check_finished
from trainer.run.provenance import vectors_of
from trainer.training.distributed import device
from trainer.training.fitted import Fitted
from trainer.training.loop import determinism
from trainer.training.placebo import seen_by

PART_ROWS = 4_000  # fewer rows say little about an input
Shuffle = Callable[[Columns, np.ndarray], Columns]


@dataclass(frozen=True)
class Permutable:
    """Something that can be permuted by itself: an input's name, its groups, and how."""

    name: str
    groups: tuple[str, ...]
    shuffle: Shuffle


def run_importance(
    run: Path,
    *,
    rows: int = 20_000,
    repeats: int = 3,
    seed: int = 0,
    marts: Path | None = None,
    mart: str | None = None,
    vectors: Path | None = None,
) -> list[dict[str, Any]]:
    """Measure on (a sample of) validation rows, and write importance.csv into the run.

    Returns dicts of importance_file.FIELDS, the most telling first, inputs before groups.
    Raises: TrainerError where validation can't tell (no rows, one class only, or few of one).
    """
    check_finished(run)
    stage = load_stage(run / "config.yaml")
    with readable(run):
        came_from = read_json(run / "lineage.json")
        trained_on, of_mart = recorded(came_from["marts"]), came_from["mart"]
    contract = read_contract(marts or trained_on, mart or (None if marts else of_mart))
    columns = seen_by(stage, open_columns(contract))
    fitted = Fitted.load(run, stage, vectors or vectors_of(run))
    val = columns.rows("val")
    if len(val) > rows:
        val = np.sort(np.random.default_rng(seed).choice(val, rows, replace=False))
    sample, outcomes = taken(columns, val), OutcomeIndex(columns) if fitted.inputs.window else None
    by_scene = {
        i.name: i.column for i in contract.inputs if i.position >= 0 and contract.column(i.column).names == "scenes"
    }
    singles = permutables(fitted.inputs, sample, by_scene)
    found = importances(fitted, Calibration.load(run), sample, singles, repeats, seed, outcomes)
    write_importance(run, found)
    return found


def importances(
    fitted: Fitted,
    calibration: Calibration | None,
    sample: Columns,
    singles: list[Permutable],
    repeats: int,
    seed: int,
    outcomes: OutcomeIndex | None = None,
) -> list[dict[str, Any]]:
    """The drop in AUC for each input and each group: its mean over the parts of the sample, permuted one by one.

    The parts and the permutations depend on the seed alone. outcomes: of the users, for a model that reads them.
    """
    if small := too_small(sample.label_N):
        raise TrainerError(f"The validation rows measured have no AUC that could drop: {small}.")
    scores_B = _scores(fitted, calibration, sample, outcomes)
    whole = auc(sample.label_N, scores_B)
    parts = [
        (part, auc(part.label_N, scores_B[rows_P]) or 0.0)
        for rows_P in parts_of(sample.label_N, repeats, seed)
        for part in [taken(sample, rows_P)]
    ]
    groups = sorted({group for one in singles for group in one.groups})
    tasks = [("feature", one.name, "+".join(one.groups), [one]) for one in singles]
    tasks += [("group", group, group, [one for one in singles if group in one.groups]) for group in groups]
    # A thread for each of several inputs uses cores that threads within a forward pass of some thousand rows don't.
    threads = usable(fitted.stage.threads) if device().type == "cpu" else 1
    single = replace(fitted, stage=fitted.stage.model_copy(update={"threads": 1}))

    def dropped(k: int) -> list[float]:
        drops = []
        for repeat, (part, before) in enumerate(parts):
            order_P = np.random.default_rng([seed, k, repeat]).permutation(len(part))
            shuffled = part
            for one in tasks[k][3]:
                shuffled = one.shuffle(shuffled, order_P)
            drops.append(before - (auc(part.label_N, _scores(single, calibration, shuffled, outcomes)) or 0.0))
        return drops

    out = []
    with determinism(threads), ThreadPoolExecutor(threads) as pool, progress() as bar:
        task = bar.add_task("Permuting", total=len(tasks), note="", unit="inputs")
        for (what, name, group, _), drops in zip(tasks, pool.map(dropped, range(len(tasks))), strict=True):
            out.append(
                {
                    "what": what,
                    "name": name,
                    "group": group,
                    "drop": float(np.mean(drops)),
                    "sd": float(np.std(drops, ddof=1)) if repeats > 1 else 0.0,
                    "repeats": repeats,
                    "rows": len(sample),
                    "auc": whole,
                }
            )
            bar.update(task, advance=1, note=name)
    return sorted(out, key=lambda row: (row["what"], -row["drop"]))


def _scores(
    fitted: Fitted, calibration: Calibration | None, columns: Columns, outcomes: OutcomeIndex | None
) -> np.ndarray:
    """What ranks the rows: calibrated logits, as calibration may rank scenes anew."""
    logits_B = fitted.logits(columns, np.arange(len(columns)), outcomes=outcomes)
    return calibration(logits_B, columns.scene_N, columns.scenes) if calibration else logits_B


def parts_of(label_B: np.ndarray, n: int, seed: int) -> list[np.ndarray]:
    """Positions of n parts of the rows, drawn at random, each ascending.

    On large samples no two share a row, so that n parts cost as much as the rows once. A part has PART_ROWS rows at
    least, and twice the labels of either kind that an AUC needs: on small samples parts overlap, or are all the rows.
    """
    rarer = int(min(label_B.sum(), len(label_B) - label_B.sum()))
    enough = int(np.ceil(len(label_B) * 2 * MIN_CLASS / max(1, rarer)))
    size = min(len(label_B), max(-(-len(label_B) // n), PART_ROWS, enough))
    order_B = np.random.default_rng(seed).permutation(len(label_B))
    starts = (k * len(label_B) // n for k in range(n))
    return [np.sort(np.take(order_B, np.arange(start, start + size), mode="wrap")) for start in starts]


def taken(columns: Columns, rows_B: np.ndarray) -> Columns:
    """Some rows of a column store, in memory, with the same dictionaries."""
    arrays: dict[str, Any] = {name: np.array(getattr(columns, name)[rows_B]) for name in ARRAYS}
    out = replace(
        columns,
        **arrays,
        texts=tuple(replace(c, codes=_rows(c.codes, rows_B)) for c in columns.texts),
        history=columns.history and _history_rows(columns.history, rows_B),
        known_at_N=None if columns.known_at_N is None else np.array(columns.known_at_N[rows_B]),
    )
    return _same_words(columns, out)


def permutables(inputs: FittedInputs, columns: Columns, by_scene: Mapping[str, str]) -> list[Permutable]:
    """Every input that the model reads. Levels, texts and histories count where the stage reads texts or histories.

    by_scene: the column of each input that is one position of a list over scenes. Such a list is permuted as a whole:
    its positions say one thing, and forty scenes would make forty inputs of it.
    """
    out = [Permutable("scene", ("scene",), _shuffle_scene)]
    numbers: dict[str, tuple[str, list[int]]] = {}
    for d in inputs.dense:
        if d.scale or d.has_missing:
            group, at = numbers.setdefault(by_scene.get(d.name, d.name), (d.group or "context", []))
            at.append(columns.dense_names.index(d.name))
    out += [Permutable(name, (group,), _shuffle_columns("dense_ND", at)) for name, (group, at) in numbers.items()]
    for c in inputs.codes:
        groups = (c.group or "context", *(["ids"] if c.is_id else []))
        out.append(Permutable(c.name, groups, _shuffle_columns("codes_NC", [columns.code_names.index(c.name)])))
    if inputs.text_columns or inputs.history:
        for g, group in enumerate(columns.level_groups):
            out.append(Permutable(f"{group}_level", (group,), _shuffle_columns("level_NG", [g])))
    for name, group in inputs.text_columns:
        out.append(Permutable(name, (group, "texts"), _shuffle_text(name)))
    if inputs.history:
        out.append(Permutable("history", ("user", "history"), _shuffle_history))
    if inputs.window:
        # Another user's outcomes, as of the row's own instant.
        user = columns.code_names.index(columns.id_names["user"])
        out.append(Permutable("sequence", ("user", "history"), _shuffle_columns("codes_NC", [user])))
    return out


def _shuffle_scene(columns: Columns, order_B: np.ndarray) -> Columns:
    return _same_words(columns, replace(columns, scene_N=columns.scene_N[order_B]))


def _shuffle_columns(array: str, at: list[int]) -> Shuffle:
    def shuffle(columns: Columns, order_B: np.ndarray) -> Columns:
        values = getattr(columns, array).copy()
        values[:, at] = values[order_B][:, at]
        return _same_words(columns, replace(columns, **{array: values}))

    return shuffle


def _shuffle_text(name: str) -> Shuffle:
    def shuffle(columns: Columns, order_B: np.ndarray) -> Columns:
        texts: list[TextColumn] = [
            replace(c, codes=_rows(c.codes, order_B)) if c.name == name else c for c in columns.texts
        ]
        return _same_words(columns, replace(columns, texts=tuple(texts)))

    return shuffle


def _shuffle_history(columns: Columns, order_B: np.ndarray) -> Columns:
    assert columns.history is not None
    return _same_words(columns, replace(columns, history=_history_rows(columns.history, order_B)))


def _history_rows(history: History, rows_B: np.ndarray) -> History:
    return replace(
        history,
        items=_rows(history.items, rows_B),
        texts=history.texts and _rows(history.texts, rows_B),
        labels=_rows(history.labels, rows_B),
    )


def _rows(lists: Lists, rows_B: np.ndarray) -> Lists:
    return Lists(*lists.take(rows_B))


def _same_words(columns: Columns, out: Columns) -> Columns:
    """Dictionaries that were read, or shuffled (placebo.py), go along; replacing leaves such properties behind."""
    vars(out).update({name: getattr(columns, name) for name in ("dictionaries", "text_ids")})
    return out
