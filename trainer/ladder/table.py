"""What a ladder says: each rung's metrics over seeds, and its difference to others with a paired interval.

A rung's AUC is the mean over its seeds. In each bootstrap sample of users (the same samples for every run) the AUC of
every seed is computed and averaged; a difference of two rungs is the difference of those averages, and its interval
holds the central 95% of them. So the interval is for the users that might have been drawn; the spread over seeds is
shown beside it as a standard deviation.
Legend: B rows, R samples, U users.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from trainer.base.errors import TrainerError
from trainer.base.files import read_json
from trainer.base.progress import progress
from trainer.evaluation.held_out import HeldOut, check_same_rows, read_held_out
from trainer.ladder.rungs import BASELINE, Rung
from trainer.ladder.truth import true_probabilities
from trainer.metrics import bootstrap, metrics

DEFINITION = (
    "AUC is the mean over seeds. A difference is the mean over seeds of one rung minus that of the other; its 95% "
    "interval is a paired bootstrap that draws users (the seeds are averaged within each sample), so it holds for "
    "other users, not for other seeds: their standard deviation stands beside the AUC."
)
SEED = 0
NETWORK_BASELINE = "01_dnn"  # the gap to the Bayes AUC is counted from here
NO_AUC = (
    f"The test rows hold one class only, none, or fewer than {metrics.MIN_CLASS} positives or negatives: there is no "
    "AUC to compare rungs by. Set test_from earlier in dbt_project.yml and run `dbt build`."
)
PLAIN = ("macro_auc", "gauc", "log_loss", "ne", "ece")


@dataclass(frozen=True)
class _Scored:
    """One rung's AUC by part of the test rows: the mean over seeds, on all rows and in each sample."""

    point: dict[str, float]
    sample_R: dict[str, np.ndarray]


def build_table(
    rungs: list[Rung], seeds: list[int], folder: Path, *, resamples: int, min_class: int, truth: Path | None
) -> dict[str, Any]:
    """Everything that ladder.json holds about finished runs, but where they came from.

    Raises: TrainerError when runs were held to different rows, or the test rows have one class.
    """
    first = read_held_out(rungs[0].run(folder, seeds[0]))
    weight_RU = bootstrap.draw(first.users, resamples, SEED)
    parts, too_small = _parts(first, min_class)
    if "all" not in parts:
        raise TrainerError(NO_AUC)
    scored: dict[str, _Scored] = {}
    with progress() as bar:
        task = bar.add_task("Resampling users", total=len(rungs) * len(seeds), note="", unit="runs")
        for rung in rungs:
            one_seed = []
            for seed in seeds:
                held_out = read_held_out(rung.run(folder, seed))
                check_same_rows(first, held_out)
                one_seed.append(_score(held_out, parts, weight_RU))
                bar.update(task, advance=1, note=rung.name)
            scored[rung.name] = _mean(one_seed)
    probability_B = true_probabilities(truth, first.event_ids) if truth else None
    bayes = None
    if probability_B is not None:
        bayes = _score(replace(first, probability_B=probability_B), parts, weight_RU)
    lines = [_line(rung, seeds, folder, scored, bayes) for rung in rungs]
    return {
        "definition": DEFINITION,
        "seeds": seeds,
        "resamples": resamples,
        "users": first.users,
        "test_rows": len(first.label_B),
        "bayes": None if bayes is None else {"auc": bayes.point},
        "parts": {name: int(in_B.sum()) for name, in_B in parts.items()},
        "too_small": too_small,
        "rungs": lines,
        "above_bayes": [line["name"] for line in lines if line["above_bayes"]],
    }


