"""From names of columns to columns, each taken once: what was given, what fits by name, what was answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from warehouse.init import names
from warehouse.init.asking import Asker
from warehouse.init.columns import Column, Sample
from warehouse.init.errors import InitError
from warehouse.init.names import plain

NONE = "none"  # an answer: the log has no such column


@dataclass(frozen=True)
class Answers:
    """What the options say beforehand: names of columns, or `none`; None where nothing was said."""

    user: str | None = None
    item: str | None = None
    label: str | None = None
    positive: str | None = None
    time: str | None = None
    time_format: str | None = None
    known: str | None = None
    scene: str | None = None
    event_id: str | None = None
    title: str | None = None
    entities: str | None = None
    user_texts: str | None = None
    context: str | None = None


class Choice:
    """The columns of a sample, and which of them have a role already: one each."""

    def __init__(self, sample: Sample, answers: Answers, asker: Asker) -> None:
        self.sample, self.answers, self.asker = sample, answers, asker
        self.taken: set[str] = set()
        self.unused: dict[str, str] = {}

    def named(self, name: str, option: str) -> Column:
        """The column that an option names. Raises: InitError where the log has none."""
        if name in self.sample.columns:
            return self.sample.columns[name]
        of_list = [c for c in self.sample.columns if c.startswith(f"{name}.")]
        if len(of_list) == 1 or (of_list and option in ("item", "label")):
            wanted = {"item": names.ITEM | {"item"}, "label": names.LABEL}.get(option, frozenset())
            fitting = [c for c in of_list if plain(c[len(name) + 1 :]) in wanted] or of_list
            if len(fitting) == 1:
                return self.sample.columns[fitting[0]]
        raise InitError(
            f"--{option.replace('_', '-')} {name}: the log has no such column. It has {', '.join(self.sample.columns)}."
        )

    def free(self) -> list[Column]:
        return [column for column in self.sample.columns.values() if column.name not in self.taken]

    def take(self, column: Column) -> Column:
        self.taken.add(column.name)
        return column

    def fitting(self, wanted: frozenset[str], good: Callable[[Column], bool] = lambda _: True) -> list[Column]:
        """Columns without a role, not empty, whose names are among the wanted."""
        return [c for c in self.free() if plain(c.name.split(".")[-1]) in wanted and c.share_there > 0 and good(c)]

    def given(self, option: str) -> Column | None:
        """The column that an option names; None where it names none."""
        given = getattr(self.answers, option)
        return self.named(given, option) if given and given != NONE else None

    def ask(self, question: str, option: str, candidates: list[Column]) -> Column | None:
        """Ask for a column; None where nobody can answer: the asker stops later, with all questions at once."""

        def check(answer: str) -> str | None:
            there = answer in self.sample.columns
            return None if there else f"The log has no column {answer}. It has {', '.join(self.sample.columns)}."

        shown = [(column.name, about(column)) for column in candidates or self.free()]
        answer = self.asker.ask(question, f"--{option} COLUMN", shown, check)
        return self.take(self.sample.columns[answer]) if answer else None


def about(column: Column) -> str:
    return f"{column.kind}, {column.n_different:,} different: {examples(column)}"


def examples(column: Column) -> str:
    return (
        ", ".join(example if len(example) <= 30 else f"{example[:27]}..." for example in column.examples) or "nothing"
    )
