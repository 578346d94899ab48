"""The page: runs in, one HTML file out. Its parts are templates, in the order in which report.html.j2 names them."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from storage import atomic
from trainer.metrics.metrics import ANY
from trainer.report import charts, pictures
from trainer.report.findings import Finding, findings, groups_of
from trainer.report.ladder_table import family_lines, halves, head_and_rows
from trainer.report.related import find_ceiling, find_ladder, find_skew
from trainer.report.runs import read_run, scenes_by_size, short_names

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
_FOLDED = 12  # scenes in a table before the smaller ones are folded away


def write_report(
    runs: list[Path],
    output: Path,
    bayes: Path | None = None,
    names: list[str] | None = None,
    ladder: Path | None = None,
    skew: Path | None = None,
) -> list[Finding]:
    """Write the report of finished runs to `output`; returns the answers at its top.

    bayes: the truth/bayes.json of a simulated log; None looks for data/raw/<dataset>/truth/bayes.json.
    ladder: a ladder.json, or its folder; None looks beside and above the runs for one of the same rows.
    skew: what `trainer replay --served` wrote; None looks for skew.json in the runs' folders.
    Raises: TrainerError when a run's files, the Bayes file, the ladder or the skew can't be read.
    """
    loaded = [read_run(run, name) for run, name in zip(runs, names or short_names(runs), strict=True)]
    ceiling = find_ceiling(bayes, loaded[0]["dataset"]["dataset"])
    groups, left_out = groups_of(loaded)
    found = findings(groups, left_out)
    style, script = _asset("report.css"), charts.bundle() + _asset("report.js")
    html = (
        _environment()
        .get_template("report.html.j2")
        .render(
            style=Markup(style),
            script=Markup(script),
            policy=_policy(style, script),
            runs=loaded,
            columns=COLUMNS,
            ceiling=ceiling,
            any=ANY,
            scenes=scenes_by_size(loaded),
            folded=_FOLDED,
            findings=found,
            datasets=_together(loaded, "dataset", ("dataset", "mart", "splits", "stand_ins")),
            ladder=_ladder(find_ladder(ladder, loaded)),
            auc_charts=pictures.auc_charts(loaded, groups, ceiling),
            cube_charts=dict(pictures.cubes(loaded)),
            calibration_charts=pictures.calibrations(loaded, groups),
            learning_charts=pictures.learning(loaded),
            importance_charts=pictures.importances(loaded),
            drifts=[pictures.drift(one) for one in _together(loaded, "drift")],
            texts=_texts(loaded),
            skews=[pictures.skew(one) for one in find_skew(skew, loaded)],
        )
    )
    atomic.text(output, html)
    return found


def _asset(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """The page's Content-Security-Policy: this style, this script, and nothing from anywhere.

    A run's names and texts are data; should one of them ever get into the page as markup, it runs nothing.
    """

    def hashed(text: str) -> str:
        return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"

    own = f"script-src {hashed(script)}; style-src {hashed(style)}"
    return f"default-src 'none'; base-uri 'none'; form-action 'none'; {own}"


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
        "breakable": lambda v: Markup(re.sub(r"([_.])", r"\1<wbr>", str(escape(v)))),  # in a narrow cell, between words
        "coded": lambda v: Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(v)))),
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
    head, rows = head_and_rows(ladder)
    tables = [[[line[k] for k in columns] for line in (head, *rows)] for columns in halves(len(head))]
    return ladder | {"charts": charts.ladder_charts(ladder), "tables": tables, "notes": family_lines(ladder)}


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
