"""Charts as inline SVG that follow the page's colours, so one drawing serves light and dark."""

from __future__ import annotations

import io
import re
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.patches import Rectangle

# Drawn in placeholder colours; the page's CSS variables take their place in the SVG.
_INK, _GRID = "#010101", "#020202"
_SERIES = ("#030303", "#040404", "#050505", "#060606", "#070707", "#080808")
_VARIABLES = {_INK: "var(--ink)", _GRID: "var(--grid)"} | {c: f"var(--series-{k})" for k, c in enumerate(_SERIES)}
_STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "first-impression", "font.family": "sans-serif", "font.size": 10,
    "text.color": _INK, "axes.labelcolor": _INK, "axes.edgecolor": _GRID, "xtick.color": _INK, "ytick.color": _INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": _GRID, "grid.linewidth": 0.6,
    "axes.axisbelow": True, "legend.frameon": False, "figure.constrained_layout.use": True,
}  # fmt: skip


def _svg(figure: Any, title: str) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    for drawn, variable in _VARIABLES.items():
        svg = svg.replace(drawn, variable)
    svg = re.sub(r' width="[\d.]+pt" height="[\d.]+pt"', "", svg, count=1)
    # Ids are unique within a drawing only: two drawings on a page would take each other's markers.
    prefix = re.sub(r"\W+", "-", title.lower())
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)


# A drawing in a file of its own has no page to take its colours from.
_OWN_COLOURS = """<style>
svg { --ink: #1d2433; --grid: #dfe3ec; --series-0: #2456c5; --series-1: #c4521b; --series-2: #13805a;
  background: #fff; }
@media (prefers-color-scheme: dark) { svg { --ink: #e6e9f2; --grid: #313a4d; --series-0: #7ba6ff; --series-1: #ff9d66;
  --series-2: #5fd3a5; background: #12161f; } }
</style>"""


def ladder_chart(ladder: dict[str, Any]) -> str:
    """Two panels, a rung a line: test AUC with every seed, and the difference to the rung before with its interval.

    Needs no page: the drawing brings its colours, light and dark. `ladder`: what ladder.json holds.
    """
    rungs = ladder["rungs"]
    with plt.rc_context(_STYLE):
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(9.5, 1.2 + 0.42 * len(rungs)), sharey=True, width_ratios=(3, 2)
        )
        for k, line in enumerate(rungs):
            low, high = line["auc_low_high"]
            if low is not None:
                left.plot([low, high], [k, k], color=_SERIES[0], linewidth=2.5, solid_capstyle="round")
            left.plot(line["test_auc"]["mean"], k, "o", color=_SERIES[0], markersize=7)
            one = line["to_previous"] and line["to_previous"]["all"]
            if one and one["low"] is not None:
                shown = one["verdict"] != "not shown"
                right.plot([one["low"], one["high"]], [k, k], color=_SERIES[2] if shown else _GRID, linewidth=2.5)
                right.plot(one["difference"], k, "o", markersize=7, color=_SERIES[2] if shown else _INK,
                           markerfacecolor=_SERIES[2] if shown else "none")  # fmt: skip
        if ladder["bayes"]:
            ceiling = ladder["bayes"]["auc"]["all"]
            left.axvline(ceiling, color=_SERIES[1], linestyle="--", label=f"Bayes {ceiling:.4f}")
            left.legend(loc="lower left", bbox_to_anchor=(0, 1))
        right.axvline(0, color=_INK, linewidth=0.8)
        left.set_yticks(range(len(rungs)), [line["name"] for line in rungs])
        left.set_ylim(len(rungs) - 0.5, -0.5)
        left.set_xlabel("AUC on test, 95% by user")
        right.set_xlabel("to the rung before (hollow: not shown)")
        svg = _svg(figure, f"The ladder on {ladder['dataset']}")
    end = svg.index(">") + 1
    return svg[:end] + _OWN_COLOURS + svg[end:]


def auc_chart(rows: list[dict[str, Any]], ceiling: float | None) -> str:
    """Test AUC with its interval, one line a run; the Bayes ceiling where it is known."""
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(figsize=(7, 0.9 + 0.42 * len(rows)))
        for k, row in enumerate(rows):
            if row["auc"] is None:
                continue
            if row["low"] is not None:
                axes.plot([row["low"], row["high"]], [k, k], color=_SERIES[0], linewidth=2.5, solid_capstyle="round")
            axes.plot(row["auc"], k, "o", color=_SERIES[0], markersize=7)
        if ceiling is not None:
            axes.axvline(ceiling, color=_SERIES[1], linestyle="--", label=f"Bayes {ceiling:.4f}")
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1))
        axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("AUC on test, 95% interval by user")
        return _svg(figure, "Test AUC by run")


