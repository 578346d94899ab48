"""Whether parts of the test rows are served worse by the best run: cold users and items, scenes, later days."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trainer.contract.schema import LEVELS
from trainer.evaluation.drift import FACTOR, MAX_PSI
from trainer.evaluation.held_out import read_held_out
from trainer.evaluation.paired import auc_of, interval, mean_of, rate_of
from trainer.metrics.metrics import MIN_CLASS
from trainer.report.findings.groups import Group
from trainer.report.findings.words import HISTORY, Finding, counted, gap, listed, plain


def cold(best: Group) -> Finding | None:
    """Users, and items, with less history against those with more."""
    rows = best.rows
    asked = [
        (group, name)
        for group, level_B in rows.level_B.items()
        for name in LEVELS[:-1]
        if (level_B == name).any() and (level_B == LEVELS[-1]).any()
    ]
    if not asked:
        return None
    numbers: dict[str, dict[str, Any]] = {}
    said, small, worse = [], [], []
    for group, name in asked:
        level_B = rows.level_B[group]
        one, warm = best.auc_in(level_B == name), best.auc_in(level_B == LEVELS[-1])
        share = f"{(level_B == name).mean():.1%} of rows"
        if one is None or warm is None:
            small.append(f"{group}s {HISTORY[name]} ({share})")
            continue
        found = interval(one.within(warm), rows, len(asked))
        numbers[f"{group} {name}"] = found
        if found["verdict"] == "lower":
            worse.append(f"{group}s {HISTORY[name]}")
        said.append(
            f"{group.capitalize()}s {HISTORY[name]} ({share}): AUC {plain(one.value)} against {plain(warm.value)} "
            f"{'for those with more' if name == 'few' else 'for those with one'}, {gap(found)}"
            f"{', not shown' * (found['verdict'] == 'not shown')}."
        )
    if worse:
        first = f"{listed(worse).capitalize()} are ranked worse by {best.name}."
    elif numbers:
        first = f"It isn't shown that {best.name} ranks cold users or items worse."
    else:
        first = "Too few of their rows are here to tell."
    if small:
        said.append(f"Too few clicks or non-clicks to tell (below {MIN_CLASS} of either): {listed(small)}.")
    return Finding("cold", "Are cold users and items served worse?", (first, *said), "cold_start", numbers)


def scenes(best: Group) -> Finding | None:
    """Each scene against the mean of the others."""
    rows = best.rows
    names = sorted(set(rows.scene_B))
    if len(names) < 2:
        return None
    numbers: dict[str, dict[str, Any]] = {}
    value = {}
    aucs = {name: one for name in names if (one := best.auc_in(rows.scene_B == name))}
    for name, one in aucs.items():
        if others := [other for key, other in aucs.items() if key != name]:
            value[name] = one.value
            numbers[name] = interval(one.within(mean_of(others)), rows, len(names))
    small = len(names) - len(aucs)
    rest = f" {counted(small, 'scene')} of {len(names)} {'has' if small == 1 else 'have'} too few rows for an AUC." * (
        small > 0
    )
    if not numbers:
        return Finding("scenes", "Do scenes differ?", (f"Too few rows to tell.{rest}",), "scenes")
    order = sorted(numbers, key=lambda name: numbers[name]["difference"])
    shown = [name for name in order if numbers[name]["verdict"] != "not shown"]
    ends = list(
        dict.fromkeys([shown[0], shown[-1]] if shown else [max(order, key=lambda n: abs(numbers[n]["difference"]))])
    )
    told = listed(
        [f"scene {name} (AUC {plain(value[name])}) at {gap(numbers[name])} to the mean of the others" for name in ends]
    )
    if shown:
        first = f"Yes: {len(shown)} of {len(names)} scenes differ from the others in how well {best.name} ranks."
        second = f"{'The ends' if len(ends) > 1 else 'It'}: {told}.{rest}"
    else:
        first = f"It isn't shown for any of {len(names)}."
        second = f"Furthest: {told}.{rest}"
    return Finding("scenes", "Do scenes differ?", (first, second), "scenes", numbers)


def moved(best: Group) -> Finding:
    """Test against validation: the same model's AUC, the positive rate; and the inputs' drift from train."""
    held = [read_held_out(run["folder"], None) for run in best.runs]
    both = held[0]
    test_B, val_B = both.split_B == "test", both.split_B == "val"
    numbers, said = {}, []
    rates = rate_of(both, test_B), rate_of(both, val_B)
    if rates[0] and rates[1]:
        numbers["rate"] = found = interval(rates[0].within(rates[1]), both)
        train = best.runs[0]["dataset"]["splits"]["train"].get("positive_rate")
        before = f"{train:.1%} in train, " if train is not None else ""
        said.append(
            f"Positive rate: {before}{rates[1].value:.1%} in validation, {rates[0].value:.1%} in test; the last step "
            f"is {100 * found['difference']:+.1f} points ({100 * found['low']:+.1f} to {100 * found['high']:+.1f})."
        )
    aucs = tuple(auc_of(held, in_B, best.stage.evaluation.min_class) for in_B in (test_B, val_B))
    if aucs[0] and aucs[1]:
        numbers["auc"] = found = interval(aucs[0].within(aucs[1]), both)
        said.append(
            f"The AUC of {best.name} from validation to test: {gap(found)}"
            f"{', not shown' * (found['verdict'] == 'not shown')}."
        )
    drift = best.runs[0]["drift"]
    far = [row for row in drift if row["psi"] > max(MAX_PSI, FACTOR * (row["psi_in_train"] or 0))]
    if not drift:
        first = "The runs have no drift.csv, so their inputs can't tell."
    elif far:
        first = f"Yes: {len(far)} of {counted(len(drift), 'input')} have."
        said.insert(
            0,
            f"PSI above {MAX_PSI} and more than {FACTOR} times that within train: {listed(_worst(far))}.",
        )
    else:
        first = f"No input of {len(drift)} has moved more than inputs move within train."
    return Finding("moved", "Has test moved away from train?", (first, *said), "drift" if drift else None, numbers)


def _worst(far: list[dict[str, Any]]) -> list[str]:
    def within(row: dict[str, Any]) -> Iterator[str]:
        if row["psi_in_train"] is not None:
            yield f", {row['psi_in_train']:.2f} within train"

    said = [f"{row['name']} (PSI {row['psi']:.2f}{''.join(within(row))})" for row in far[:3]]
    return said + ([f"{len(far) - 3} more"] if len(far) > 3 else [])
