"""A model folder's JSON, checked: what is unknown or wrong is refused, naming the file, the value and the remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from embeddings.errors import EmbeddingsError

ELSEWHERE = "Take another encoder (`embeddings models` lists some), or a folder without it."


def read_json(file: Path, kind: type) -> Any:
    """A JSON object or list. Raises: EmbeddingsError where there is no such file, or something else in it."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        refuse(file, "it isn't there", "Copy the model's folder whole.")
    except (OSError, ValueError, RecursionError) as error:
        refuse(file, f"it isn't JSON ({error})", "Copy it again from where it came from.")
    if not isinstance(value, kind):
        expected = "an object" if kind is dict else "a list"
        refuse(file, f"it holds {str(value)[:60]!r}", f"Expected {expected}.")
    return value


def only_known(file: Path, config: dict, known: set[str]) -> None:
    unknown = sorted(set(config) - known)
    if unknown:
        refuse(
            file,
            f"it has the key {unknown[0]!r} with the value {config[unknown[0]]!r}",
            "This version doesn't know"
            " it, so it can't tell whether it changes vectors. If it doesn't, remove it from a copy of the folder.",
        )


def count(file: Path, config: dict, key: str) -> int:
    value = config.get(key)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        refuse(file, f"{key} is {value!r}", "Expected a whole number above 0.")
    return value


def refuse(file: Path, found: str, remedy: str) -> NoReturn:
    raise EmbeddingsError(f"{file}: {found}. {remedy}")
