"""Which charts a page shows of its runs, and with which scales."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trainer.metrics.metrics import ANY
from trainer.report import charts
from trainer.report.charts import Chart
from trainer.report.findings import Group, best_of
from trainer.report.findings.ranking import PRIORS, TREES
from trainer.report.runs import scenes_by_size

_TOP = 15  # inputs in a chart
_ROWS_A_CELL = 300  # with fewer a cell doesn't stretch the scale of colours
_CURVES = 6  # runs whose learning is shown at once
_PANELS = 4  # scenes shown at once; smaller ones are folded away


def auc_charts(
    loaded: list[dict[str, Any]], groups: list[Group], ceiling: dict[tuple[str, str, str], float | None] | None
) -> list[Chart]:
    """Test AUC by run; and by stage the difference to the trees, or to what stands in for them."""
    tests = [(run["name"], run["metrics"]["splits"]["test"]) for run in loaded]
    rows = [{"name": name, "value": t["auc"], "low": t["auc_low"], "high": t["auc_high"]} for name, t in tests]
    out = [charts.auc_chart("Test AUC by run", rows, (ceiling or {}).get((ANY, ANY, ANY)))]
    reference = _reference(groups)
    if reference is None:
        return out
    apart = []
    for group in groups:
        found = None if group is reference else group.minus(reference)
        if found is not None:
            apart.append(
                {key: found[key] for key in ("low", "high", "verdict")}
                | {"name": group.name, "value": found["difference"], "against": reference.name}
            )
    title = f"Difference in test AUC to {reference.name}"
    return [*out, charts.difference_chart(title, apart, f"difference in AUC to {reference.name} (hollow: not shown)")]


def _reference(groups: list[Group]) -> Group | None:
    """The trees, else the priors, else the first; None where nothing can be compared."""
    known = [g for g in groups if g.auc is not None]
    if len(known) < 2:
        return None
    for kind in (TREES, PRIORS):
        if one := best_of([g for g in known if g.kind == kind]):
            return one
    return known[0]


def cubes(loaded: list[dict[str, Any]]) -> Iterator[tuple[str, list[Chart]]]:
    """For each run its heat maps by measure; all runs share a measure's scale."""

    def values(run: dict[str, Any], measure: str, least: int = 0) -> list[float]:
        firsts = [row["cells"][0] for row in run["cube"]]
        return [c[measure] for c in firsts if c[measure] is not None and c["n"] >= least]

    scales = {
        m: [v for run in loaded for v in values(run, m, _ROWS_A_CELL) or values(run, m)] for m in ("auc", "alpha")
    }
    for run in loaded:
        yield (
            run["name"],
            [
                charts.cube_chart(run["name"], run["cube"], m, min(all_), max(all_))
                for m, all_ in scales.items()
                if values(run, m)
            ],
        )


def calibrations(loaded: list[dict[str, Any]], groups: list[Group]) -> tuple[list[Chart], list[Chart]]:
    """A panel for all scenes and for each of the largest; then those of smaller ones. One seed of a stage is drawn."""
    repeated = [run["name"] for group in groups for run in group.runs[1:]]
    runs = [run for run in loaded if run["calibration"][ANY] and run["name"] not in repeated]
    names = [run["name"] for run in runs]
    by_size = scenes_by_size(runs)
    panels = []
    for scene in [ANY, *(by_size if len(by_size) > 1 else [])] if runs else []:
        lines = [(run["name"], run["calibration"].get(scene, [])) for run in runs]
        if any(bins for _, bins in lines):
            said = "all scenes" if scene == ANY else f"scene {scene}"
            legend = scene == ANY and len(runs) > 1
            panels.append(charts.calibration_chart(", ".join(names), said, lines, names, legend=legend))
    return panels[: _PANELS + 1], panels[_PANELS + 1 :]


def importances(loaded: list[dict[str, Any]]) -> list[Chart]:
    return [
        charts.importance_chart(run["name"], {"feature": "input"}.get(what, what), rows[:_TOP])
        for run in loaded
        for what, rows in run["importance"].items()
        if rows
    ]


def learning(loaded: list[dict[str, Any]]) -> tuple[list[Chart], list[Chart]]:
    """The first runs' curves, and those of the others."""
    found = [chart for run in loaded if (chart := charts.learning_chart(run["name"], run["training"]))]
    return found[:_CURVES], found[_CURVES:]


def drift(one: dict[str, Any]) -> dict[str, Any]:
    """The rows that are shown, and their chart. one: names of runs and their drift."""
    top = one["drift"][:_TOP]
    return one | {"top": top, "chart": charts.drift_chart(", ".join(one["names"]), top)}


def skew(one: dict[str, Any]) -> dict[str, Any]:
    """The features that differ, the worst first, their chart (None without any), and the names of the equal ones."""
    differ = [row for row in one["features"] if row["mismatches"]]
    equal = [row["name"] for row in one["features"] if not row["mismatches"]]
    chart = charts.skew_chart(one["name"], differ[:_TOP]) if differ else None
    return one | {"differ": differ, "equal": equal, "chart": chart}
