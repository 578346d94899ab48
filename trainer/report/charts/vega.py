"""A chart: a Vega-Lite spec, drawn here as a still picture, and in the browser as one that answers to the mouse.

Colours are the page's CSS variables, so that one drawing serves light and dark. Nothing is fetched: vl-convert holds
Vega and draws by itself; its bundle of Vega, Vega-Lite and Vega-Embed (script.py) is part of the page.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from html import escape
from typing import Any

from markupsafe import Markup

VERSION = "6.4"  # of Vega-Lite, among those that vl-convert 1.9 holds
INK, SOFT, GRID, BAND = "var(--ink)", "var(--soft)", "var(--grid)", "var(--band)"
SERIES = tuple(f"var(--series-{k})" for k in range(10))
_FONT = "system-ui, sans-serif"
_WORDS = {"labelColor": INK, "titleColor": INK, "labelFont": _FONT, "titleFont": _FONT, "titleFontWeight": "normal"}
_CONFIG = {
    "font": _FONT,
    "view": {"stroke": None},
    "axis": _WORDS
    | {"gridColor": GRID, "domainColor": GRID, "tickColor": GRID, "labelFontSize": 12, "titleFontSize": 12},
    "axisX": {"titleAnchor": "end"},  # under a narrow plot a long title grows to the left, where there is room
    "legend": _WORDS | {"orient": "top", "labelFontSize": 12, "title": None, "symbolLimit": 0, "labelLimit": 220},
    "title": {"color": INK, "font": _FONT, "fontSize": 12, "fontWeight": 600, "anchor": "start"},
    "text": {"color": INK, "font": _FONT},
    "rule": {"color": INK},
}


@dataclass(frozen=True)
class Chart:
    """title: what it shows, for those who don't see it. spec: of one view, without a width unless its rows are cells.

    width: of the still picture in pixels; the live one is as wide as its column.
    """

    title: str
    spec: dict[str, Any]
    width: int = 520

    @property
    def html(self) -> Markup:
        """<figure> with the still picture, the place of the live one, and its spec as data."""
        own = self.spec.get("width")
        size = {} if own else {"width": "container", "autosize": {"type": "fit-x", "contains": "padding"}}
        live = json.dumps(_whole(self.spec | size), ensure_ascii=False, separators=(",", ":"))
        # Inside <script> nothing is escaped but what could end it, or begin a comment.
        live = live.replace("<", "\\u003c")
        return Markup(
            f'<figure class="chart{" fixed" if own else ""}">'
            f'<div class="still">{self.svg}</div><div class="live"></div>'
            f'<script type="application/json">{live}</script></figure>'
        )

    @property
    def svg(self) -> str:
        """The still picture as an <svg> element."""
        spec = self.spec if "hconcat" in self.spec else {"width": self.width} | self.spec
        import vl_convert  # here: it brings a JavaScript engine

        svg = str(vl_convert.vegalite_to_svg(_whole(spec), vl_version=VERSION))
        # Ids are unique within a drawing only: two drawings on a page would take each other's.
        prefix = "c" + hashlib.sha256(self.title.encode()).hexdigest()[:8]
        svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)
        return svg.replace("<svg", f'<svg role="img" aria-label="{escape(self.title)}"', 1)


def _whole(spec: dict[str, Any]) -> dict[str, Any]:
    """With the page's look; the tooltip shows data and never a link."""
    return {"$schema": "https://vega.github.io/schema/vega-lite/v6.json", "background": None, "config": _CONFIG} | spec


def field(name: str, kind: str = "quantitative", **more: Any) -> dict[str, Any]:
    """An encoding channel."""
    return {"field": name, "type": kind, "title": None} | more


def told(*parts: tuple[str, str, str | None]) -> list[dict[str, Any]]:
    """A tooltip. parts: field, title, number format (None for words)."""
    return [
        {"field": name, "title": title} | ({"type": "quantitative", "format": form} if form else {"type": "nominal"})
        for name, title, form in parts
    ]


# A drawing in a file of its own has no page to take its colours from.
_OWN_COLOURS = """<style>
svg { --ink: #1d2433; --soft: #5d6780; --grid: #dfe3ec; --series-0: #2456c5; --series-1: #c4521b; --series-2: #13805a;
  background: #fff; }
@media (prefers-color-scheme: dark) { svg { --ink: #e6e9f2; --soft: #9aa5bf; --grid: #313a4d; --series-0: #7ba6ff;
  --series-1: #ff9d66; --series-2: #5fd3a5; background: #12161f; } }
</style>"""


def standalone(chart: Chart) -> str:
    """The drawing with colours of its own, light and dark, for a file that no page holds."""
    svg = chart.svg
    end = svg.index(">") + 1
    return svg[:end] + _OWN_COLOURS + svg[end:]
