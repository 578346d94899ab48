"""The page: runs in, one HTML file out. Its parts are templates, in the order in which report.html.j2 names them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2

from storage import atomic
from trainer.metrics.metrics import ANY
from trainer.report import charts
from trainer.report.ladder_table import HEAD, family_lines, halves, row_of
from trainer.report.related import find_ceiling, find_ladder
from trainer.report.runs import read_run, short_names

_TEMPLATES = Path(__file__).parent / "templates"
COLUMNS = (
    ("auc", "AUC"),
    ("macro_auc", "macro AUC"),
    ("gauc", "GAUC"),
    ("gauc_coverage", "GAUC coverage"),
    ("pr_auc", "PR-AUC"),
    ("log_loss", "log loss"),
    ("ne", "NE"),
    ("ece", "ECE"),
)
_TOP = 15  # inputs in a chart
_ROWS_A_CELL = 300  # with fewer a cell doesn't stretch the scale of colours
_LINES = 6  # runs in a chart whose lines cross


def write_report(
    runs: list[Path],
    output: Path,
    bayes: Path | None = None,
    names: list[str] | None = None,
    ladder: Path | None = None,
) -> None:
    """Write the report of finished runs to `output`.

    bayes: the truth/bayes.json of a simulated log; None looks for data/raw/<dataset>/truth/bayes.json.
    ladder: a ladder.json, or its folder; None looks beside and above the runs for one of the same rows.
    Raises: TrainerError when a run's files, the Bayes file or the ladder can't be read.
    """
    loaded = [read_run(run, name) for run, name in zip(runs, names or short_names(runs), strict=True)]
    ceiling = find_ceiling(bayes, loaded[0]["dataset"]["dataset"])
    html = (
        _environment()
        .get_template("report.html.j2")
        .render(
            runs=loaded,
            columns=COLUMNS,
            ceiling=ceiling,
            any=ANY,
            scenes=list(dict.fromkeys(s for run in loaded for s in run["metrics"]["splits"]["test"]["scenes"])),
            datasets=_together(loaded, "dataset", ("dataset", "mart", "splits", "stand_ins")),
            ladder=_ladder(find_ladder(ladder, loaded)),
            auc_chart=_auc(loaded, ceiling),
            cube_charts=dict(_cubes(loaded)),
            calibration_charts=_calibrations(loaded),
            learning_charts=[chart for r in loaded if (chart := charts.learning_chart(r["name"], r["training"]))],
            importance_charts=_importances(loaded),
            drifts=_drifts(loaded),
            texts=_texts(loaded),
        )
    )
    atomic.text(output, html)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "score": lambda v: "–" if v is None else f"{v:.4f}",
        "percent": lambda v: "–" if v is None else f"{v:.1%}",
        "count": lambda v: f"{v:,}",
        "short": lambda v: "–" if v is None else f"{v:,.4g}",
    }
    return environment


def _together(loaded: list[dict[str, Any]], key: str, parts: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """What several runs say alike, once: {key: what is said, "names": of the runs}; without runs that say nothing.

    parts: of what is said, those that must be alike; none for all.
    """
    found: dict[str, dict[str, Any]] = {}
    for run in loaded:
        if run[key]:
            said = repr([run[key][part] for part in parts] or run[key])
            found.setdefault(said, {key: run[key], "names": []})["names"].append(run["name"])
    return list(found.values())


def _ladder(ladder: dict[str, Any] | None) -> dict[str, Any] | None:
    if ladder is None:
        return None
    gap = ladder["bayes"] is not None
    head = [*HEAD, *(["gap to Bayes closed"] if gap else [])]
    lines = [head, *(row_of(line, gap) for line in ladder["rungs"])]
    tables = [[[line[k] for k in columns] for line in lines] for columns in halves(len(head))]
    return ladder | {"chart": charts.ladder_chart(ladder), "tables": tables, "notes": family_lines(ladder)}


def _auc(loaded: list[dict[str, Any]], ceiling: dict[tuple[str, str, str], float | None] | None) -> str:
    tests = [(run["name"], run["metrics"]["splits"]["test"]) for run in loaded]
    rows = [{"name": name, "auc": t["auc"], "low": t["auc_low"], "high": t["auc_high"]} for name, t in tests]
    return charts.auc_chart(rows, (ceiling or {}).get((ANY, ANY, ANY)))


def _cubes(loaded: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, str]]]:
    """For each run its heat maps by measure; all runs share a measure's scale."""

    def values(run: dict[str, Any], measure: str, least: int = 0) -> list[float]:
        return [c[measure] for row in run["cube"] for c in row["cells"] if c[measure] is not None and c["n"] >= least]

    scales = {
        m: [v for run in loaded for v in values(run, m, _ROWS_A_CELL) or values(run, m)] for m in ("auc", "alpha")
    }
    for run in loaded:
        yield (
            run["name"],
            {
                m: charts.cube_chart(run["name"], run["cube"], m, min(all_), max(all_))
                for m, all_ in scales.items()
                if values(run, m)
            },
        )


def _calibrations(loaded: list[dict[str, Any]]) -> list[str]:
    """Small multiples by scene, a few runs each, so that every line keeps a colour of its own."""
    out = []
    for s in range(0, len(loaded), _LINES):
        some = [run for run in loaded[s : s + _LINES] if run["calibration"][ANY]]
        panels = dict.fromkeys(panel for run in some for panel in run["calibration"])
        lines = {p: [(run["name"], run["calibration"].get(p, [])) for run in some] for p in panels}
        if some:
            shown = {"all scenes": lines.pop(ANY)} | lines
            out.append(charts.calibration_chart(f"Calibration of {', '.join(r['name'] for r in some)}", shown))
    return out


def _importances(loaded: list[dict[str, Any]]) -> list[str]:
    return [
        charts.importance_chart(f"{run['name']}, {what}", rows[:_TOP])
        for run in loaded
        for what, rows in run["importance"].items()
        if rows
    ]


def _drifts(loaded: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Runs on the same rows have the same drift: once for them all."""
    return [
        one | {"top": one["drift"][:_TOP], "chart": charts.drift_chart(", ".join(one["names"]), one["drift"][:_TOP])}
        for one in _together(loaded, "drift")
    ]


def _texts(loaded: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]] | None:
    """The parts of the runs' text facts, each said once: coverage by encoder and column, neighbours, fallback."""
    runs = [run for run in loaded if run["texts"]]
    if not runs:
        return None
    parts: list[dict[str, Any]] = []
    for run in runs:
        parts += [{"name": run["name"], "coverage": row} for row in run["texts"]["coverage"]]
        parts += [{"name": run["name"], part: run["texts"][part]} for part in ("neighbours", "fallback")]
    return {
        part: _together([one for one in parts if part in one], part) for part in ("coverage", "neighbours", "fallback")
    }
