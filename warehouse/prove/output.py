"""A proof for eyes and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.table import Table

from .proof import Proof
from .verdicts import Feature, Verdicts, shown


def described(proof: Proof) -> str:
    """What the proof rests on, in a few lines."""
    found = proof.sample
    made = " (made: the log has few)"
    return (
        f"Sample: {found.events:,} events of {found.users:,} users and {found.items:,} items on {found.days:,} days;"
        f" {found.tied:,} tied with another of their user{made if found.ties_are_made else ''},"
        f" {found.late:,} with an outcome known on a later day{made if found.late_are_made else ''}."
        f" Rebuilt {len(proof.alterations)} times with less to see."
    )


def table(of_mart: Verdicts) -> Table:
    """A line per feature, those that moved first."""
    lines = Table(title=f"{of_mart.mart.name}: a feature may see {of_mart.mart.rule}", title_justify="left")
    lines.add_column("feature", overflow="fold")
    for name in ("held in cells", "moved in cells"):
        lines.add_column(name, justify="right")
    for name in ("event", "value", "without the future", "remark"):
        lines.add_column(name, overflow="fold")
    order = ["moved", "unproven", "held"]
    for feature in sorted(of_mart.features.values(), key=lambda feature: order.index(feature.verdict)):
        style = {"moved": "bold red", "unproven": "yellow", "held": ""}[feature.verdict]
        held = "" if feature.verdict == "unproven" else f"{feature.held:,}"
        lines.add_row(feature.name, held, *_rest(feature), style=style)
    return lines


def _rest(feature: Feature) -> tuple[str, ...]:
    """The cells of a table's line from `moved` on."""
    if not feature.moved:
        return "", "", "", "", f"can't be proven: {feature.why_unproven}" if feature.why_unproven else ""
    first, more = feature.moved[0], len(feature.moved) - 1
    remark = first.alteration + (f"; moved by {more} more" if more else "")
    return f"{feature.n_moved:,}", first.event_id, shown(first.value), shown(first.without), remark


def conclusions(proof: Proof) -> Iterator[str]:
    """A sentence per mart."""
    for of_mart in proof.marts:
        verdicts = [feature.verdict for feature in of_mart.features.values()]
        parts = [
            f"{verdicts.count(verdict)} {text}"
            for verdict, text in (("held", "held"), ("moved", "moved"), ("unproven", "can't be proven"))
            if verdict == "held" or verdicts.count(verdict)
        ]
        yield f"{of_mart.mart.name}: {', '.join(parts)} of {len(verdicts)} features."
        if of_mart.leaks:
            yield f"  These know what they must not: {', '.join(feature.name for feature in of_mart.leaks)}."
        if of_mart.lost_or_doubled:
            yield f"  Events that aren't exactly one row: {'; '.join(of_mart.lost_or_doubled)}."


def document(proof: Proof) -> dict[str, Any]:
    """Everything, as JSON."""
    return {
        "holds": proof.holds,
        "sample": asdict(proof.sample),
        "alterations": proof.alterations,
        "marts": {
            of_mart.mart.name: {
                "may_see": of_mart.mart.rule,
                "lost_or_doubled": of_mart.lost_or_doubled,
                "features": [
                    {
                        "name": feature.name,
                        "verdict": feature.verdict,
                        "cells_held": feature.held,
                        "cells_moved": feature.n_moved,
                        "values": feature.values,
                        "why_unproven": feature.why_unproven,
                        "moved": [
                            {
                                "alteration": moved.alteration,
                                "event_id": moved.event_id,
                                "value": moved.value,
                                "value_without_the_future": moved.without,
                                "cells": moved.n_cells,
                            }
                            for moved in feature.moved
                        ],
                    }
                    for feature in of_mart.features.values()
                ],
            }
            for of_mart in proof.marts
        },
    }
