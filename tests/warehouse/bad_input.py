"""Logs as bad as logs get, drawn by hypothesis, each value with what must become of it.

A value is a pair: what stands in the raw file, and its meaning, or `Bad` with the start of the reason for which its row
must be rejected. The truth is known because the text is made from it; nothing here parses.
"""

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from hypothesis import strategies as st

from tests.warehouse.logs import SURFACES

EPOCH = dt.datetime(1970, 1, 1)
SECOND = dt.timedelta(seconds=1)


@dataclass(frozen=True)
class Bad:
    """A value that can't be read; `reason` is how the reject's reason begins."""

    reason: str


Value = tuple[str | None, object]

HOSTILE = (
    "'; drop table stg_events; --", "' or '1'='1", '"', "\\", "\\'", "$$", "{{ 1 / 0 }}", "{% raw %}", "%s", "null",
    "NaN", "a\x00b", "\x00", "\ufeffx", "a\r\nb", "\u202eevil", "שלום", "\U0001f469\u200d\U0001f467", "e\u0301",
    "\U0010ffff", "\ufffd", "\u200b", " padded ", "-1", "1e9", "007", "中" * 400,
)  # packed: many short values  # fmt: skip
# What is left of an id that went through a column of floats: no id.
NO_IDS = ("NaN", "1e9", "nan", "-inf", "Infinity", "1.5", "9.007199254740993e+15", "1E5", ".5")
NAMES = tuple(text for text in HOSTILE if text not in NO_IDS)
BLANK = (None, "", " ", "\u3000", " \u00a0 ")

# Instants that windows, calendars and clocks trip over.
CORNERS = tuple(
    dt.datetime.fromisoformat(text)
    for text in (
        "1970-01-01 00:00:00", "1999-12-31 23:59:59", "2000-02-29 00:00:00", "2001-09-09 01:46:40",
        "2024-02-28 23:59:59", "2024-02-29 00:00:00", "2024-03-01 00:00:00", "2024-03-07 00:00:00",
        "2024-03-06 23:59:59", "2024-03-10 02:30:00", "2024-03-31 01:30:00", "2024-11-03 01:30:00",
        "2024-12-31 23:59:59", "2024-05-05 05:05:05", "2025-10-26 01:00:00", "2026-02-28 23:59:59",
    )
)  # packed: many short values  # fmt: skip
# Not yet, whenever this runs; the last three are a day with its hour and Unix times.
LATER = (
    "2099-01-01 00:00:00",
    "2100-02-28 23:59:59+14:00",
    "2199-12-31 23:59:59",
    "2106030110",
    "4102444800",
    "4102444800000",
)
TOO_FINE = ("2024-03-01 10:00:00.1234567", "2024-03-01T10:00:00.123456001Z", "1709287200.1234567")
NO_TIME = (
    "2023-02-29 10:00:00", "2100-02-29", "2024-13-01", "2024-01-01 25:00:00", "2024-06-31", "yesterday", "now",
    "2024-01-01 10:00:00 Asia/Shanghai", "2024-03-01 10:00:00+99:99", "0", "-1", "1e9", "99999999999999999999",
    "infinity", "-infinity", "Infinity", "nan", "2024-03-01 9:05 PM", "2024-03-01 9:05 CET", "2024-03-01 24:00:00",
    "2024-03-01 10:00:60", "2024-03-01T10:00+8", "2024-03-01 10:00:00,5", "20240301", "20240301T100000Z", *HOSTILE,
)  # packed: many short values  # fmt: skip
NO_YEAR = ("0001-01-01 00:00:00", "1969-12-31 23:59:59", "2200-01-01 00:00:00", "9999-12-31 23:59:59")


