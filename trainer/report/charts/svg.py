"""Charts as inline SVG that follow the page's colours, so one drawing serves light and dark."""

from __future__ import annotations

import hashlib
import io
import re
from html import escape
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

__all__ = ["GRID", "INK", "SERIES", "STYLE", "as_svg", "plt", "standalone"]

# Drawn in placeholder colours; the page's CSS variables take their place in the SVG.
INK, GRID = "#010101", "#020202"
SERIES = ("#030303", "#040404", "#050505", "#060606", "#070707", "#080808")
_VARIABLES = {INK: "var(--ink)", GRID: "var(--grid)"} | {c: f"var(--series-{k})" for k, c in enumerate(SERIES)}
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "first-impression",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRID,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "text.parse_math": False,
}


def as_svg(figure: Any, title: str) -> str:
    """The figure as an <svg> element for the page, its size in the CSS variable --width; closes the figure."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    for drawn, variable in _VARIABLES.items():
        svg = svg.replace(drawn, variable)
    svg = re.sub(r' width="[\d.]+pt" height="[\d.]+pt"', "", svg, count=1)
    # Ids are unique within a drawing only: two drawings on a page would take each other's markers.
    prefix = "c" + hashlib.sha256(title.encode()).hexdigest()[:8]
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    # A point is 4/3 of a pixel: at this width the text has the size it was drawn in.
    about = f'role="img" aria-label="{escape(title)}" style="--width: {figure.get_figwidth() * 96:.0f}px"'
    return svg.replace("<svg", f"<svg {about}", 1)


# A drawing in a file of its own has no page to take its colours from.
_OWN_COLOURS = """<style>
svg { --ink: #1d2433; --grid: #dfe3ec; --series-0: #2456c5; --series-1: #c4521b; --series-2: #13805a;
  background: #fff; }
@media (prefers-color-scheme: dark) { svg { --ink: #e6e9f2; --grid: #313a4d; --series-0: #7ba6ff; --series-1: #ff9d66;
  --series-2: #5fd3a5; background: #12161f; } }
</style>"""


def standalone(svg: str) -> str:
    """The drawing with colours of its own, light and dark, for a file that no page holds."""
    end = svg.index(">") + 1
    return svg[:end] + _OWN_COLOURS + svg[end:]
