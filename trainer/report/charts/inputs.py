"""What the model reads: what each input is worth, how far it has drifted, and whether it is served as it is stored."""

from __future__ import annotations

from typing import Any

from trainer.report.charts.vega import INK, SERIES, Chart, field, told

# In the middle: names of one list differ at their ends.
_SHORTENED = "length(datum.label) > 28 ? slice(datum.label, 0, 10) + '…' + slice(datum.label, -17) : datum.label"


def importance_chart(name: str, what: str, rows: list[dict[str, Any]]) -> Chart:
    """The drop in AUC when an input is permuted, and its standard deviation over parts of the rows; largest first."""
    values = [
        {"name": row["name"], "drop": row["drop"], "low": row["drop"] - row["sd"], "high": row["drop"] + row["sd"]}
        for row in rows
    ]
    axis = "drop in validation AUC when shuffled"
    tooltip = told(
        ("name", what, None), ("drop", "drop", "+.4f"), ("low", "less sd", "+.4f"), ("high", "plus sd", "+.4f")
    )
    return Chart(
        f"Importance in {name}, {what}",
        _bars(
            values,
            f"{name}: {what}s",
            {"mark": {"type": "bar", "color": SERIES[0], "size": 13}, "encoding": {"x": field("drop", title=axis)}},
            {
                "mark": {"type": "rule", "color": INK, "strokeWidth": 1.3},
                "encoding": {"x": field("low", title=axis), "x2": {"field": "high"}},
            },
            tooltip=tooltip,
        ),
    )


def drift_chart(name: str, rows: list[dict[str, Any]]) -> Chart:
    """PSI of each input between train and test, the largest first, and a mark at how much it moves within train."""
    values = [{key: row[key] for key in ("name", "psi", "psi_in_train")} for row in rows]
    axis = "PSI of test against train; the mark: within train"
    return Chart(
        f"Drift of the inputs of {name}",
        _bars(
            values,
            None,
            {"mark": {"type": "bar", "color": SERIES[3], "size": 13}, "encoding": {"x": field("psi", title=axis)}},
            {
                "mark": {"type": "tick", "color": INK, "thickness": 2.5, "size": 18},
                "encoding": {"x": field("psi_in_train", title=axis)},
            },
            tooltip=told(("name", "input", None), ("psi", "PSI", ".3f"), ("psi_in_train", "within train", ".3f")),
        ),
    )


def skew_chart(name: str, rows: list[dict[str, Any]]) -> Chart:
    """The share of rows in which a feature was served with another value than the mart has; the largest first."""
    values = [{key: row[key] for key in ("name", "mismatch_rate", "smape")} for row in rows]
    bars = {
        "mark": {"type": "bar", "color": SERIES[1], "size": 13},
        "encoding": {"x": field("mismatch_rate", title="rows that differ", axis={"format": ".2~%"})},
    }
    tooltip = told(("name", "feature", None), ("mismatch_rate", "differ", ".3%"), ("smape", "SMAPE", ".3g"))
    return Chart(f"Features served with other values, {name}", _bars(values, None, bars, tooltip=tooltip))


def _bars(
    values: list[dict[str, Any]], title: str | None, *layers: dict[str, Any], tooltip: list[dict[str, Any]]
) -> dict[str, Any]:
    spec = {
        "data": {"values": values},
        "height": 21 * len(values),
        "encoding": {
            "y": field("name", "nominal", sort=None, axis={"labelLimit": 210, "labelExpr": _SHORTENED}),
            "tooltip": tooltip,
        },
        "layer": list(layers),
    }
    return spec | ({"title": title} if title else {})
