"""How a number and its interval are written in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

HISTORY = {"zero": "without any history", "few": "with a short history", "warm": "with a history"}


@dataclass(frozen=True)
class Finding:
    """A question, its answer in sentences, the first of which is the answer in short; where the page shows more.

    numbers: what the sentences were made from, by name: dicts of difference, low, high and verdict.
    """

    key: str
    question: str
    sentences: tuple[str, ...]
    section: str | None = None
    numbers: dict[str, dict[str, Any]] = field(default_factory=dict)


def plain(value: float) -> str:
    """`.7921`."""
    return f"{value:.4f}".replace("0.", ".", 1)


def signed(value: float) -> str:
    """`+.0021`."""
    return f"{value:+.4f}".replace("0.", ".", 1)


def gap(found: dict[str, Any]) -> str:
    """`+.0021 (+.0010 to +.0032)`."""
    if found["low"] is None:
        return f"{signed(found['difference'])} (no interval)"
    return f"{signed(found['difference'])} ({signed(found['low'])} to {signed(found['high'])})"


def level(found: dict[str, Any]) -> str:
    """`.7921 (.7900 to .7942)`: a value with its own interval."""
    if found["low"] is None:
        return plain(found["difference"])
    return f"{plain(found['difference'])} ({plain(found['low'])} to {plain(found['high'])})"


def listed(words: Sequence[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def counted(n: int, one: str, many: str = "") -> str:
    """`1 scene`, `2 scenes`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"
