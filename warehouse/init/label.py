"""Which column is the label, and which of its values are positive."""

from __future__ import annotations

import re

from warehouse.init import names
from warehouse.init.choice import Choice, examples
from warehouse.init.columns import Column
from warehouse.init.errors import InitError
from warehouse.init.macros import macro
from warehouse.init.names import plain
from warehouse.reading.text import literal


def choose_label(choice: Choice) -> tuple[Column | None, str | None]:
    """The column, and which of its values are positive unless it is 0 or 1."""
    column = choice.given("label")
    if column is None:
        fitting = choice.fitting(names.LABEL, lambda c: c.kind in ("text", "number", "boolean"))
        truths = [c for c in choice.free() if c.is_truth and c.n_different == 2]
        other = [c for c in truths if c not in fitting and is_outcome(c.name)]
        sure = [c for c in fitting if plain(c.name.split(".")[-1]) in names.SURE_LABEL]
        candidates = sure if len(sure) == 1 else [*fitting, *other]
        if not candidates:
            column = choice.ask("Which column is the label?", "label", truths)
        elif len(candidates) == 1:
            column = choice.take(candidates[0])
        else:
            column = choice.ask("Several columns may be the label: which?", "label", candidates)
    if column is None:
        return None, None
    return column, _positive(choice, column)


def _positive(choice: Choice, column: Column) -> str | None:
    given = choice.answers.positive
    if given is None and column.is_truth:
        return None
    if column.kind in ("list", "map", "struct", "time"):
        raise InitError(f"--label {column.name} is a {column.kind} in the files, expected 0 or 1, or a rating.")
    values = choice.sample.counts(column)

    def check(answer: str) -> str | None:
        share = choice.sample.share(f"{label_sql(column, answer)} = 1")
        if 0 < share < 1:
            return None
        rows = "no row" if share == 0 else "every row"
        return f"{answer} makes {rows} positive. The column holds {examples(column)}."

    if given is not None:
        if wrong := check(given):
            raise InitError(f"--positive {wrong}")
        return given
    if not values:
        raise InitError(f"The label {column.name} is empty in all rows. Choose another column with --label.")
    suggested = [(value, share) for value, share in values]
    if column.is_number:
        steps = sorted({float(value) for value, _ in values})[1:]
        cuts = [f">={step:g}" for step in steps]
        suggested = [(f"'{cut}'", choice.sample.share(f"{label_sql(column, cut)} = 1")) for cut in cuts]
    question = f"The label {column.name} isn't 0 or 1, but holds {examples(column)}. Which values are positive?"
    shown = [(value, f"{share:.1%} of the rows") for value, share in suggested]
    answer = choice.asker.ask(question, "--positive VALUES", shown, lambda answer: check(answer.strip("'")))
    return answer.strip("'") if answer else None


def label_sql(column: Column, positive: str | None) -> str:
    """SQL in table `flat`: 1, 0, or NULL where the label can't be read."""
    if positive is None:
        return f"case when {macro('truth')(column.sql)} in (0, 1) then cast({macro('truth')(column.sql)} as int) end"
    return f"try_cast({label_case(column.sql, positive)} as int)"


def label_case(value: str, positive: str) -> str:
    """SQL for an adapter's label by `--positive`: '>=4', or the positive values with commas between them."""
    threshold = re.fullmatch(r">= *([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)", positive.strip())
    if threshold:
        number, at = f"try_cast({value} as double)", threshold[1]
        # Infinity and NaN, which DuckDB takes for the largest number, stay as they are: staging rejects them.
        return f"case when {number} between {at} and 1e300 then '1' when {number} < {at} then '0' else {value} end"
    listed = ", ".join(literal(one.strip()) for one in positive.split(","))
    return f"case when trim({value}) in ({listed}) then '1' when trim({value}) <> '' then '0' end"


def is_outcome(name: str) -> bool:
    return any(word in names.OUTCOME for word in names.words(name))