def _written(instant: dt.datetime, form: str) -> str:
    match form:
        case "slashes":
            return f"{instant.year}/{instant.month}/{instant.day} {instant.hour}:{instant:%M:%S}"
        case "Z":
            return f"{instant:%Y-%m-%dT%H:%M:%S}Z"
        case "micros":
            return f"{instant:%Y-%m-%d %H:%M:%S.%f}"
        case "unix" if 10**8 <= (seconds := round((instant - EPOCH).total_seconds())) < 10**10:
            return str(seconds)
        case "unix millis" | "unix micros" if instant.year > 2001:
            return str((instant - EPOCH) // dt.timedelta(milliseconds=1) * (1 if form == "unix millis" else 1000))
        case "+08" | "+0800" | "+08:00" | "-03:30" | "+14" | " +08:00" | " UTC":
            sign, digits = form.strip()[0], re.sub(r"\D", "", form).ljust(4, "0")
            offset = dt.timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
            there = instant - offset if sign == "-" else instant + offset
            return f"{there:%Y-%m-%d %H:%M:%S}{form}"
    return f"{instant:%Y-%m-%d %H:%M:%S}"


FORMS = (
    "plain", "slashes", "Z", "micros", "unix", "unix millis", "unix micros", "+08", "+0800", "+08:00", "-03:30", "+14",
    " +08:00", " UTC",
)  # packed: many short values  # fmt: skip
DAYS_TOGETHER = st.builds(
    lambda days, seconds, form: _time(dt.datetime(2024, 2, 27) + dt.timedelta(days=days, seconds=seconds), form),
    st.integers(0, 16),
    st.sampled_from((0, 1, 86_399)) | st.integers(0, 86_399),
    st.sampled_from(FORMS),
)


def _time(instant: dt.datetime, form: str) -> Value:
    return _written(instant, form), instant


def _same(*texts: str | None) -> list[Value]:
    """Texts that mean themselves."""
    return [(text, text) for text in texts]


def _bad(reason: str, texts: Sequence[str | None]) -> list[Value]:
    """Unreadable texts; `reason` ends in the text, or `missing` for NULL, if it has a colon."""
    return [(text, Bad(reason + ("missing" if text is None else text) if ":" in reason else reason)) for text in texts]


NUMBERS = [
    (None, None),
    ("", None),
    (" ", None),
    ("NaN", None),
    ("0", 0.0),
    ("-1.5", -1.5),
    ("1e-300", 1e-300),
    ("007", 7.0),
]
NO_NUMBERS = _bad(
    "ctx_dense holds a text that is not a finite number", ("1e400", "inf", "-infinity", "abc", "1,5", "0x", "'; --")
)
# Values a column may hold, and values that make its row a reject.
COLUMNS: dict[str, tuple[list[Value], list[Value]]] = {
    "impression_id": (
        [(text, None) for text in BLANK] + _same(*(f"e{n}" for n in range(30)), *NAMES) + [("1001.0", "1001")],
        _bad("event_id is not an id: ", NO_IDS),
    ),
    "user_id": (
        [*_same(*(["u1"] * 30), *(["u2"] * 15), *NAMES), ("1001.0", "1001"), ("1001", "1001"), ("007.00", "007")],
        _bad("user_id is missing", BLANK) + _bad("user_id is not an id: ", NO_IDS),
    ),
    "item_id": (
        [*_same(*(["i1"] * 30), *(["i2"] * 15), *NAMES), ("-0.0", "0"), ("-5.0", "-5"), ("1.2.0", "1.2.0")],
        _bad("item_id is missing", BLANK) + _bad("item_id is not an id: ", NO_IDS),
    ),
    "surface": (
        _same(*SURFACES),
        [*_bad("scene is missing", [None]), *_bad("scene is not in var scenes: ", ("", "HOME", "home ", *HOSTILE))],
    ),
    "shown_at": (
        [_time(instant, form) for instant in CORNERS for form in FORMS],
        _bad("event_at is not a time: ", NO_TIME)
        + _bad("event_at is finer than a microsecond: ", TOO_FINE)
        + _bad("event_at is not between 1970 and 2199: ", NO_YEAR)
        + _bad("event_at is later than now: ", LATER),
    ),
    "clicked": (
        [("0", 0), ("1", 1), ("0.0", 0), ("1.0", 1), ("1e0", 1), ("-0", 0), ("true", 1), ("False", 0)],
        _bad("label is not 0 or 1: ", (None, "", "2", "-1", "0.5", "yes", "NaN", "inf", "1;1", *HOSTILE)),
    ),
    "title": (_same("title", *BLANK, *HOSTILE), []),
    "tags": (_same("red;green", "red;;red ; green", *BLANK, *HOSTILE), []),
    "profile": (_same("likes u1", *BLANK, *HOSTILE), []),
    "price": (NUMBERS, NO_NUMBERS),
    "position": (NUMBERS, NO_NUMBERS),
    "device": (
        [*_same("a", "b", None, *NAMES), ("NaN", None), ("-nan", None), ("12.0", "12")],
        _bad("ctx_ids holds what is not an id: ", [text for text in NO_IDS if text.lower() != "nan"]),
    ),
}


@dataclass(frozen=True)
class Row:
    """One raw row: what is written, what it means, and the reasons for which it may be rejected (none: it must not)."""

    raw: dict[str, str | None]
    meaning: dict[str, object]
    reasons: tuple[str, ...]


def _row(values: dict[str, Value]) -> Row:
    return Row(
        {name: text for name, (text, _) in values.items()},
        {name: meaning for name, (_, meaning) in values.items()},
        tuple(meaning.reason for _, meaning in values.values() if isinstance(meaning, Bad)),
    )


def _known_at(shown_at: object, late: int | None, form: str) -> Value:
    """When the outcome of an impression was known that was shown at that time, `late` seconds later; NULL for None."""
    if late is None or isinstance(shown_at, Bad):
        return None, shown_at if isinstance(shown_at, dt.datetime) else None
    known_at = shown_at + late * SECOND
    text = _written(known_at, form)
    if late < 0:
        return text, Bad(f"known_at is before event_at: {text}")
    return text, known_at


@st.composite
def rows(draw: st.DrawFn, one: dict[str, str]) -> Row:
    """A row; `one` fixes what some columns hold. Every third holds a value or two that can't be read."""
    may_be_bad = [name for name, (_, bad) in COLUMNS.items() if bad and name not in one]
    bad = draw(st.sets(st.sampled_from(may_be_bad), min_size=1, max_size=2)) if draw(st.integers(0, 2)) == 0 else set()
    values: dict[str, Value] = {}
    for name, pools in COLUMNS.items():
        pool = st.sampled_from(pools[name in bad])
        values[name] = draw(pool | DAYS_TOGETHER if name == "shown_at" and name not in bad else pool)
    values |= {name: (text, int(text) if name == "clicked" else text) for name, text in one.items()}
    late = draw(st.sampled_from((None, 0, 0, 1, 3600, 86_400, 7 * 86_400, 7 * 86_400 + 1, -1)))
    values["ingested_at"] = _known_at(values["shown_at"][1], late, draw(st.sampled_from(FORMS)))
    return _row(values)


@st.composite
def logs(draw: st.DrawFn) -> list[Row]:
    """Rows in any order, some of them again word for word; at times of one user, item, scene or label alone."""
    fixed = st.sampled_from(
        (
            {},
            {},
            {},
            {"user_id": "u1"},
            {"item_id": "i1"},
            {"surface": "cart"},
            {"clicked": "1"},
            {"clicked": "0"},
            {"user_id": "u1", "item_id": "i1", "surface": "home"},
        )
    )
    drawn = draw(st.lists(rows(draw(fixed)), min_size=1, max_size=40))
    again = draw(st.lists(st.sampled_from(drawn), max_size=4))
    return draw(st.permutations([*drawn, *again]))


def every_value() -> list[Row]:
    """A row for each value of each column, the other columns being well; and a title of a megabyte."""
    well: dict[str, Value] = {name: good[-1] for name, (good, _) in COLUMNS.items()}
    well |= {"user_id": ("u1", "u1"), "item_id": ("i1", "i1"), "shown_at": _time(CORNERS[6], "plain")}
    changes = [
        {name: value} for name, pools in COLUMNS.items() for value in pools[0] + pools[1] if name != "impression_id"
    ]
    changes += [{"ingested_at": _known_at(CORNERS[6], late, form)} for late in (-1, 0, 1, 10**6) for form in FORMS]
    for reason, texts in {"not a time": NO_TIME, "finer than a microsecond": TOO_FINE, "later than now": LATER}.items():
        changes += [{"ingested_at": value} for value in _bad(f"known_at is {reason}: ", texts)]
    changes.append({"title": ("x" * 1_000_000, "x" * 1_000_000)})
    return [
        _row(well | {"ingested_at": _known_at((well | change)["shown_at"][1], None, "plain")} | change
             | {"impression_id": (f"every{number}", f"every{number}")})
        for number, change in enumerate(changes)
    ]  # packed: many short values  # fmt: skip


def as_table(log: list[Row]) -> pa.Table:
    """Every column as text."""
    schema = pa.schema([(name, pa.string()) for name in (*COLUMNS, "ingested_at")])
    return pa.Table.from_pylist([row.raw for row in log], schema=schema)