def calibration_chart(runs: list[tuple[str, list[dict[str, float]]]]) -> str:
    """Mean probability against positive rate in bins of equal size."""
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(figsize=(4.6, 4.2))
        axes.plot([0, 1], [0, 1], color=_GRID, linestyle="--")
        for k, (name, bins) in enumerate(runs):
            axes.plot(
                [b["probability"] for b in bins], [b["positive_rate"] for b in bins], "o-", markersize=3.5,
                color=_SERIES[k % len(_SERIES)], label=name,
            )  # fmt: skip
        axes.set(xlabel="predicted probability", ylabel="positive rate", xlim=(0, 1), ylim=(0, 1))
        if runs:
            axes.legend(loc="upper left")
        return _svg(figure, "Calibration on test")


def learning_chart(name: str, training: dict[str, Any]) -> str | None:
    """Loss on train and validation against the step, and the step whose weights were kept; None without evaluations."""
    steps = training["evaluations"]
    if len(steps) < 2:
        return None
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(figsize=(4.6, 3.2))
        for k, (key, label) in enumerate((("train_loss", "train"), ("val_log_loss", "validation"))):
            points = [(s["step"], s[key]) for s in steps if s.get(key) is not None]
            marker = "o-" if len(points) < 30 else "-"
            axes.plot(
                *zip(*points, strict=True), marker, markersize=3.5, color=_SERIES[k], label=label
            ) if points else None
        axes.axvline(training["best_step"], color=_INK, linestyle=":", label="kept")
        axes.set(xlabel="step", ylabel="log loss", title=name)
        axes.legend()
        return _svg(figure, f"Learning curve of {name}")


_SMALL = "#6b7485"


def cube_chart(name: str, cube: list[dict[str, Any]], measure: str, low: float, high: float) -> str:
    """The cold-start cube as a heat map: levels down, scenes across, the measure as colour, n in every cell.

    cube: rows of user_level, item_level and cells (scene, n, and the measure, None where it is too small to tell).
    low, high: the ends of the colour scale; give all runs of a page the same.
    """
    rows = [row for row in cube if row["cells"][0]["n"]]
    scenes = [cell["scene"] for cell in rows[0]["cells"]]
    # One hue, its strength saying the value: it reads in grey and by colour-blind eyes. Cells keep their own colours,
    # and the text on them, whatever the page's.
    shades = LinearSegmentedColormap.from_list("cube", ["#e8effc", "#5b86d8", "#17306b"])
    scale = plt.Normalize(low, high if high > low else low + 1e-3)
    with plt.rc_context(_STYLE | {"axes.grid": False}):
        figure, axes = plt.subplots(figsize=(1.9 + 1.15 * len(scenes), 1.0 + 0.5 * len(rows)))
        for r, row in enumerate(rows):
            for c, cell in enumerate(row["cells"]):
                value = cell[measure]
                colour = _SMALL if value is None else to_hex(shades(scale(value)))
                axes.add_patch(Rectangle((c - 0.48, r - 0.46), 0.96, 0.92, facecolor=colour, linewidth=0))
                dark = value is None or scale(value) > 0.4
                text = f"{value:.4f}" if value is not None else "too small" if cell["n"] else "none"
                axes.text(
                    c, r, f"{text}\nn {cell['n']:,}", ha="center", va="center", fontsize=8,
                    color="#fefefe" if dark else "#111722",
                )  # fmt: skip
        axes.set_xticks(range(len(scenes)), ["all scenes" if s == "all" else s for s in scenes])
        axes.set_yticks(range(len(rows)), [f"user {r['user_level']}, item {r['item_level']}" for r in rows])
        axes.set_xlim(-0.5, len(scenes) - 0.5)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.tick_params(length=0, labeltop=True, labelbottom=False)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return _svg(figure, f"{measure} of {name} by levels and scene")


def importance_chart(name: str, rows: list[dict[str, Any]]) -> str:
    """The drop in AUC when an input is permuted, with its standard deviation over repeats; the most telling first."""
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(figsize=(6.4, 0.9 + 0.3 * len(rows)))
        for k, row in enumerate(rows):
            axes.barh(k, row["drop"], color=_SERIES[0], height=0.62)
            axes.plot([row["drop"] - row["sd"], row["drop"] + row["sd"]], [k, k], color=_INK, linewidth=1.2)
        axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.axvline(0, color=_INK, linewidth=0.8)
        axes.set_xlabel("drop in validation AUC when permuted")
        return _svg(figure, f"Importance in {name}")
