"""Proofs that need no knowledge of a feature's meaning: with less of the log to see, is a value still what it was?

They hold for any column of training_examples. v1 may see outcomes known before the event's day, v2 those known before
its instant; that an event was shown may be seen from the instant on.
"""

import datetime as dt
import random
from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from tests.warehouse.logs import with_column
from tests.warehouse.proofs import agree

# Columns of other roles are keys, times, labels and splits: they say which row it is.
PROVEN_ROLES = {"feature", "level", "history", "text_id"}
YEARS = dt.timedelta(days=2 * 365)  # and yet before now: times later than now are rejected


def proven_columns(contract: dict[str, str]) -> list[str]:
    return [name for name, role in contract.items() if role in PROVEN_ROLES]


def with_ties(log: pa.Table, seed: int = 5) -> pa.Table:
    """`log` in which every twentieth event has a twin: same user and instant, another item, outcomes known at once."""
    draw, rows = random.Random(seed), log.to_pylist()
    for row, twin in zip(rows[::20], rows[1::20], strict=False):
        at = row["shown_at"].replace(hour=draw.randrange(6, 18))
        row |= {"shown_at": at, "ingested_at": at}
        twin |= {"shown_at": at, "ingested_at": at, "user_id": row["user_id"]}
    return pa.Table.from_pylist(rows, schema=log.schema)


def tied_instants(log: pa.Table) -> list[dt.datetime]:
    """Instants in mid-day at which one user is shown several events with outcomes known at once, in order of time."""
    rows = [row for row in log.to_pylist() if row["shown_at"] == row["ingested_at"] and 6 <= row["shown_at"].hour < 18]
    tied = Counter((row["shown_at"], row["user_id"]) for row in rows)
    return sorted(at for (at, _), n in tied.items() if n > 1)


def as_it_stood(log: pa.Table, moment: dt.datetime) -> pa.Table:
    """What could be known at `moment`, and events to ask about.

    Later days are dropped, and of the rest of the day every second event. Outcomes known at or after the moment are
    reversed and come years later, those of the events asked about too.
    """
    rows = sorted(log.to_pylist(), key=lambda row: (row["shown_at"], row["user_id"], row["impression_id"]))
    kept = [row for row in rows if row["shown_at"] < moment]
    kept += [row for row in rows if row["shown_at"] >= moment and row["shown_at"].date() == moment.date()][::2]
    for row in kept:
        if row["ingested_at"] >= moment:
            row |= {"clicked": 1 - row["clicked"], "ingested_at": row["ingested_at"] + YEARS}
    return pa.Table.from_pylist(kept, schema=log.schema)


def with_one_outcome_reversed(log: pa.Table, instant: dt.datetime) -> pa.Table:
    """`log` with the label of one event of `instant` reversed; its twins keep theirs."""
    labels = log["clicked"].to_pylist()
    event = log["shown_at"].to_pylist().index(instant)
    labels[event] = 1 - labels[event]
    return with_column(log, "clicked", labels)


def moved(
    full: pa.Table, again: pa.Table, contract: dict[str, str], version: int, moment: dt.datetime
) -> dict[str, str]:
    """Columns that differ between two builds in an event that may see nothing of `moment` and after: name and where.

    Those are in v1 the events up to the moment's day, in v2 those up to the moment. Both tables are sorted by event_id.
    """
    last = moment.date() if version == 1 else moment
    asked = again.filter(pc.less_equal(again["event_date" if version == 1 else "event_at"], last))
    was = full.filter(pc.is_in(full["event_id"], value_set=asked["event_id"].combine_chunks()))
    assert len(asked), f"no event to ask about at {moment}"
    assert was["event_id"].equals(asked["event_id"])
    found = {}
    for name in proven_columns(contract):
        if was[name].equals(asked[name]):
            continue
        for event_id, before, now in zip(
            *(c.to_pylist() for c in (was["event_id"], was[name], asked[name])), strict=True
        ):
            if not agree(now, before):
                found[name] = f"{name} of {event_id} is {before}, but {now} when {moment} and after is not to be seen"
                break
    return found


def unproven(mart: pa.Table, contract: dict[str, str]) -> list[str]:
    """Columns without two different values (NULL and [] are none): they can't move, so no proof says anything."""
    return [
        name
        for name in proven_columns(contract)
        if len({str(value) for value in mart[name].to_pylist() if value not in (None, [])}) < 2
    ]
