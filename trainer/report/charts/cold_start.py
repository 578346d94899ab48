"""Cold start as one compact heat map: what was known of the user down, of the item across, the margins at the ends."""

from __future__ import annotations

from typing import Any

from trainer.contract.schema import LEVELS
from trainer.metrics.metrics import ANY
from trainer.report.charts.vega import BAND, SOFT, Chart, field, told

# One hue, its strength saying the value: it reads in grey and by colour-blind eyes. Cells keep their own colours, and
# the words on them, whatever the page's.
_SHADES = ((232, 239, 252), (91, 134, 216), (23, 48, 107))
_DARK = 0.5
_ORDER = [*LEVELS, ANY]
_MEASURES = {"auc": "AUC", "alpha": "mean alpha"}


def shade(share: float) -> str:
    """A colour between the palest and the darkest. share: in [0, 1]."""
    at = 2 * min(max(share, 0.0), 1.0)
    one, two = _SHADES[int(at > 1)], _SHADES[1 + int(at > 1)]
    part = at - int(at > 1)
    return "#" + "".join(f"{round(a + part * (b - a)):02x}" for a, b in zip(one, two, strict=True))


def cube_chart(name: str, cube: list[dict[str, Any]], measure: str, low: float, high: float) -> Chart:
    """cube: rows of user_level, item_level and cells, of which the first is of all scenes.

    low, high: the ends of the colour scale; give all runs of a page the same.
    """
    values = []
    for row in cube:
        cell = row["cells"][0]
        if not cell["n"]:
            continue
        value = cell[measure]
        share = None if value is None else (value - low) / (high - low) if high > low else 0.5
        values.append(
            {
                "user": row["user_level"],
                "item": row["item_level"],
                "said": "too few" if value is None else f"{value:.3f}",
                "n": f"n {cell['n']:,}",
                "clicks": cell["positives"],
                "interval": f"{cell['low']:.4f} to {cell['high']:.4f}" if cell.get("low") is not None else "none",
                "fill": BAND if share is None else shade(share),
                "ink": SOFT if share is None else "#fefefe" if share > _DARK else "#111722",
            }
        )
    for side in ("user", "item"):
        levels = {v[side] for v in values} - {ANY}
        if len(levels) == 1:  # its margin would say the same again
            values = [v for v in values if v[side] != ANY]
    users, items = ([level for level in _ORDER if any(v[side] == level for v in values)] for side in ("user", "item"))
    place = {
        "x": field(
            "item", "ordinal", sort=None, scale={"domain": items, "paddingInner": 0.05}, title="item", axis=_axis()
        ),
        "y": field(
            "user", "ordinal", sort=None, scale={"domain": users, "paddingInner": 0.07}, title="user", axis=_axis()
        ),
    }
    place["x"]["axis"] |= {"orient": "top"}
    tooltip = told(
        ("user", "user", None),
        ("item", "item", None),
        ("said", _MEASURES[measure], None),
        ("interval", "95%", None),
        ("n", "rows", None),
        ("clicks", "clicks", ",d"),
    )
    ink = field("ink", "nominal", scale=None, legend=None)
    return Chart(
        f"{_MEASURES[measure]} of {name} by levels",
        {
            "data": {"values": values},
            "width": {"step": 66},
            "height": {"step": 40},
            "title": f"{name}: {_MEASURES[measure]}",
            "encoding": place | {"tooltip": tooltip},
            "layer": [
                {
                    "mark": {"type": "rect", "cornerRadius": 3},
                    "encoding": {"color": field("fill", "nominal", scale=None, legend=None)},
                },
                {
                    "mark": {"type": "text", "dy": -6, "fontSize": 12},
                    "encoding": {"text": {"field": "said"}, "color": ink},
                },
                {"mark": {"type": "text", "dy": 8, "fontSize": 10}, "encoding": {"text": {"field": "n"}, "color": ink}},
            ],
        },
    )


def _axis() -> dict[str, Any]:
    return {"domain": False, "ticks": False, "grid": False, "labelAngle": 0, "titleAnchor": "middle"}
