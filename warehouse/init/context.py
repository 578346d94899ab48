"""Which of the other columns a model may see: numbers and categories that don't tell the label."""

from __future__ import annotations

import re

from warehouse.init.choice import NONE, Choice
from warehouse.init.columns import MANY, Column
from warehouse.init.label import is_outcome
from warehouse.init.names import plain, slug

TELLS = 0.95  # AUC from which on a column is taken for another form of the label


def choose_context(choice: Choice, label: str) -> tuple[list[Column], list[Column]]:
    """Columns to compute with, and those that name categories. label: its SQL."""
    given = choice.answers.context
    if given is not None:
        chosen = [] if given == NONE else [choice.named(name.strip(), "context") for name in given.split(",")]
        for column in chosen:
            choice.take(column)
        for column in choice.free():
            choice.unused.setdefault(column.name, "not in --context")
    else:
        chosen = []
        for column in choice.free():
            why = choice.unused.get(column.name) or _why_not(choice, column, label)
            if why:
                choice.unused[column.name] = why
            else:
                chosen.append(choice.take(column))
    dense = [column for column in chosen if is_measure(column)]
    return dense, [column for column in chosen if column not in dense]


def _why_not(choice: Choice, column: Column, label: str) -> str | None:
    if column.kind in ("list", "map", "struct"):
        return f"a {column.kind}: take what you need of it in the adapter"
    if column.share_there == 0 or column.n_different <= 1:
        return "the same in every row, or empty"
    if is_outcome(column.name):
        return "another outcome, by its name: known only afterwards"
    if column.is_truth and column.n_different == 2:
        return "0 or 1, so perhaps another outcome: --context takes it"
    auc = choice.sample.tells(column, label)
    if auc > TELLS:
        return f"tells the label by itself (AUC {auc:.2f}): known only afterwards?"
    if column.is_time and (column.kind == "time" or not column.is_number):
        return "another time"
    if not column.is_number and (column.n_different > MANY or column.length > 60):
        return f"{column.n_different:,} different texts; --user-texts takes texts about the user"
    is_whole = not any("." in example for example in column.examples)
    if column.is_unique and is_whole:
        return "different in every row"
    if is_id(column.name) and is_whole and column.n_different > choice.sample.n_rows / 5:
        return "an id with few rows each"
    blanks = f"contains(trim({column.sql}), ' ')"
    if not column.is_number and column.n_different > 50 and choice.sample.share(blanks) > 0.3:
        return "a text or a list of several words"
    return None


def is_id(name: str) -> bool:
    return bool(re.search(r"(id|key|no|hash|uuid|session|request|page|row|index)$", plain(name)))


def is_measure(column: Column) -> bool:
    """A number to compute with, rather than the name of a category."""
    if not column.is_number or column.kind == "boolean" or (column.kind == "text" and column.is_truth):
        return False
    return not re.search(r"(id|code|type|zip|zipcode|category|cat|gender|class|flag)$", plain(column.name))


def feature_names(columns: list[Column], taken: set[str]) -> list[str]:
    """Names for the lists ctx_dense, ctx_ids and user_text_parts: as SQL and YAML take them, each once."""
    found = []
    for column in columns:
        name = slug(column.name.split(".")[-1])
        while name in taken:
            name += "_2"
        taken.add(name)
        found.append(name)
    return found
