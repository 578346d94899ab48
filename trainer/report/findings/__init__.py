"""The answers at the top of a page: sentences made from the runs' own predictions, each number with its interval."""

from __future__ import annotations

from trainer.report.findings import advice, parts, ranking
from trainer.report.findings.groups import Group, best_of, groups_of
from trainer.report.findings.words import Finding

__all__ = ["Finding", "Group", "best_of", "findings", "groups_of"]


def findings(groups: list[Group], left_out: list[str]) -> list[Finding]:
    """Answers in the order in which they are read; none where no run has an AUC on test."""
    best = best_of([g for g in groups if not g.placebo])
    if best is None:
        return []
    worth = ranking.worth(groups)
    found = [
        worth,
        ranking.instant(groups),
        ranking.texts(groups),
        parts.cold(best),
        parts.scenes(best),
        advice.features(best, groups),
        parts.moved(best),
        advice.further(best, groups, worth),
        advice.unknown(best, groups, worth, left_out),
    ]
    return [one for one in found if one is not None]
