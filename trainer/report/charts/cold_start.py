"""The cold-start cube as heat maps."""

from __future__ import annotations

from typing import Any

from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.patches import Rectangle

from trainer.report.charts.svg import STYLE, as_svg, plt

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
    with plt.rc_context(STYLE | {"axes.grid": False}):
        figure, axes = plt.subplots(figsize=(1.7 + 1.05 * len(scenes), 1.0 + 0.5 * len(rows)))
        for r, row in enumerate(rows):
            for c, cell in enumerate(row["cells"]):
                value = cell[measure]
                colour = _SMALL if value is None else to_hex(shades(scale(value)))
                axes.add_patch(Rectangle((c - 0.48, r - 0.46), 0.96, 0.92, facecolor=colour, linewidth=0))
                dark = value is None or scale(value) > 0.58
                text = f"{value:.4f}" if value is not None else "too small" if cell["n"] else "none"
                axes.text(
                    c,
                    r,
                    f"{text}\nn {cell['n']:,}",
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="#fefefe" if dark else "#111722",
                )
        axes.set_xticks(range(len(scenes)), ["all scenes" if s == "all" else s for s in scenes])
        axes.set_yticks(range(len(rows)), [f"user {r['user_level']}, item {r['item_level']}" for r in rows])
        axes.set_xlim(-0.5, len(scenes) - 0.5)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.tick_params(length=0, labeltop=True, labelbottom=False)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return as_svg(figure, f"{measure} of {name} by levels and scene")
