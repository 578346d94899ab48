"""How training went, and whether probabilities mean what they say."""

from __future__ import annotations

from typing import Any

from trainer.report.charts.svg import INK, SERIES, STYLE, as_svg, plt

Line = tuple[str, list[dict[str, float]]]
_AXES = ("probability", "positive_rate")


def learning_chart(name: str, training: dict[str, Any]) -> str | None:
    """Loss on train and validation against the step, and the step whose weights were kept; None without evaluations."""
    steps = training["evaluations"]
    if len(steps) < 2:
        return None
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(4.6, 3.2))
        for k, (key, label) in enumerate((("train_loss", "train"), ("val_log_loss", "validation"))):
            points = [(s["step"], s[key]) for s in steps if s.get(key) is not None]
            marker = "o-" if len(points) < 30 else "-"
            axes.plot(
                *zip(*points, strict=True), marker, markersize=3.5, color=SERIES[k], label=label
            ) if points else None
        axes.axvline(training["best_step"], color=INK, linestyle=":", label="kept")
        axes.set(xlabel="step", ylabel="log loss", title=name)
        axes.legend()
        return as_svg(figure, f"Learning curve of {name}")


def calibration_chart(title: str, panels: dict[str, list[Line]]) -> str:
    """Mean probability against positive rate in bins of equal size, a panel a scene, a line a run.

    panels: for each panel's name its lines, (run, bins as metrics.calibration gives them); a run has one colour in all.
    """
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    most = max((b[key] for lines in panels.values() for _, bins in lines for b in bins for key in _AXES), default=1)
    end = min(1.0, 1.05 * most)
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            rows, columns, figsize=(0.6 + 2.3 * columns, 0.9 + 2.3 * rows), sharex=True, sharey=True, squeeze=False
        )
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        for axes, (name, lines) in zip(grid.flat, panels.items(), strict=False):
            axes.plot([0, end], [0, end], color=INK, linestyle=":", linewidth=0.8)
            for k, (run, bins) in enumerate(lines):
                axes.plot(
                    *([b[key] for b in bins] for key in _AXES),
                    "o-",
                    markersize=2.5,
                    linewidth=1.2,
                    color=SERIES[k % len(SERIES)],
                    label=run,
                )
            axes.set(title=name, xlim=(0, end), ylim=(0, end), aspect="equal")
        figure.supxlabel("predicted probability", fontsize=10)
        figure.supylabel("positive rate", fontsize=10)
        handles, labels = grid.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=min(len(labels), 2 * columns) or 1)
        return as_svg(figure, title)