def _parts(first: HeldOut, min_class: int) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Which rows: all, by scene, by level, by level of the item and scene; and the rows of those too small to tell."""
    found = [(kind if kind == "all" else f"{kind} {name}", in_B) for kind, name, in_B in first.parts()]
    level_B = first.level_B.get("item")
    for level in sorted(set(level_B)) if level_B is not None else []:
        found += [
            (f"item level {level}, scene {scene}", (level_B == level) & (first.scene_B == scene))
            for scene in sorted(set(first.scene_B))
            if level != "warm"
        ]
    parts, too_small = {}, {}
    for name, in_B in found:
        if metrics.too_small(first.label_B[in_B], min_class):
            too_small[name] = int(in_B.sum())
        else:
            parts[name] = in_B
    return parts, too_small


def _score(held_out: HeldOut, parts: dict[str, np.ndarray], weight_RU: np.ndarray) -> _Scored:
    point: dict[str, float] = {}
    sample_R: dict[str, np.ndarray] = {}
    for name, in_B in parts.items():
        rows = held_out.rows.where(in_B)
        auc = metrics.auc(rows.label_B, rows.probability_B)
        assert auc is not None, f"{name} has both classes, or _parts leaves it out"
        point[name] = auc
        sample_R[name] = bootstrap.auc(rows, weight_RU)
    return _Scored(point, sample_R)


def _mean(seeds: list[_Scored]) -> _Scored:
    names = seeds[0].point
    return _Scored(
        {n: float(np.mean([s.point[n] for s in seeds])) for n in names},
        {n: np.mean([s.sample_R[n] for s in seeds], axis=0) for n in names},
    )


def _difference(a: _Scored, b: _Scored, part: str) -> dict[str, Any]:
    """b minus a."""
    return bootstrap.difference(a.point[part], b.point[part], a.sample_R[part], b.sample_R[part])


def _line(
    rung: Rung, seeds: list[int], folder: Path, scored: dict[str, _Scored], bayes: _Scored | None
) -> dict[str, Any]:
    own = scored[rung.name]
    saved = [read_json(rung.run(folder, seed) / "metrics.json")["splits"] for seed in seeds]
    training = [read_json(rung.run(folder, seed) / "training.json") for seed in seeds]
    timing = [read_json(rung.run(folder, seed) / "timing.json") for seed in seeds]
    out: dict[str, Any] = {
        "name": rung.name,
        "previous": rung.previous,
        "placebo_of": rung.placebo_of,
        "runs": [rung.run(folder, seed).relative_to(folder).as_posix() for seed in seeds],
        "val_auc": _spread([s["val"]["auc"] for s in saved]),
        "test_auc": _spread([s["test"]["auc"] for s in saved]),
        "auc_low_high": metrics.interval(own.sample_R["all"]),
        **{name: _spread([s["test"][name] for s in saved])["mean"] for name in PLAIN},
        "macro_auc_scenes": [saved[0]["test"]["macro_auc_scenes"], len(saved[0]["test"]["scenes"])],
        "parameters": training[0]["parameters"],
        "rows_per_second": _spread([t["train_rows_per_second"] for t in timing])["mean"],
        "fit_seconds": _spread([t["seconds"]["fit"] for t in timing])["mean"],
        "peak_rss_mib": max(t["peak_rss_mib"] for t in timing),
    }
    against = {
        "to_previous": rung.previous,
        "to_gbdt": BASELINE,
        "to_dnn": NETWORK_BASELINE,
        "to_original": rung.placebo_of,
    }
    for key, name in against.items():
        other = scored.get(name) if name and name != rung.name else None
        out[key] = None if other is None else {p: _difference(other, own, p) for p in own.point}
    out["bayes"], out["gap_closed"], out["above_bayes"] = None, None, False
    if bayes is not None:
        out["bayes"] = _difference(bayes, own, "all")
        out["above_bayes"] = out["bayes"]["verdict"] == "higher"
        if NETWORK_BASELINE in scored and rung.name != NETWORK_BASELINE:
            out["gap_closed"] = _gap_closed(scored[NETWORK_BASELINE], own, bayes)
    return out


def _gap_closed(base: _Scored, own: _Scored, bayes: _Scored) -> dict[str, float | None] | None:
    """(own - base) / (Bayes - base), with its interval; None where the base isn't below the Bayes AUC."""
    gap, gap_R = bayes.point["all"] - base.point["all"], bayes.sample_R["all"] - base.sample_R["all"]
    if gap <= 0 or (gap_R <= 0).any():
        return None
    low, high = metrics.interval((own.sample_R["all"] - base.sample_R["all"]) / gap_R)
    return {"share": (own.point["all"] - base.point["all"]) / gap, "low": low, "high": high}


def _spread(values: list[float | None]) -> dict[str, float | None]:
    """Mean and standard deviation (of a sample: n - 1) of the values that are defined."""
    known = [v for v in values if v is not None]
    return {
        "mean": float(np.mean(known)) if known else None,
        "sd": float(np.std(known, ddof=1)) if len(known) > 1 else None,
    }
