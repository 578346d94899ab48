"""What the whole log says: its scenes with their counts, its days, and where validation and test begin."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import duckdb

from warehouse.init.columns import Sample
from warehouse.init.errors import InitError
from warehouse.init.label import label_sql
from warehouse.init.macros import macro
from warehouse.init.roles import SCENES, Roles
from warehouse.init.sql import one_row
from warehouse.reading.text import literal

TRAIN, BEFORE_TEST = 0.7, 0.8  # shares of the rows
ONE_SCENE = "all"


@dataclass(frozen=True)
class Scope:
    n_rows: int
    n_unreadable_times: int
    n_without_scene: int
    positive_rate: float
    scenes: dict[str, int]
    first: dt.datetime
    last: dt.datetime
    val_from: dt.datetime
    test_from: dt.datetime
    share_before_val: float
    share_before_test: float


def time_sql(column: str, time_format: str | None) -> str:
    """An adapter's text of a time, from a column's SQL."""
    if time_format is None:
        return f"cast({column} as string)"
    parsed = f"try_strptime(trim({column}), {literal(time_format)})"
    return f"coalesce(strftime({parsed}, '%Y-%m-%d %H:%M:%S.%f'), {column})"


def look_at_all(sample: Sample, roles: Roles) -> Scope:
    """One pass over the columns that decide. Raises: InitError if the log can't be split."""
    connection = sample.connection
    text = time_sql(roles.time.sql, roles.time_format)
    scene = macro("id_of")(f"nullif(trim({roles.scene.sql}), '')") if roles.scene else literal(ONE_SCENE)
    columns = sample.raw_names([roles.time, roles.label, *([roles.scene] if roles.scene else [])])
    rows = sample.flattened(f"({sample.log.scan(columns)})", columns)
    try:
        connection.execute(
            f"create table seen as select {macro('instant')(text)} as shown_at, {scene} as scene,"
            f" {label_sql(roles.label, roles.positive)} as label from ({rows}) as flat"
        )
    except duckdb.Error as error:
        raise InitError(f"The files can't be read: {str(error).splitlines()[0]}") from None
    n_rows, n_bad, n_without, rate, first, last, n_good = one_row(
        connection,
        """
        select count(*), count(*) - count(shown_at), count(*) - count(scene), avg(label),
            min(shown_at) filter (where ok), max(shown_at) filter (where ok), count(*) filter (where ok)
        from (select *, year(shown_at) between 1970 and 2199 and shown_at <= now() + interval 1 day as ok from seen)
        """,
    )
    if not n_good:
        raise InitError(f"Column {roles.time.name} has no time between 1970 and now. Name another one with --time.")
    by_scene = connection.execute(
        "select scene, count(*) as n from seen where scene is not null group by scene order by n desc, scene"
    )
    scenes = dict(by_scene.fetchmany(SCENES + 1))
    if len(scenes) > SCENES:
        raise InitError(
            f"--scene {roles.scene and roles.scene.name} has more than {SCENES} different values. "
            "Choose another column, or group them in the adapter."
        )
    val_from, test_from = _splits(connection)
    before = [
        one_row(
            connection, f"select avg(cast(shown_at < {literal(str(cut))} as int)) from seen where shown_at is not null"
        )[0]
        for cut in (val_from, test_from)
    ]
    return Scope(n_rows, n_bad, n_without, rate or 0.0, scenes, first, last, val_from, test_from, *before)


def _splits(connection: duckdb.DuckDBPyConnection) -> tuple[dt.datetime, dt.datetime]:
    """The days (00:00 UTC) before which about 70% and 80% of the rows lie; instants if days are too coarse."""
    by_day = connection.execute(
        "select day, sum(n) over (order by day) - n, sum(n) over () from ("
        "select date_trunc('day', shown_at) as day, count(*) as n from seen where shown_at is not null group by day"
        ") order by day"
    )
    before = {day: int(n) / int(total) for day, n, total in by_day.fetchall()[1:]}
    if len(before) >= 2:
        val = min(list(before)[:-1], key=lambda day: abs(before[day] - TRAIN))
        test = min((day for day in before if day > val), key=lambda day: abs(before[day] - BEFORE_TEST))
        if abs(before[val] - TRAIN) < 0.1 and abs(before[test] - BEFORE_TEST) < 0.1:
            return val, test
    cuts = f"quantile_disc(shown_at, {TRAIN}), quantile_disc(shown_at, {BEFORE_TEST}), min(shown_at)"
    val, test, first = one_row(connection, f"select {cuts} from seen where shown_at is not null")
    if not first < val < test:
        raise InitError(
            f"The rows have too few different times to split train, validation and test: 70% come before {val}, 80% "
            f"before {test}. Name another column with --time."
        )
    return val, test
