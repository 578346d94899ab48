"""AUC of runs and of the ladder's rungs, with intervals and the Bayes ceiling."""

from __future__ import annotations

from typing import Any

from trainer.report.charts.svg import INK, SERIES, STYLE, as_svg, plt


def claim_of(line: dict[str, Any]) -> dict[str, Any] | None:
    """A rung's claim with what it is `against`; of an older trainer's ladder, its difference to the rung before."""
    if "claim" in line:
        return line["claim"]
    return line["to_previous"] and {"against": line["previous"]} | line["to_previous"]["all"]


def ladder_chart(ladder: dict[str, Any]) -> str:
    """Two panels, one line per rung: test AUC over seeds, and its claim, each with its interval.

    ladder: what ladder.json holds.
    """
    rungs = ladder["rungs"]
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(9.5, 1.2 + 0.42 * len(rungs)), sharey=True, width_ratios=(3, 2)
        )
        for k, line in enumerate(rungs):
            low, high = line["auc_low_high"]
            if low is not None:
                left.plot([low, high], [k, k], color=SERIES[0], linewidth=2.5, solid_capstyle="round")
            left.plot(line["test_auc"]["mean"], k, "o", color=SERIES[0], markersize=7)
            one = claim_of(line)
            if one and one.get("low") is not None:
                shown = one["verdict"] != "not shown"
                colour = {"higher": SERIES[2], "lower": SERIES[1]}.get(one["verdict"], INK)
                right.plot([one["low"], one["high"]], [k, k], color=colour, linewidth=2.5 if shown else 1)
                right.plot(
                    one["difference"], k, "o", markersize=7, color=colour, markerfacecolor=colour if shown else "none"
                )
        if ladder["bayes"]:
            ceiling = ladder["bayes"]["auc"]["all"]
            left.axvline(ceiling, color=SERIES[1], linestyle="--", label=f"Bayes {ceiling:.4f}")
            left.legend(loc="lower left", bbox_to_anchor=(0, 1))
        right.axvline(0, color=INK, linewidth=0.8)
        right.locator_params(axis="x", nbins=5)
        left.set_yticks(range(len(rungs)), [line["name"] for line in rungs])
        left.set_ylim(len(rungs) - 0.5, -0.5)
        left.set_xlabel("AUC on test, 95% by user and item")
        right.set_xlabel("to the rung before; texts, to themselves shuffled\n(hollow: not shown)")
        return as_svg(figure, f"The ladder on {ladder['dataset']}")


def auc_chart(rows: list[dict[str, Any]], ceiling: float | None) -> str:
    """Test AUC with its interval, one line a run; the Bayes ceiling where it is known."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6, 0.9 + 0.42 * len(rows)))
        for k, row in enumerate(rows):
            if row["auc"] is None:
                continue
            if row["low"] is not None:
                axes.plot([row["low"], row["high"]], [k, k], color=SERIES[0], linewidth=2.5, solid_capstyle="round")
            axes.plot(row["auc"], k, "o", color=SERIES[0], markersize=7)
        if ceiling is not None:
            axes.axvline(ceiling, color=SERIES[1], linestyle="--", label=f"Bayes {ceiling:.4f}")
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1))
        axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.locator_params(axis="x", nbins=6)
        axes.set_xlabel("AUC on test, 95% interval by user")
        return as_svg(figure, "Test AUC by run")
