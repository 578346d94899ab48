"""SQL of models as formulas of a row: what is followed, and what is refused with which reason."""

from __future__ import annotations

import duckdb
import pytest

from trainer.serving.online.relations import NotServedError, Supplied
from trainer.serving.online.row_wise import RowWise

EVENTS = {name: f"request.{name}" for name in ("user_id", "event_at", "event_date", "price", "tags")}
COUNTS = {"user_id": "request.user_id", "micros": "request.micros", "n": "user.n", "day": "request.event_date"}
SUPPLIED = {
    ("events", ""): Supplied(EVENTS),
    ("users", "windowed"): Supplied(COUNTS),
    ("lists", ""): Supplied({"ids": "texts.ids"}, frozenset({"list"})),
}
USERS = """
with moments as (select user_id, sum(x) as n from somewhere group by user_id),
windowed as (select *, sum(n) over () as n from moments),
rated as (select *, (n + 1) / (n + 2) as rate from windowed)
select user_id, make_timestamp(micros) as event_at, n as user_n, rate as user_rate, RATE * 2 as double_rate from rated
"""


def mart(select: str, joins: str = "left join users using (user_id, event_at)", before: str = "") -> str:
    steps = f"users as (select * from db.main.users){before}, joined as (select * from db.main.events {joins})"
    return f"with {steps} {select}"


def read(sql: str, name: str, **models: str) -> tuple[RowWise, str]:
    reading = RowWise({"mart": sql, "users": USERS, **models}, SUPPLIED)
    reading.declare_micros("request.micros", "request.event_at")
    return reading, reading.model("mart").find(name)


@pytest.mark.parametrize(
    ("select", "joins", "expected"),
    [
        ("user_rate + 1 as it", "", [1 + 4 / 5, 1 + 8 / 9]),
        ("case when user_n > 5 then price end as it", "", [None, 2.5]),
        ("double_rate as it", "left join users as u using (user_id, event_at)", [8 / 5, 16 / 9]),
        ("coalesce(len(list_filter(tags, lambda t: t > 'b')), -1) as it", "", [1, -1]),
        ("user_n as one, one * 2 as it", "", [6, 14]),
        ("ids[1] as it", "left join lists on events.tags = lists.list", [7, 8]),
        ("joined.* exclude (price), user_n * 1 as it", "", [3, 7]),
        ("year(event_at) as it", "", [2024, 2024]),
    ],
)
def test_a_column_is_computed_as_duckdb_computes_it(select: str, joins: str, expected: list) -> None:
    joins = f"{joins} " if joins.startswith("left join users") else f"left join users using (user_id, event_at) {joins}"
    reading, one = read(mart(f"select {select} from joined", joins), "it")
    rows = duckdb.sql(
        """
        select * from (values
            (3, 1.5, ['a', 'c'], [7], timestamp '2024-01-01', 'u'), (7, 2.5, null, [8], timestamp '2024-01-02', 'v'))
        as rows("user.n", "request.price", "request.tags", "texts.ids", "request.event_at", "request.user_id")
        """
    )
    assert rows
    assert [row[0] for row in duckdb.sql(reading.sql({"it": one}, "rows")).fetchall()] == expected


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        (mart("select sum(user_n) over (partition by user_id) as it from joined"), "window over other rows"),
        (mart("select user_n - (select avg(price) from events) as it from joined"), "a query of its own"),
        (mart("select max(user_n) as it from joined"), "max is of several rows"),
        (mart("select user_n as it from joined group by all"), "groups rows"),
        (mart("select distinct user_n as it from joined"), "takes distinct"),
        (mart("select user_n as it from joined where price > 1"), "leaves out rows by price"),
        (mart("select user_n as it from joined limit 3"), "takes distinct or a part"),
        (mart("select user_n as it from joined union all select 1"), "puts several queries together"),
        (
            mart("select gap as it from joined"),
            "nor the state has it: it would be a column of events",
        ),
        (
            mart("select user_n as it from joined", "left join users on events.price = users.user_n"),
            "isn't the row's own",
        ),
        (
            mart("select user_n as it from joined", "left join users on events.price > users.user_n"),
            "something else than equal",
        ),
        (mart("select gap as it from joined", "left join gaps using (user_id)"), "gaps, whose SQL isn't known"),
    ],
)
def test_what_is_not_of_the_row_is_refused_with_its_reason(sql: str, reason: str) -> None:
    with pytest.raises(NotServedError, match=reason):
        read(sql, "it")


def test_a_column_that_the_state_does_not_count() -> None:
    more = USERS.replace("n as user_n,", "n as user_n, gap as user_gap, user_gap * 2 as twice,")
    for name in ("user_gap", "twice"):
        with pytest.raises(NotServedError, match="it would be a column of step windowed of users"):
            read(mart("select * from joined"), name, users=more)
    assert read(mart("select * from joined"), "user_n", users=more)[1] == "user.n"


def test_filters_by_day_are_those_of_a_build() -> None:
    before = ", days as (select * from db.main.events where event_date between date '2024-01-01' and date '2024-01-02')"
    assert read(mart("select price as it from days", before=before), "it")[1] == "request.price"
