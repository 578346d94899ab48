"""AUC of runs and of the ladder's rungs, and their differences, each with its interval."""

from __future__ import annotations

from typing import Any

from trainer.report.charts.vega import INK, SERIES, Chart, field, told

_VERDICTS = {"higher": SERIES[2], "lower": SERIES[1], "not shown": INK}


def claim_of(line: dict[str, Any]) -> dict[str, Any] | None:
    """A rung's claim with what it is `against`; of an older trainer's ladder, its difference to the rung before."""
    if "claim" in line:
        return line["claim"]
    return line["to_previous"] and {"against": line["previous"]} | line["to_previous"]["all"]


def auc_chart(title: str, rows: list[dict[str, Any]], ceiling: float | None = None) -> Chart:
    """AUC with its interval, one line per run. rows: name, value, low, high; without an AUC a line stays empty."""
    return Chart(title, _lines(rows, "AUC on test, 95% by users and items", ceiling))


def difference_chart(title: str, rows: list[dict[str, Any]], axis: str) -> Chart:
    """Differences in AUC with their intervals. rows: name, value, low, high, verdict, against."""
    spec = _lines(rows, axis)
    for layer in spec["layer"]:
        layer["encoding"]["color"] = field("verdict", "nominal", scale=_scale(), legend=None)
    hollow = [row for row in rows if row["value"] is not None and row["verdict"] == "not shown"]
    inside = {"shape": "circle", "filled": True, "size": 26, "opacity": 1, "color": "var(--paper)"}
    x = dict(spec["layer"][-1]["encoding"]["x"])
    if hollow:
        spec["layer"].append({"data": {"values": hollow}, "mark": {"type": "point", **inside}, "encoding": {"x": x}})
    spec["layer"].insert(0, {"mark": {"type": "rule"}, "encoding": {"x": {"datum": 0}}})
    spec["layer"][2]["encoding"]["tooltip"] += told(("against", "to", None), ("verdict", "verdict", None))
    return Chart(title, spec)


def ladder_charts(ladder: dict[str, Any]) -> list[Chart]:
    """Test AUC of each rung over seeds; each rung's claim. ladder: what ladder.json holds."""
    rungs, bayes = ladder["rungs"], ladder["bayes"]
    aucs, claims = [], []
    for line in rungs:
        low, high = line["auc_low_high"]
        aucs.append({"name": line["name"], "value": line["test_auc"]["mean"], "low": low, "high": high})
        one = claim_of(line)
        claim: dict[str, Any] = {"name": line["name"], "value": None}
        if one and one.get("low") is not None:
            claim |= {key: one[key] for key in ("low", "high", "verdict", "against")} | {"value": one["difference"]}
        claims.append(claim)
    return [
        auc_chart(f"The ladder on {ladder['dataset']}", aucs, bayes and bayes["auc"]["all"]),
        difference_chart(
            f"Claims of the ladder on {ladder['dataset']}",
            claims,
            "difference claimed (hollow: not shown)",
        ),
    ]


def beside(title: str, charts: list[Chart], width: int = 380) -> Chart:
    """Several charts as one picture, for a file."""
    return Chart(title, {"hconcat": [{"width": width} | chart.spec for chart in charts]})


def _scale() -> dict[str, Any]:
    return {"domain": list(_VERDICTS), "range": list(_VERDICTS.values())}


def _lines(rows: list[dict[str, Any]], axis: str, ceiling: float | None = None) -> dict[str, Any]:
    names = [row["name"] for row in rows]
    known = [row for row in rows if row["value"] is not None]
    y = field("name", "nominal", sort=None, scale={"domain": names}, axis={"labelLimit": 190, "grid": True})
    x: dict[str, Any] = {
        "scale": {"zero": False, "nice": True},
        "axis": {"tickCount": 5, "format": ".3~f", "labelFlush": False},
    }
    tooltip = told(("name", "run", None), ("value", "AUC", ".4f"), ("low", "from", ".4f"), ("high", "to", ".4f"))
    layers: list[dict[str, Any]] = [
        {
            "mark": {"type": "rule", "strokeWidth": 2.5, "color": SERIES[0], "strokeCap": "round"},
            "encoding": {"x": field("low", **x, title=axis), "x2": {"field": "high"}, "tooltip": tooltip},
        },
        {
            "mark": {"type": "point", "shape": "circle", "filled": True, "size": 70, "opacity": 1, "color": SERIES[0]},
            "encoding": {"x": field("value", **x, title=axis), "tooltip": list(tooltip)},
        },
    ]
    if ceiling is not None:
        layers.append(
            {
                "data": {"values": [{"value": ceiling, "said": f"Bayes {ceiling:.4f}"}]},
                "mark": {"type": "rule", "strokeDash": [5, 4], "color": SERIES[1]},
                "encoding": {"x": field("value", **x, title=axis), "tooltip": told(("said", "ceiling", None))},
            }
        )
        layers[-1]["encoding"]["y"] = None
    return {
        "data": {"values": known},
        "height": 26 * len(names),
        "encoding": {"y": y},
        "layer": layers,
    }
