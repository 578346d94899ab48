"""When it was shown, and when the outcome was known."""

from __future__ import annotations

from warehouse.init import names
from warehouse.init.choice import NONE, Choice, examples
from warehouse.init.columns import Column
from warehouse.init.errors import InitError


def choose_known(choice: Choice) -> Column | None:
    if (found := choice.given("known")) or choice.answers.known == NONE:
        if found and not found.is_time:
            raise InitError(f"--known {found.name} {_unreadable(found)}")
        return found
    fitting = choice.fitting(names.KNOWN, lambda c: c.is_time and c.share_there > 0.99)
    return choice.take(fitting[0]) if len(fitting) == 1 else None


def choose_time(choice: Choice) -> tuple[Column | None, str | None]:
    """The column, and the format it needs unless the warehouse reads it as it is."""
    column = choice.given("time")
    if column is None:
        named = choice.fitting(names.TIME, lambda c: c.kind in ("text", "number", "time"))
        fitting = [c for c in named if c.is_time or choice.sample.time_formats(c) or choice.answers.time_format]
        if not fitting:  # by what it holds, unless it might be an id
            fitting = [c for c in choice.free() if c.share_there > 0.95 and reads_as_time(choice, c)]
        if len(fitting) > 1:
            finest = [c for c in fitting if c.n_different == max(one.n_different for one in fitting)]
            by_name = [c for c in named if c in fitting]
            fitting = finest if len(finest) == 1 and finest == by_name[:1] else fitting
        if not fitting and named:
            raise InitError(f"Column {named[0].name} {_unreadable(named[0])}")
        column = choice.take(fitting[0]) if len(fitting) == 1 else choice.ask("When was it shown?", "time", fitting)
    return column, _time_format(choice, column) if column else None


def reads_as_time(choice: Choice, column: Column) -> bool:
    """Whether a column is a time by its values, and can't be an id."""
    is_text = column.kind in ("text", "time") and not column.is_number and column.length >= 8
    return is_text and (column.is_time or bool(choice.sample.time_formats(column)))


def _time_format(choice: Choice, column: Column) -> str | None:
    given = choice.answers.time_format
    if given:
        if not choice.sample.reads(column, given):
            raise InitError(
                f"--time-format {given} doesn't read column {column.name}, which holds {examples(column)}. "
                "It is strptime's, such as %d.%m.%Y %H:%M."
            )
        return given
    if column.is_time:
        return None
    fitting = choice.sample.time_formats(column)
    if not fitting:
        raise InitError(f"Column {column.name} {_unreadable(column)}")
    if len(fitting) == 1:
        return fitting[0]
    known = [(one, "") for one in fitting]
    question = f"Column {column.name} holds {examples(column)}: which format is it?"
    return choice.asker.ask(
        question, "--time-format FORMAT", known,
        lambda answer: None if choice.sample.reads(column, answer) else "That doesn't read the column.",
    )  # fmt: skip


def _unreadable(column: Column) -> str:
    return (
        f"holds {examples(column)}, which is no time that the warehouse reads (2024-03-01 09:05:30, with or without a "
        "zone; Unix seconds, milliseconds or microseconds: docs/bring-your-own-log.md#times). Say how to read it with "
        "--time-format, such as '%d.%m.%Y %H:%M', or name another column with --time."
    )
