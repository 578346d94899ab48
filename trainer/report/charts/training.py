"""How training went, and whether probabilities mean what they say."""

from __future__ import annotations

from typing import Any

from trainer.report.charts.vega import INK, SERIES, Chart, field, told

Line = tuple[str, list[dict[str, float]]]
_CHOSEN = {"name": "chosen", "select": {"type": "point", "fields": ["run"]}, "bind": "legend"}
_FEW = 4  # evaluations up to which all points are in the frame
_CURVES = (("train_loss", "train"), ("val_log_loss", "validation"))


def learning_chart(name: str, training: dict[str, Any]) -> Chart | None:
    """Loss on train and validation against the step, and the step whose weights were kept; None without evaluations.

    The scale is that of the points after the first, which is far above the others and would flatten them; of a few
    points, that of all.
    """
    steps = training["evaluations"]
    if len(steps) < 2:
        return None
    values = [
        {"step": s["step"], "loss": s[key], "of": label}
        for key, label in _CURVES
        for s in steps
        if s.get(key) is not None
    ]
    start = steps[0]["step"] if len(steps) > _FEW else -1
    later = [v["loss"] for v in values if v["step"] > start] or [v["loss"] for v in values]
    low, high = min(v["loss"] for v in values), max(later)
    margin = 0.06 * (high - low) or 0.01
    above = any(v["loss"] > high + margin for v in values)
    y = field(
        "loss",
        title="log loss (starts above)" if above else "log loss",
        scale={"domain": [low - margin, high + margin], "zero": False, "nice": False},
        axis={"tickCount": 5},
    )
    return Chart(
        f"Learning curve of {name}",
        {
            "title": name,
            "data": {"values": values},
            "height": 190,
            "layer": [
                {
                    "mark": {"type": "line", "clip": True, "point": {"size": 22} if len(steps) < 30 else False},
                    "encoding": {
                        "x": field("step", title="step", axis={"tickCount": 5}),
                        "y": y,
                        "color": field(
                            "of",
                            "nominal",
                            scale={"domain": [label for _, label in _CURVES], "range": list(SERIES[:2])},
                        ),
                        "tooltip": told(("of", "loss on", None), ("step", "step", ",d"), ("loss", "log loss", ".4f")),
                    },
                },
                {
                    "data": {"values": [{"step": training["best_step"], "said": "weights that were kept"}]},
                    "mark": {"type": "rule", "strokeDash": [2, 3], "color": INK},
                    "encoding": {
                        "x": field("step", title="step"),
                        "tooltip": told(("said", "step", None), ("step", "", ",d")),
                    },
                },
            ],
        },
        width=300,
    )


def calibration_chart(of: str, scene: str, lines: list[Line], names: list[str], *, legend: bool) -> Chart:
    """Mean probability against positive rate in bins of equal size, a line per run.

    names: of all runs, so that each keeps its colour in every scene. legend: names them all, and a click on one fades
    the others. of: what makes the title unique on the page.
    """
    values: list[dict[str, Any]] = [
        {"run": run, "probability": b["probability"], "rate": b["positive_rate"], "n": b["n"]}
        for run, bins in lines
        for b in bins
    ]
    end = min(1.0, 1.05 * max((max(v["probability"], v["rate"]) for v in values), default=1))
    axis: dict[str, Any] = {"scale": {"domain": [0, end], "nice": False}, "axis": {"tickCount": 4}}
    colours = {"domain": names, "range": [SERIES[k % len(SERIES)] for k in range(len(names))]}
    return Chart(
        f"Calibration of {of}, {scene}",
        {
            "title": scene,
            "height": 210,
            "layer": [
                {
                    "data": {"values": [{"x": 0, "y": 0}, {"x": end, "y": end}]},
                    "mark": {"type": "line", "strokeDash": [2, 3], "color": INK, "strokeWidth": 1},
                    "encoding": {"x": field("x", **axis), "y": field("y", **axis)},
                },
                {
                    "data": {"values": values},
                    "params": [_CHOSEN] if legend else [],
                    "mark": {"type": "line", "point": {"size": 18}, "strokeWidth": 1.4},
                    "encoding": {
                        "x": field("probability", title="predicted probability", **axis),
                        "y": field("rate", title="positive rate", **axis),
                        "color": field("run", "nominal", scale=colours, legend={"columns": 3} if legend else None),
                        "opacity": {"condition": {"param": "chosen", "value": 1}, "value": 0.12}
                        if legend
                        else {"value": 1},
                        "tooltip": told(
                            ("run", "run", None),
                            ("probability", "predicted", ".4f"),
                            ("rate", "happened", ".4f"),
                            ("n", "rows", ",d"),
                        ),
                    },
                },
            ],
        },
        width=300,
    )
