"""What carries the result, what to try next, and what this log can't tell."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from trainer.metrics.metrics import MIN_CLASS
from trainer.metrics.simultaneous import LEVEL
from trainer.report.findings.groups import Group
from trainer.report.findings.ranking import PRIORS, TREES
from trainer.report.findings.words import Finding, counted, gap, listed, signed

_MOST = 3  # pieces of advice
_ECE = 0.02  # above it the probabilities are off by two points on average


def features(best: Group, groups: list[Group]) -> Finding | None:
    """The groups and inputs whose shuffling costs most, of the best run that `trainer importance` was run on."""
    measured = [g for g in (best, *groups) if not g.placebo and g.runs[0]["importance"]]
    if not measured:
        return None
    one = measured[0]
    run = one.runs[0]
    numbers: dict[str, dict[str, Any]] = {}
    said = []
    for what, most in (("group", 3), ("feature", 5)):
        for row in run["importance"].get(what, [])[:most]:
            numbers[f"{what} {row['name']}"] = _of_repeats(row)
    groups_said, inputs_said = (
        [f"{key.removeprefix(f'{what} ')} {gap(found)}" for key, found in numbers.items() if key.startswith(what)]
        for what in ("group", "feature")
    )
    if groups_said:
        said.append(
            f"In {run['name']}, what validation AUC loses when a group of inputs is shuffled: {listed(groups_said)}."
        )
    if inputs_said:
        said.append(f"Single inputs: {listed(inputs_said)}.")
    said.append("Each interval is over the shuffles alone. Inputs that tell the same share the loss.")
    return Finding("features", "Which features carry the result?", tuple(said), "importance", numbers)


def _of_repeats(row: dict[str, Any]) -> dict[str, Any]:
    """The mean drop over shuffles, Student's interval of it."""
    repeats, drop = int(row["repeats"]), row["drop"]
    if repeats < 2:
        return {"difference": drop, "low": None, "high": None, "verdict": "not shown"}
    wide = float(stats.t.ppf((1 + LEVEL) / 2, repeats - 1)) * row["sd"] / np.sqrt(repeats)
    return {
        "difference": drop,
        "low": drop - wide,
        "high": drop + wide,
        "verdict": "higher" if drop > wide else "not shown",
    }


def further(best: Group, groups: list[Group], worth: Finding | None) -> Finding | None:
    """What to try next, the most telling first."""
    real = [g for g in groups if not g.placebo]
    run = best.runs[0]
    said = []
    numbers = worth.numbers if worth else {}
    step = max((found["difference"] for key, found in numbers.items() if key in (TREES, "network")), default=0)
    if step > 0.05:
        said.append(
            f"A step of {signed(step)} is more than such a step is usually worth: look for a leak (`warehouse prove`)."
        )
    if not any(g.kind in (TREES, PRIORS) for g in real):
        said.append("Fit `00_floor` and `00_gbdt` on the same mart: without a baseline no AUC says much.")
    if best.kind == TREES and not any(g.kind not in (TREES, PRIORS) for g in real):
        said.append("Fit a network (`01_dnn`), to see whether ids say more than the counts do.")
    if best.mart.endswith("_v1") and not any(g.mart.endswith("_v2") for g in real):
        said.append(
            "Fit the same stage on version 2 of the mart (`--mart training_examples_v2`), whose features are as of the "
            "event's instant."
        )
    if len(best.runs) == 1 and len(real) > 1:
        said.append(
            "Repeat over three seeds or more (`trainer ladder --seeds 3`): one seed can't tell a stage from its luck."
        )
    if (
        (steps := run["training"]["evaluations"])
        and len(steps) > 2
        and run["training"]["best_step"] == steps[-1]["step"]
    ):
        said.append(f"Train {run['name']} for longer (`epochs`): its last evaluation was its best.")
    ece = run["metrics"]["splits"]["test"]["ece"]
    if ece is not None and ece > _ECE and "uncalibrated" not in run["metrics"]["splits"]["test"]:
        said.append(
            f"Calibrate {run['name']} by scene (`calibration` in its stage): its probabilities are off "
            f"by {100 * ece:.1f} points on average."
        )
    if not run["importance"]:
        said.append(f"Run `trainer importance --run {run['name']}` to see which features carry the result.")
    return Finding("next", "What to try next?", tuple(said[:_MOST])) if said else None


def unknown(best: Group, groups: list[Group], worth: Finding | None, left_out: list[str]) -> Finding:
    """What the runs and the log can't answer."""
    said = []
    numbers = {}
    for key, words in ((TREES, "the trees"), ("network", "the best network"), (PRIORS, "two priors")):
        found = worth.numbers.get(key) if worth else None
        if found and found["smallest"] is not None:
            numbers[key] = found
            said.append(
                f"A difference to {words} below {found['smallest']:.4f} AUC: these test rows "
                "would miss it more often than one time in five."
            )
            break
    if len(best.runs) == 1:
        said.append("How much another seed of the same stage would differ: there is one.")
    cells = [
        c
        for row in best.runs[0]["cube"]
        for c in row["cells"]
        if row["user_level"] != "all" and row["item_level"] != "all" and c["scene"] == "all"
    ]
    small = [c for c in cells if c["n"] and c["auc"] is None]
    if small:
        said.append(
            f"The AUC of {counted(len(small), 'pair')} of user and item levels out of {len(cells)}: fewer than "
            f"{MIN_CLASS} clicks or non-clicks."
        )
    said.append("What would have been clicked had it been shown: the log holds only what was.")
    if left_out:
        said.append(
            f"How {listed(left_out)} compare{'s' * (len(left_out) == 1)}: other test rows, or another version's files."
        )
    return Finding("unknown", "What can't be told?", tuple(said), None, numbers)
