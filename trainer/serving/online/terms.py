"""What the values of a formula are called in the function that is written for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

NOWHERE = "np.False_"  # a value that is never NULL, where its null is needed


class NotVectorisedError(Exception):
    """An operation that isn't one of these; the message names it."""


@dataclass(frozen=True)
class Term:
    """What a formula's value is called in the function. kind: int, float, bool, text, date, instant, null.

    null: None where it is never NULL. elements: of a list, whose kind is that of its elements.
    """

    kind: str
    data: str
    null: str | None = None
    elements: tuple[Term, ...] | None = None


def result(term: Term) -> str:
    if term.elements is not None:
        elements = "".join(f"{result(one)}, " for one in term.elements)
        return f"List(({elements}), {term.null})"
    return f"Value({term.data}, {term.null})"


def as_texts(data: Any) -> np.ndarray:
    return np.array([str(each) for each in np.atleast_1d(data).tolist()], object)
