"""The one error type caused by user input."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from storage.installed import lacking
from storage.places import told


class TrainerError(Exception):
    """Bad input. The text says what was expected, what was found and what to do next; the CLI prints it and exits 2."""

    def __init__(self, message: str = "") -> None:
        super().__init__(told(message))


def require_extra(extra: str, what: str) -> None:
    """Raises: TrainerError, with the pip command, where `what` needs packages of an extra that aren't installed."""
    if message := lacking(extra, what):
        raise TrainerError(message)


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for the known word closest to `word`, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean '{close[0]}'?)" if close else ""
