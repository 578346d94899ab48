"""ladder.json, ladder.md and ladder.svg: the same figures for a program, for a reader, at a glance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from storage import atomic
from trainer.report.charts import beside, claim_of, ladder_charts, standalone

HEAD = (
    "rung",
    "validation AUC",
    "test AUC",
    "claim",
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


CLAIMS = 6  # the first columns are about what is claimed; the others are further metrics


def halves(columns: int) -> tuple[list[int], list[int]]:
    """Two tables in place of one that is too wide: the claims (with the gap to Bayes, if it is there), the metrics."""
    return [*range(CLAIMS), *range(len(HEAD), columns)], [0, *range(CLAIMS, len(HEAD))]


def write_pages(folder: Path, ladder: dict[str, Any]) -> None:
    """Write the three files, each whole or not at all; ladder.json last."""
    folder.mkdir(parents=True, exist_ok=True)
    atomic.text(folder / "ladder.svg", standalone(beside(f"The ladder on {ladder['dataset']}", ladder_charts(ladder))))
    atomic.text(folder / "ladder.md", markdown(ladder))
    atomic.text(folder / "ladder.json", json.dumps(ladder, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def markdown(ladder: dict[str, Any]) -> str:
    """The whole page."""
    seeds, bayes = ladder["seeds"], ladder["bayes"]
    lines = [
        f"# The ladder on {ladder['dataset']}",
        "",
        f"{ladder['mart']}, {ladder['test_rows']:,} test rows of {ladder['users']:,} users and {ladder['items']:,} "
        f"items, {len(seeds)} seed{'s' if len(seeds) > 1 else ''}.",
        "",
        "![Test AUC of each rung with its interval](ladder.svg)",
        "",
        *_table(*head_and_rows(ladder)),
    ]
    if bayes:
        counted = " Share of the gap: counted from 01_dnn." if _has_gap(ladder) else ""
        lines += ["", f"Bayes AUC on these rows: {bayes['auc']['all']:.4f}.{counted}"]
    for name in ladder["above_bayes"]:
        lines += ["", f"**{name} is above the Bayes AUC by more than chance: it sees what no honest model can.**"]
    for name, why in ladder["failed"].items():
        lines += ["", f"**{name} is not in the table: {why}**"]
    for line in ladder["rungs"]:
        if line["placebo_of"] and line["to_previous"] and line["to_original"]:
            lines += [
                "",
                f"Placebo: with its texts shuffled, {line['placebo_of']} is at "
                f"{difference(line['to_previous']['all'])} to {line['previous']}.",
            ]
    by_part = _by_part(ladder)
    if by_part:
        lines += ["", "## Where: difference to 01_dnn", "", *by_part]
    notes = [line for note in family_lines(ladder) for line in ("", note)]
    return "\n".join([*lines, "", ladder["definition"], *notes, ""])


def family_lines(ladder: dict[str, Any]) -> list[str]:
    """What the intervals hold for, what was declared and what wasn't, and how small an effect the log can show."""
    family = ladder.get("family")  # older ladders have none
    if family is None:
        return []
    lock = family["lock"]
    if lock is None:
        return ["Nothing was declared before test was read: there is no ladder.lock beside these runs."]
    lines = [
        f"Declared before test was read (ladder.lock): {len(lock['stages'])} rungs, seeds "
        f"{', '.join(map(str, lock['seeds']))}, {family['declared']} comparisons; an interval reaches "
        f"{family['critical_value']:.2f} standard errors to each side (more with few seeds), so that all of them "
        "hold at once."
    ]
    if family["of_them_here"] < family["declared"]:
        lines.append(f"{family['declared'] - family['of_them_here']} of the declared comparisons aren't in this table.")
    if family["undeclared"]:
        why = {
            f"{line['name']}: {one['undeclared']}"
            for line in ladder["rungs"]
            for one in _claims(line)
            if one.get("undeclared")
        }
        lines.append(
            f"Undeclared: {family['undeclared']} comparisons were thought of when test could be known, and "
            f"their intervals can't make up for that. {'; '.join(sorted(why))}."
        )
    if lock["read_before"]:
        lines.append(
            f"{len(lock['read_before'])} runs were finished before the declaration, so their test metrics could be "
            f"known: {', '.join(lock['read_before'][:8])}{' ...' if len(lock['read_before']) > 8 else ''}."
        )
    if lock["replaces"]:
        lines.append(f"This folder has had {len(lock['replaces'])} declarations for other rows before.")
    smallest = [
        (one["smallest"], line["name"]) for line in ladder["rungs"] if (one := claim_of(line)) and one.get("smallest")
    ]
    if smallest:
        (least, where), (most, worst) = min(smallest), max(smallest)
        lines.append(
            f"With the runs at hand, the smallest claim shown with 80% power is between {least:.4f} ({where}) and "
            f"{most:.4f} ({worst})."
        )
    effect = lock["smallest_effect"]
    return [effect["said"], *lines] if effect else lines


def _claims(line: dict[str, Any]) -> list[dict[str, Any]]:
    found = (line[key] and line[key]["all"] for key in ("to_previous", "to_gbdt", "to_placebo"))
    return [one for one in found if one]


def difference(one: dict[str, Any] | None) -> str:
    """`+.0021 (+.0010 – +.0032)`, with `not shown` before it where the interval holds 0, and `undeclared`."""
    if one is None or one["difference"] is None:
        return "–"
    undeclared = "undeclared, " if one.get("undeclared") else ""
    if one["low"] is None:
        return f"{undeclared}not shown: {_signed(one['difference'])}"
    said = f"{_signed(one['difference'])} ({_signed(one['low'])} – {_signed(one['high'])})"
    return undeclared + (f"not shown: {said}" if one["verdict"] == "not shown" else said)


def spread(one: dict[str, Any]) -> str:
    """`.7921 ± .0004`: mean and standard deviation over seeds."""
    if one["mean"] is None:
        return "–"
    return _plain(one["mean"]) + ("" if one["sd"] is None else f" ± {_plain(one['sd'])}")


def head_and_rows(ladder: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """HEAD and, where any rung has one, the share of the gap to Bayes; each rung's cells in that order."""
    gap = _has_gap(ladder)
    return [*HEAD, *(["gap to Bayes closed"] if gap else [])], [_row(line, gap) for line in ladder["rungs"]]


def _has_gap(ladder: dict[str, Any]) -> bool:
    return any(line["gap_closed"] is not None for line in ladder["rungs"])


def _row(line: dict[str, Any], gap: bool) -> list[str]:
    low, high = line["auc_low_high"]
    previous, gbdt = (line[key] and line[key]["all"] for key in ("to_previous", "to_gbdt"))
    claim = claim_of(line)
    to_previous = f"{difference(previous)} [{line['previous']}]" if previous is not None else "–"
    if claim is None:
        claimed = "–"
    elif claim["against"] is None:
        claimed = f"not shown: {claim['why_not']}"
    else:
        texts = "its texts shuffled" if claim["against"].startswith(f"{line['name']} (") else claim["against"]
        claimed = f"{difference(claim)} [{texts}]"
        to_previous = "as claimed" if claim["against"] == line["previous"] else to_previous
    cells = [
        line["name"],
        spread(line["val_auc"]),
        spread(line["test_auc"]) + ("" if low is None else f" ({_plain(low)} – {_plain(high)})"),
        claimed,
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
