"""What is changed in the sample, and which events must not feel it.

A feature may see outcomes known before its event's day (v1) or instant (v2). That an event was shown may be seen from
the instant on. So the cells that a change must leave alone are those of events up to the moment from which things
change; if only outcomes change that nobody ever gets to know, they are all cells.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

import duckdb

BASE = "select * from {sample}"
# Reversed, whatever the type of the label.
REVERSED = "cast(1 - label as integer)"


@dataclass(frozen=True)
class Alteration:
    """events: a query of the sample. against: the query that it is compared with.

    moment: events up to it are compared (in v1 those up to its day); None: all events.
    """

    name: str
    events: str
    against: str
    moment: dt.datetime | None = None


def alterations(connection: duckdb.DuckDBPyConnection, sample: str) -> Iterator[Alteration]:
    """All that is done to the table `sample`. The first is compared with the sample as it is, in another order."""
    base = BASE.format(sample=sample)
    yield Alteration("the same events in another order", f"{base} order by hash(event_id)", base)
    after_all = _after_all(connection, sample)
    for moment in _moments(connection, sample):
        unknown = f"known_at >= {_literal(moment)}"
        later = f"known_at + {after_all}"
        # Later days are gone, and every second later event of the day; what isn't known yet is reversed.
        yield Alteration(
            f"as it stood at {moment}",
            _with(
                f"""(
                    select * exclude (number) from (
                        select *, row_number() over (
                            partition by event_at >= {_literal(moment)} order by event_at, user_id, event_id
                        ) as number
                        from {sample}
                        where event_date <= date '{moment.date()}'
                    ) where event_at < {_literal(moment)} or number % 2 = 1
                )""",
                unknown,
                label=REVERSED,
                known_at=later,
                known_date=f"cast({later} as date)",
            ),
            base,
            moment,
        )
        # Of those known at the moment itself the first of each user only: two of one instant could cancel each other.
        at = f"{sample} where known_at = {_literal(moment)}"
        first = f"known_at = {_literal(moment)} and event_id in (select min(event_id) from {at} group by user_id)"
        yield Alteration(
            f"outcomes known from {moment} on reversed",
            _with(sample, f"known_at > {_literal(moment)} or ({first})", label=REVERSED),
            base,
            moment,
        )
    for half in (0, 1):
        # Both know nothing of these outcomes, so no feature may tell the two logs apart.
        chosen = f"hash(event_id) % 2 = {half}"
        later = f"known_at + {after_all}"
        name = f"{'one' if half == 0 else 'the other'} half of the outcomes reversed, which nobody gets to know"
        yield Alteration(
            name,
            _with(sample, chosen, label=REVERSED, known_at=later, known_date=f"cast({later} as date)"),
            _with(sample, chosen, known_at=later, known_date=f"cast({later} as date)"),
        )


def _with(events: str, condition: str, **columns: str) -> str:
    """A query of events in which some columns have another value where the condition holds."""
    replaced = (f"case when {condition} then {value} else {name} end as {name}" for name, value in columns.items())
    return f"select * replace ({', '.join(replaced)}) from {events}"


def _after_all(connection: duckdb.DuckDBPyConnection, sample: str) -> str:
    """An interval that takes any outcome beyond the log's end and out of each window."""
    (days,) = connection.execute(f"select date_diff('day', min(event_date), max(known_date)) from {sample}").fetchall()[
        0
    ]
    return f"interval {days + 2 * 365} day"


def _moments(connection: duckdb.DuckDBPyConnection, sample: str) -> list[dt.datetime]:
    """Midnights and instants at which something happens that a leak would see; sorted."""
    known_at_once = f"{sample} where known_at = event_at"
    candidates = {
        f"select distinct cast(event_date as timestamp) as moment from {sample}": (0.35, 0.8),
        f"select event_at as moment from {known_at_once} group by event_at, user_id having count(*) > 1": (0.4, 0.75),
        f"select min(event_at) as moment from {sample} group by user_id": (0.5,),  # a new user's
        f"select min(event_at) as moment from {sample} group by item_id": (0.8,),
        f"select event_at as moment from {sample} where known_at > event_at": (0.6,),  # before a late outcome
    }
    found = set()
    for query, shares in candidates.items():
        moments = [row[0] for row in connection.execute(f"select moment from ({query}) order by 1").fetchall()]
        found |= {moments[int(share * len(moments))] for share in shares if moments}
    return sorted(found)


def _literal(moment: dt.datetime) -> str:
    return f"timestamp '{moment}'"
