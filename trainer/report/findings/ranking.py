"""Which run is best and what it's worth; what the instant is worth; whether text helps, and on whom."""

from __future__ import annotations

from typing import Any

from trainer.contract.schema import LEVELS
from trainer.evaluation.paired import interval
from trainer.report.findings.groups import Group, best_of, essence
from trainer.report.findings.words import HISTORY, Finding, counted, gap, level, listed

TREES, PRIORS = "gbdt", "floor"


def worth(groups: list[Group]) -> Finding | None:
    """The best run, what it's worth over the trees and over the priors."""
    real = [g for g in groups if not g.placebo]
    best = best_of(real)
    if best is None or best.auc is None:
        return None
    numbers: dict[str, dict[str, Any]] = {"auc": interval(best.auc, best.rows)}
    seeds = f" over {len(best.runs)} seeds" if len(best.runs) > 1 else ""
    chosen = ""
    if len(real) > 1:
        chosen = (
            f" It is the best of {len(real)} on validation."
            if best.validation is not None
            else f" Validation has no AUC to choose among the {len(real)}: this is the first."
        )
    said = [f"{best.name} has a test AUC of {level(numbers['auc'])}{seeds}.{chosen}"]
    for kind, words in ((TREES, "the trees"), (PRIORS, "two priors, one per user and one per item")):
        if best.kind == kind:
            continue
        other = best_of([g for g in real if g.kind == kind and g.mart == best.mart]) or best_of(
            [g for g in real if g.kind == kind]
        )
        if other is None:
            said.append(f"What it is worth over {words} is open: no such run is here.")
            continue
        found = best.minus(other)
        assert found is not None, "both have an AUC"
        numbers[kind] = found
        said.append(_against(found, f"{words} ({other.name})"))
    if best.kind == TREES and (rival := best_of([g for g in real if g.kind not in (TREES, PRIORS)])):
        found = best.minus(rival)
        assert found is not None, "both have an AUC"
        numbers["network"] = found
        said.append(_against(found, f"the best network ({rival.name})"))
    return Finding("worth", "What is the best run worth?", tuple(said), "results", numbers)


def _against(found: dict[str, Any], other: str) -> str:
    if found["verdict"] == "not shown":
        return f"It isn't shown to differ from {other}: {gap(found)} AUC."
    return f"It is {'above' if found['verdict'] == 'higher' else 'below'} {other} by {gap(found)} AUC."


def instant(groups: list[Group]) -> Finding | None:
    """The same stage on features of the event's instant and of the night before."""
    pairs = [
        (two, one)
        for one in groups
        for two in groups
        if one.mart.endswith("_v1") and two.mart.endswith("_v2") and one.stage.model == two.stage.model
        if one.stage.inputs == two.stage.inputs and not one.placebo and one.auc is not None
    ]
    if not pairs:
        return None
    numbers, said = {}, []
    for two, one in sorted(pairs, key=lambda pair: -(pair[0].validation or 0)):
        found = two.minus(one, family=len(pairs))
        assert found is not None, "both have an AUC"
        numbers[two.stage.stage] = found
        said.append(
            f"{gap(found)} AUC for {two.stage.stage}{', which is not shown' * (found['verdict'] == 'not shown')}"
        )
    return Finding(
        "instant",
        "What is the event's instant worth?",
        (f"Features as of the event's instant (v2) against those of the midnight before (v1): {listed(said)}.",),
        "results",
        numbers,
    )


def texts(groups: list[Group]) -> Finding | None:
    """The best stage with texts against its placebo, or against the best network without; overall and by level."""
    real = [g for g in groups if not g.placebo]
    best = best_of([g for g in real if g.texts])
    if best is None:
        return None
    other = _placebo_of(best, groups)
    against = f"the same stage with its texts shuffled ({other.name})" if other else ""
    doubt = ""
    if other is None:
        other = best_of([g for g in real if not g.texts and g.mart == best.mart and g.kind not in (TREES, PRIORS)])
        if other is None:
            return Finding(
                "texts",
                "Does text help?",
                (
                    f"{best.name} reads texts, and there is nothing to compare it with: neither the same stage with "
                    "its texts shuffled (`trainer fit --placebo`) nor a network without texts.",
                ),
                "texts",
            )
        against = f"{other.name}, the best network without texts"
        doubt = (
            "The two differ by more than texts: the same stage with its texts shuffled (`trainer fit --placebo`) "
            "would say what is theirs."
        )
    found = best.minus(other)
    assert found is not None, "both have an AUC"
    answer = {"higher": "Yes", "lower": "No", "not shown": "Not shown"}[found["verdict"]]
    first = f"{answer}: {best.name} is at {gap(found)} AUC against {against}."
    numbers = {"all": found}
    parts = [
        (group, name, in_B)
        for group, level_B in best.rows.level_B.items()
        for name in LEVELS
        if (in_B := level_B == name).any() and best.auc_in(in_B) is not None
    ]
    shown = []
    for group, name, in_B in parts:
        part = best.minus(other, in_B, family=len(parts))
        assert part is not None, "the rows aren't too small"
        numbers[f"{group} {name}"] = part
        if part["verdict"] != "not shown":
            shown.append(f"{group}s {HISTORY[name]} {gap(part)}")
    where = ""
    if parts:
        where = f"On whom: {listed(shown)}." if shown else "For no level of users' or items' history is it shown."
        where += f" These {counted(len(parts), 'interval')} hold at once." if len(parts) > 1 else ""
    return Finding("texts", "Does text help?", tuple(said for said in (first, doubt, where) if said), "texts", numbers)


def _placebo_of(one: Group, groups: list[Group]) -> Group | None:
    def same(other: Group) -> bool:
        return other.placebo and other.mart == one.mart and essence(other.stage, placebo=None) == essence(one.stage)

    return next((g for g in groups if same(g)), None)
