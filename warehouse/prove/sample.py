"""Events of one's own log in which a leak would show: long histories, new users and items, ties, late outcomes, texts.

Any part of a log is a log, so what is drawn needn't be representative. Where the log has too few ties or late outcomes,
some are made: the proof is about the features' SQL, and that must withstand them.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import pyarrow as pa

from .errors import ProofError

# Up to how many events of each kind are drawn; an event may be of several. What is left of `all` is drawn at random.
SIZES = {
    "all": 2000,
    "busy": 1200,  # of users with long histories, at most per_user each
    "per_user": 60,
    "new": 300,  # of users with one to three events
    "of_items": 400,  # of the items that the busy users met most
    "tied": 150,  # of users who were shown several things at one instant
    "late": 300,  # whose outcomes became known on a later day
    "texts": 150,
    "per_scene": 20,
}
FEW = 20  # with fewer ties or late outcomes, some are made


@dataclass(frozen=True)
class Contents:
    """What a sample holds. tied: events at one instant with another of their user; late: known on a later day."""

    events: int
    users: int
    items: int
    days: int
    tied: int
    ties_are_made: bool
    late: int
    late_are_made: bool


def draw(database: duckdb.DuckDBPyConnection, events: str, seed: int) -> pa.Table:
    """Some thousand events of the log, in order of time. The same log and seed give the same events.

    Raises: ProofError if there is none.
    """
    try:
        n_events = database.execute(f"select count(*) from {events}").fetchall()[0][0]
    except duckdb.CatalogException as error:
        raise ProofError(f"{events} isn't in the database: nothing is built yet. Run dbt build.") from error
    if not n_events:
        raise ProofError(
            f"{events} holds no event, so there is nothing to prove. rejected_events says why each row was rejected:"
            " dbt show --inline 'select reason, count(*) from {{ ref(\"rejected_events\") }} group by all'"
        )
    return database.sql(_QUERY.format(events=events, seed=int(seed), **SIZES)).to_arrow_table()


_QUERY = """
with

keyed as materialized (
    select
        event_id,
        user_id,
        item_id,
        scene,
        event_at,
        event_date,
        known_date > event_date as is_late,
        coalesce(item_title, '') <> '' or coalesce(item_entities, '') <> '' as has_texts,
        hash({seed}, event_id) as drawn
    from {events}
),

users as materialized (
    select
        user_id,
        count(*) as n,
        count(distinct event_date) as n_days,
        hash({seed}, user_id) as drawn
    from keyed
    group by user_id
),

-- Half of the busy users are those with the most days, half are drawn among those with at least ten events.
busy as (
    (select user_id from users order by least(n_days, 20) desc, drawn, user_id limit {busy} // {per_user} // 2)
    union
    (select user_id from users where n >= 10 order by hash(user_id, {seed}), user_id limit {busy} // {per_user} // 2)
),

new as (
    select user_id from users where n <= 3 order by drawn, user_id limit {new} // 2
),

-- Whole days of a busy user, so that what happens within a day is there too.
of_busy as (
    select event_id, item_id
    from keyed
    where user_id in (select user_id from busy)
    qualify row_number() over (partition by user_id order by hash({seed}, event_date), event_at, event_id) <= {per_user}
),

items as (
    select item_id from of_busy group by item_id order by count(*) desc, hash({seed}, item_id), item_id limit 20
),

ties as (
    select user_id, event_at
    from keyed
    group by user_id, event_at
    having count(*) > 1
    order by hash({seed}, user_id, event_at), user_id, event_at
    limit {tied} // 2
),

chosen as (
    select event_id from of_busy
    union
    (select event_id from keyed where user_id in (select user_id from new) order by drawn, event_id limit {new})
    union
    (select event_id from keyed where item_id in (select item_id from items) order by drawn, event_id limit {of_items})
    union
    (select event_id from keyed semi join ties using (user_id, event_at) order by drawn, event_id limit {tied})
    union
    (select event_id from keyed where is_late order by drawn, event_id limit {late})
    union
    (select event_id from keyed where has_texts order by drawn, event_id limit {texts})
    union
    (select event_id from keyed qualify row_number() over (partition by scene order by drawn, event_id) <= {per_scene})
),

filled as (
    select keyed.event_id
    from keyed
    left join chosen on keyed.event_id = chosen.event_id
    order by chosen.event_id is null, keyed.drawn, keyed.event_id
    limit {all}
)

select events.* from {events} as events semi join filled using (event_id) order by event_at, event_id
"""


def with_corners(connection: duckdb.DuckDBPyConnection, sample: str) -> Contents:
    """Make the ties and late outcomes that the table `sample` lacks, in place, and say what it then holds."""
    tied, late = _count(connection, sample)
    if tied < FEW:
        # The second of every twenty events becomes a twin of the first: same user and instant, both known at once.
        first, twin = "number % 20 = 0", "number % 20 = 1"
        _replace(
            connection,
            sample,
            user_id=f"case when {twin} then lag(user_id) over by_number else user_id end",
            event_at=f"case when {twin} then lag(event_at) over by_number else event_at end",
            known_at=f"case when {twin} then lag(event_at) over by_number when {first} then event_at else known_at end",
        )
    if late < FEW:
        # Every tenth outcome, never a twin's, becomes known up to three days later.
        delayed = "event_at + to_seconds(1 + number * 7919 % 259200)"
        _replace(connection, sample, known_at=f"case when number % 10 = 5 then {delayed} else known_at end")
    tied_now, late_now = _count(connection, sample)
    n_events, n_users, n_items, n_days = connection.execute(
        f"select count(*), count(distinct user_id), count(distinct item_id), count(distinct event_date) from {sample}"
    ).fetchall()[0]
    return Contents(n_events, n_users, n_items, n_days, tied_now, tied < FEW, late_now, late < FEW)


def _replace(connection: duckdb.DuckDBPyConnection, sample: str, **columns: str) -> None:
    """Give columns other values; in an expression, rows have a `number` in order of time."""
    connection.execute(f"""
        create or replace table {sample} as
        select * exclude (number) replace (cast(event_at as date) as event_date, cast(known_at as date) as known_date)
        from (
            select * replace ({", ".join(f"{value} as {name}" for name, value in columns.items())})
            from (select *, row_number() over (order by event_at, event_id) - 1 as number from {sample})
            window by_number as (order by number)
        )
    """)


def _count(connection: duckdb.DuckDBPyConnection, sample: str) -> tuple[int, int]:
    """How many events are tied with another of their user, and how many outcomes became known on a later day."""
    return connection.execute(f"""
        select
            (select coalesce(sum(n), 0) from (
                select count(*) as n from {sample} group by user_id, event_at having count(*) > 1
            )),
            (select count(*) from {sample} where known_date > event_date)
    """).fetchall()[0]
