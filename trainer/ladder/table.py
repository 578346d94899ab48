"""What a ladder says: each rung's metrics over seeds, and its differences to others with intervals.

The main table's differences are a family, declared beforehand (lock.py), whose intervals hold together over users,
items and seeds (trainer/metrics/simultaneous.py). Differences by part of the test rows are looked at one by one.
Legend: B rows, R samples, S seeds.
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
from trainer.ladder.lock import Lock, comparisons_of, read_lock
from trainer.ladder.rungs import BASELINE, Rung
from trainer.ladder.truth import true_probabilities
from trainer.metrics import bootstrap, metrics
from trainer.metrics.simultaneous import Clusters, Comparison, Scores, alone, critical_value, interval_of
from trainer.training.placebo import as_placebo, label, reads_texts

DEFINITION = (
    "AUC is the mean over seeds; its 95% interval draws users and items. A difference is of two means over seeds, and "
    "its interval draws users, items and seeds; the intervals of all declared differences hold at once with 95%. "
    "A difference whose interval holds 0 is not shown."
)
ONE_SEED = (
    "With one seed a difference is of two models, and says nothing of other seeds of the same two stages: fit three or "
    "more before a rung is kept for it."
)
SEED = 0
NETWORK_BASELINE = "01_dnn"  # the gap to the Bayes AUC is counted from here
NO_AUC = (
    f"The test rows hold one class only, none, or fewer than {metrics.MIN_CLASS} positives or negatives: there is no "
    "AUC to compare rungs by. Set test_from earlier in dbt_project.yml and run `dbt build`."
)
PLAIN = ("macro_auc", "gauc", "log_loss", "ne", "ece")


_Scored = dict[str, Scores]  # of one rung, by part of the test rows


@dataclass(frozen=True)
class _Claims:
    """The main table's differences by (rung, other), each with why it wasn't declared, None where it was."""

    found: dict[tuple[str, str], dict[str, Any]]
    family: dict[str, Any]


def build_table(
    rungs: list[Rung], seeds: list[int], folder: Path, *, resamples: int, min_class: int, truth: Path | None
) -> dict[str, Any]:
    """Everything that ladder.json holds about finished runs, but where they came from.

    The family is what ladder.lock in the folder declares; without one it is what the table holds, and that is said.
    Raises: TrainerError when runs were held to different rows, or the test rows are too small to have an AUC.
    """
    first = read_held_out(rungs[0].run(folder, seeds[0]))
    weights = bootstrap.draw_two_way(first.users, first.items, resamples, SEED)
    parts, too_small = _parts(first, min_class)
    if "all" not in parts:
        raise TrainerError(NO_AUC)
    scored: dict[str, _Scored] = {}
    with progress() as bar:
        task = bar.add_task("Resampling", total=len(rungs) * len(seeds), note="", unit="runs")
        for rung in rungs:
            one_seed = []
            for seed in seeds:
                held_out = read_held_out(rung.run(folder, seed))
                check_same_rows(first, held_out)
                one_seed.append(_score(held_out, parts, weights))
                bar.update(task, advance=1, note=rung.name)
            scored[rung.name] = _joined(rung.name, one_seed)
    probability_B = true_probabilities(truth, first.event_ids) if truth else None
    bayes = None
    if probability_B is not None:
        bayes = _joined("Bayes", [_score(replace(first, probability_B=probability_B), parts, weights)])
    clusters = {
        part: Clusters(first.user_B[in_B], first.users, first.item_B[in_B], first.items) for part, in_B in parts.items()
    }
    claims = _claims(rungs, seeds, scored, read_lock(folder), clusters)
    lines = [_line(rung, seeds, folder, scored, claims, bayes, clusters) for rung in rungs]
    return {
        "definition": DEFINITION if len(seeds) > 1 else f"{DEFINITION} {ONE_SEED}",
        "seeds": seeds,
        "resamples": resamples,
        "users": first.users,
        "items": first.items,
        "test_rows": len(first.label_B),
        "family": claims.family,
        "bayes": None if bayes is None else {"auc": {part: one.mean for part, one in bayes.items()}},
        "parts": {name: int(in_B.sum()) for name, in_B in parts.items()},
        "too_small": too_small,
        "rungs": lines,
        "above_bayes": [line["name"] for line in lines if line["above_bayes"]],
    }


def _claims(
    rungs: list[Rung], seeds: list[int], scored: dict[str, _Scored], lock: Lock | None, clusters: dict[str, Clusters]
) -> _Claims:
    """Declared differences hold together with all that were declared; others with those and with each other."""
    by_name = {rung.name: rung for rung in rungs}
    compared = {
        (one, other): Comparison.of(scored[one]["all"], scored[other]["all"], SEED, clusters["all"])
        for one, other in comparisons_of(rungs)
    }
    why = {
        (one, other): lock.why_undeclared(by_name[one], by_name[other], seeds) if lock else None
        for one, other in compared
    }
    declared = [pair for pair in compared if why[pair] is None]
    n_declared = len(lock.comparisons) if lock else len(declared)
    q = critical_value([compared[pair] for pair in declared], n_declared)
    n_all = n_declared + len(compared) - len(declared)
    q_all = max(q, critical_value(list(compared.values()), n_all)) if len(declared) < len(compared) else q
    found = {
        pair: interval_of(one, q if why[pair] is None else q_all, clusters["all"].fewest) | {"undeclared": why[pair]}
        for pair, one in compared.items()
    }
    family = {
        "declared": n_declared,
        "of_them_here": len(declared),
        "undeclared": len(compared) - len(declared),
        "critical_value": q,
        "lock": None
        if lock is None
        else {
            "seeds": lock.seeds,
            "stages": list(lock.stages),
            "read_before": lock.read_before,
            "replaces": lock.replaces,
            "smallest_effect": lock.smallest_effect,
        },
    }
    return _Claims(found, family)


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


def _score(held_out: HeldOut, parts: dict[str, np.ndarray], weights: bootstrap.Weights) -> _Scored:
    """Of one seed. Samples are drawn for all rows, where differences are a family; a part is looked at by itself."""
    out: _Scored = {}
    for name, in_B in parts.items():
        rows = held_out.rows.where(in_B)
        auc = metrics.auc(rows.label_B, rows.probability_B)
        assert auc is not None, f"{name} has both classes, or _parts leaves it out"
        drawn_R = bootstrap.auc(rows, weights) if name == "all" else np.empty(0)
        influence_B = metrics.auc_influence(rows.label_B, rows.probability_B)
        out[name] = Scores(name, np.array([auc]), drawn_R[None], influence_B)
    return out


def _joined(rung: str, seeds: list[_Scored]) -> _Scored:
    """The seeds of a rung, one after another."""
    return {
        part: Scores(
            rung,
            np.concatenate([one[part].point_S for one in seeds]),
            np.concatenate([one[part].sample_SR for one in seeds]),
            _mean_influence([one[part] for one in seeds]),
        )
        for part in seeds[0]
    }


def _mean_influence(seeds: list[Scores]) -> np.ndarray | None:
    found = [one.influence_B for one in seeds if one.influence_B is not None]
    return np.mean(found, axis=0) if len(found) == len(seeds) else None


def _by_part(own: _Scored, other: _Scored, clusters: dict[str, Clusters]) -> dict[str, Any]:
    """own minus other in each part of the test rows, each by itself."""
    return {part: alone(Comparison.of(own[part], other[part], SEED, c), c.fewest) for part, c in clusters.items()}


def _line(
    rung: Rung,
    seeds: list[int],
    folder: Path,
    scored: dict[str, _Scored],
    claims: _Claims,
    bayes: _Scored | None,
    clusters: dict[str, Clusters],
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
        "auc_low_high": metrics.interval(own["all"].sample_SR.mean(0)),
        **{name: _spread([s["test"][name] for s in saved])["mean"] for name in PLAIN},
        "macro_auc_scenes": [saved[0]["test"]["macro_auc_scenes"], len(saved[0]["test"]["scenes"])],
        "parameters": training[0]["parameters"],
        "rows_per_second": _spread([t["train_rows_per_second"] for t in timing])["mean"],
        "fit_seconds": _spread([t["seconds"]["fit"] for t in timing])["mean"],
        "peak_rss_mib": max(t["peak_rss_mib"] for t in timing),
    }
    placebo = next((other for one, other in claims.found if one == rung.name and other == _placebo(rung)), None)
    against = {
        "to_previous": rung.previous,
        "to_gbdt": BASELINE,
        "to_dnn": NETWORK_BASELINE,
        "to_placebo": placebo,
        "to_original": rung.placebo_of,
    }
    for key, name in against.items():
        out[key] = None
        if name and name != rung.name and name in scored:
            out[key] = _by_part(own, scored[name], clusters)
            out[key]["all"] = claims.found.get((rung.name, name), out[key]["all"])
    # What a rung is in the ladder for: a text rung, that the meaning of its texts is worth something.
    needs_placebo = reads_texts(rung.stage) and not rung.placebo_of
    out["claim"] = None
    if needs_placebo and placebo is None:
        out["claim"] = {"against": None, "why_not": "its texts weren't shuffled (--no-placebo)"}
    else:
        other = placebo if needs_placebo else rung.previous
        if other is not None and (rung.name, other) in claims.found:
            out["claim"] = {"against": other} | claims.found[rung.name, other]
    out["bayes"], out["gap_closed"], out["above_bayes"] = None, None, False
    if bayes is not None:
        out["bayes"] = alone(Comparison.of(own["all"], bayes["all"], SEED, clusters["all"]), clusters["all"].fewest)
        out["above_bayes"] = out["bayes"]["verdict"] == "higher"
        if NETWORK_BASELINE in scored and rung.name != NETWORK_BASELINE:
            out["gap_closed"] = _gap_closed(scored[NETWORK_BASELINE]["all"], own["all"], bayes["all"])
    return out


def _placebo(rung: Rung) -> str | None:
    """The name of a text rung's placebo."""
    return label(as_placebo(rung.stage)) if reads_texts(rung.stage) and not rung.placebo_of else None


def _gap_closed(base: Scores, own: Scores, bayes: Scores) -> dict[str, float | None] | None:
    """(own - base) / (Bayes - base), with its interval; None where the base isn't below the Bayes AUC."""
    gap, gap_R = bayes.mean - base.mean, bayes.drawn(SEED) - base.drawn(SEED)
    if gap <= 0 or not (gap_R > 0).all():
        return None
    low, high = metrics.interval((own.drawn(SEED) - base.drawn(SEED)) / gap_R)
    return {"share": (own.mean - base.mean) / gap, "low": low, "high": high}


def _spread(values: list[float | None]) -> dict[str, float | None]:
    """Mean and standard deviation (of a sample: n - 1) of the values that are defined."""
    known = [v for v in values if v is not None]
    return {
        "mean": float(np.mean(known)) if known else None,
        "sd": float(np.std(known, ddof=1)) if len(known) > 1 else None,
    }
