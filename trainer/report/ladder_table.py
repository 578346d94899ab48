"""ladder.json, ladder.md and ladder.svg: the same figures for a program, for a reader, at a glance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from storage import atomic
from trainer.report.charts import ladder_chart, standalone

HEAD = (
    "rung",
    "validation AUC",
    "test AUC",
    "to the rung before",
    "to 00_gbdt",
    "macro AUC",
    "GAUC",
    "log loss",
    "NE",
    "ECE",
    "parameters",
    "rows/s",
)


def write_pages(folder: Path, ladder: dict[str, Any]) -> None:
    """Write the three files, each whole or not at all; ladder.json last."""
    folder.mkdir(parents=True, exist_ok=True)
    atomic.text(folder / "ladder.svg", standalone(ladder_chart(ladder)))
    atomic.text(folder / "ladder.md", markdown(ladder))
    atomic.text(folder / "ladder.json", json.dumps(ladder, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def markdown(ladder: dict[str, Any]) -> str:
    """The whole page."""
    seeds, bayes = ladder["seeds"], ladder["bayes"]
    gap = bayes is not None
    lines = [
        f"# The ladder on {ladder['dataset']}",
        "",
        f"{ladder['mart']}, {ladder['test_rows']:,} test rows of {ladder['users']:,} users, "
        f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''}.",
        "",
        "![Test AUC of each rung with its interval](ladder.svg)",
        "",
        *_table([*HEAD, *(["gap to Bayes closed"] if gap else [])], [row_of(line, gap) for line in ladder["rungs"]]),
    ]
    if bayes:
        lines += ["", f"Bayes AUC on these rows: {bayes['auc']['all']:.4f}. Share of the gap: counted from 01_dnn."]
    for name in ladder["above_bayes"]:
        lines += ["", f"**{name} is above the Bayes AUC by more than chance: it sees what no honest model can.**"]
    for name, why in ladder["failed"].items():
        lines += ["", f"**{name} is not in the table: {why}**"]
    for line in ladder["rungs"]:
        if line["placebo_of"] and line["to_previous"] and line["to_original"]:
            lines += [
                "",
                f"Placebo: with its texts shuffled, {line['placebo_of']} is at "
                f"{difference(line['to_previous']['all'])} to {line['previous']}, and at "
                f"{difference(line['to_original']['all'])} to itself with the true ones.",
            ]
    by_part = _by_part(ladder)
    if by_part:
        lines += ["", "## Where: difference to 01_dnn", "", *by_part]
    return "\n".join([*lines, "", ladder["definition"], ""])


def difference(one: dict[str, Any] | None) -> str:
    """`+.0021 (+.0010 – +.0032)`, with `not shown` before it where the interval holds 0."""
    if one is None or one["difference"] is None:
        return "–"
    if one["low"] is None:
        return f"not shown: {_signed(one['difference'])}"
    said = f"{_signed(one['difference'])} ({_signed(one['low'])} – {_signed(one['high'])})"
    return f"not shown: {said}" if one["verdict"] == "not shown" else said


def spread(one: dict[str, Any]) -> str:
    """`.7921 ± .0004`: mean and standard deviation over seeds."""
    if one["mean"] is None:
        return "–"
    return _plain(one["mean"]) + ("" if one["sd"] is None else f" ± {_plain(one['sd'])}")


def row_of(line: dict[str, Any], gap: bool) -> list[str]:
    """A rung's cells, in the order of HEAD, then its share of the gap."""
    low, high = line["auc_low_high"]
    previous, gbdt = (line[key] and line[key]["all"] for key in ("to_previous", "to_gbdt"))
    to_previous = difference(previous)
    if previous is not None and line["previous"]:
        to_previous += f" [{line['previous']}]"
    cells = [
        line["name"],
        spread(line["val_auc"]),
        spread(line["test_auc"]) + ("" if low is None else f" ({_plain(low)} – {_plain(high)})"),
        to_previous,
        difference(gbdt),
        _plain(line["macro_auc"]) + _of_scenes(line),
        *(_plain(line[k]) for k in ("gauc", "log_loss", "ne", "ece")),
        f"{line['parameters']:,}",
        "–" if line["rows_per_second"] is None else f"{line['rows_per_second']:,.0f}",
    ]
    if gap:
        closed = line["gap_closed"]
        cells.append("–" if closed is None else f"{closed['share']:.0%} ({closed['low']:.0%} – {closed['high']:.0%})")
    return cells


def _of_scenes(line: dict[str, Any]) -> str:
    """Of how many scenes a macro AUC is; an older trainer's ladder doesn't say."""
    return " ({} of {} scenes)".format(*line["macro_auc_scenes"]) if "macro_auc_scenes" in line else ""


def _by_part(ladder: dict[str, Any]) -> list[str]:
    rungs = [line for line in ladder["rungs"] if line["to_dnn"] is not None]
    if not rungs:
        return []
    bayes = ladder["bayes"]
    rows = []
    for part, n in ladder["parts"].items():
        row = [part, f"{n:,}", *(difference(line["to_dnn"][part]) for line in rungs)]
        rows.append(row + ([_plain(bayes["auc"][part])] if bayes else []))
    table = _table(["test rows", "n", *(line["name"] for line in rungs), *(["Bayes AUC"] if bayes else [])], rows)
    table += [
        "",
        "Of many intervals, one in twenty excludes 0 by chance alone: a single part that stands out is a hint.",
    ]
    small = ", ".join(f"{part} ({n:,})" for part, n in ladder["too_small"].items())
    return [*table, "", f"Too small to tell: {small}."] if small else table


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}".replace("0.", ".", 1)


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("0.", ".", 1)
