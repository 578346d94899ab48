"""What the model reads: what each input is worth, and how far it has drifted."""

from __future__ import annotations

from typing import Any

from trainer.report.charts.svg import INK, SERIES, STYLE, as_svg, plt


def importance_chart(name: str, rows: list[dict[str, Any]]) -> str:
    """The drop in AUC when an input is permuted, with its standard deviation over repeats; the most telling first."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6, 0.9 + 0.3 * len(rows)))
        for k, row in enumerate(rows):
            axes.barh(k, row["drop"], color=SERIES[0], height=0.62)
            axes.plot([row["drop"] - row["sd"], row["drop"] + row["sd"]], [k, k], color=INK, linewidth=1.2)
        axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_xlabel("drop in validation AUC when permuted")
        return as_svg(figure, f"Importance in {name}")


def drift_chart(name: str, rows: list[dict[str, Any]]) -> str:
    """PSI of each input between train and test, the largest first, and a mark at how much it moves within train."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6, 0.9 + 0.3 * len(rows)))
        for k, row in enumerate(rows):
            axes.barh(k, row["psi"], color=SERIES[3], height=0.62, label=None if k else "test against train")
        within = [(row["psi_in_train"], k) for k, row in enumerate(rows) if row["psi_in_train"] is not None]
        if within:
            axes.plot(
                *zip(*within, strict=True), "|", color=INK, markersize=13, markeredgewidth=2, label="within train"
            )
        axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlabel("PSI")
        figure.legend(loc="outside upper right", ncols=2)
        return as_svg(figure, f"Drift of the inputs of {name}")
