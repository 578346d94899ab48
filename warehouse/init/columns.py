"""A sample of the log, and what each of its columns holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import duckdb

from warehouse.init.errors import InitError
from warehouse.init.files import RawLog
from warehouse.init.lists import ListColumn, find_lists, parts_of
from warehouse.init.macros import macro
from warehouse.init.sql import one_row, sql_name
from warehouse.reading.text import literal, quoted, shape_of

ROWS = 100_000  # of the sample
MANY = 1000  # different values from which on a text is no category
TIME_FORMATS = (
    "%m/%d/%Y %I:%M:%S %p",
    "%d/%m/%Y %I:%M:%S %p",
    "%m/%d/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y",
    "%Y%m%dT%H%M%SZ",
    "%Y%m%dT%H%M%S",
    "%Y%m%d%H%M%S",
    "%Y%m%d %H:%M:%S",
    "%Y%m%d",
    "%Y.%m.%d %H:%M:%S",
    "%Y-%m-%d %I:%M:%S %p",
    "%a %b %d %H:%M:%S %Y",
)


@dataclass(frozen=True)
class Column:
    """A column of the log, or a part of one that holds a list, as one impression has it."""

    name: str
    sql: str  # in table `flat`
    adapter: str  # in the adapter's SQL
    kind: str  # text, number, time, boolean; or list, map, struct, nothing
    share_there: float = 0.0  # of the rows that have a value; the other shares are of those
    n_different: int = 0
    is_unique: bool = False
    numbers: float = 0.0
    truths: float = 0.0
    times: float = 0.0
    length: float = 0.0
    examples: tuple[str, ...] = ()

    @property
    def is_truth(self) -> bool:
        return self.share_there > 0 and self.truths == 1.0

    @property
    def is_number(self) -> bool:
        return self.share_there > 0 and self.numbers > 0.99

    @property
    def is_time(self) -> bool:
        return self.times > 0.98


class Sample:
    """Rows of the log in a database in memory. Table `sample` has them as the files do, `flat` one per impression."""

    def __init__(self, log: RawLog, item: str | None) -> None:
        self.log = log
        self.connection = duckdb.connect(":memory:")
        self.connection.execute("set TimeZone = 'UTC'; set enable_progress_bar = false")
        scan = log.scan(list(log.columns))
        try:
            self.connection.execute(
                f"create table sample as select * from ({scan}) using sample reservoir({ROWS} rows) repeatable (1)"
            )
        except duckdb.Error as error:
            raise InitError(f"The files can't be read: {str(error).splitlines()[0]}") from None
        if not self._number("select count(*) from sample"):
            raise InitError(f"{log.folder}/{log.pattern} has no rows, only headers. Choose files with rows with --log.")
        self.lists = find_lists(self.connection, log, item)
        self.connection.execute(f"create table flat as {self.flattened('sample', log.columns)}")
        self.n_rows = self._number("select count(*) from flat")
        if not self.n_rows:
            raise InitError(f"{', '.join(one.name for one in self.lists)}: every list is empty.")
        self.columns = {name: self._described(column) for name, column in self._columns().items()}

    def raw_names(self, columns: Iterable[Column]) -> list[str]:
        """The columns of the files behind these, lists that go with them included."""
        names = {one.name for one in self.lists}
        names |= {c.name if c.name in self.log.columns else c.name.rsplit(".", 1)[0] for c in columns}
        return [name for name in self.log.columns if name in names]

    def flattened(self, table: str, columns: Iterable[str]) -> str:
        """SQL for one row per impression of a table of raw rows with these columns."""
        if not self.lists:
            return f"select * from {table}"
        names = {one.name for one in self.lists}
        rest = "".join(f"{quoted(name)}, " for name in columns if name not in names)
        unnested = ", ".join(f"unnest({one.sql}) as part_{n}" for n, one in enumerate(self.lists))
        fields = ", ".join(f"{quoted(one.field)} := part_{n}" for n, one in enumerate(self.lists))
        return f"select {rest}struct_pack({fields}) as l from (select {rest}{unnested} from {table})"

    def _columns(self) -> dict[str, Column]:
        found = {}
        lists = {one.name: one for one in self.lists}
        for name, type_ in self.log.columns.items():
            if name in lists:
                for part in parts_of(lists[name]):
                    found[part.name] = Column(part.name, part.sql, part.adapter, self._kind_of(lists[name], part.name))
            else:
                kind = shape_of(duckdb.sqltype(type_)).kind
                found[name] = Column(name, quoted(name), sql_name(name), kind)
        return found

    def _kind_of(self, column: ListColumn, part: str) -> str:
        if column.split:
            return "text"
        inner = shape_of(duckdb.sqltype(self.log.columns[column.name])).fields[0][1]
        return dict(inner.fields)[part[len(column.name) + 1 :]].kind if column.fields else inner.kind

    def _described(self, column: Column) -> Column:
        if column.kind in ("list", "map", "struct", "nothing"):
            n_there = self._number(f"select count({column.sql}) from flat")
            return Column(column.name, column.sql, column.adapter, column.kind, n_there / self.n_rows)
        text = f"nullif(trim({column.sql}), '')"
        row = one_row(
            self.connection,
            f"""
            with v as (
                select {text} as t from flat
            ),
            frequent as (
                select t, count(*) as n from v where t is not null group by t order by n desc, t limit 4
            )
            select
                avg(cast(t is not null as int)),
                count(distinct t),
                count(t) = count(distinct t),
                avg(cast(try_cast(t as double) is not null as int)) filter (where t is not null),
                avg(cast(coalesce({macro("truth")("t")} in (0, 1), false) as int)) filter (where t is not null),
                avg(cast({macro("instant")("t")} is not null as int)) filter (where t is not null),
                avg(length(t)),
                (select list(t order by n desc, t) from frequent)
            from v
            """,
        )
        share, n, unique, numbers, truths, times, length, examples = row
        return Column(
            column.name, column.sql, column.adapter, column.kind, share, n, bool(unique) and share == 1,
            numbers or 0.0, truths or 0.0, times or 0.0, length or 0.0, tuple(examples or ()),
        )  # fmt: skip

    # ---- looks at single columns

    def _number(self, sql: str) -> int:
        row = one_row(self.connection, sql)
        return int(row[0] or 0)

    def share(self, condition: str, of: str = "true") -> float:
        """Share of the impressions, among those for which `of` holds."""
        row = one_row(self.connection, f"select avg(cast(coalesce({condition}, false) as int)) from flat where {of}")
        return float(row[0] or 0)

    def counts(self, column: Column, most: int = 12) -> list[tuple[str, float]]:
        """The most frequent values, with their shares."""
        found = self.connection.execute(
            f"select v, count(*) / {self.n_rows} as share from (select trim({column.sql}) as v from flat) where v <> ''"
            f" group by v order by share desc, v limit {most}"
        )
        return [(str(value), float(share)) for value, share in found.fetchall()]

    def time_formats(self, column: Column) -> list[str]:
        """The known formats, outside those of the build, that read every time of the column."""
        there = f"trim({column.sql}) <> ''"
        return [f for f in TIME_FORMATS if self.reads(column, f) and self.share("true", there)]

    def reads(self, column: Column, time_format: str) -> bool:
        parsed = f"try_strptime(trim({column.sql}), {literal(time_format)})"
        # %Y takes any number of digits: 11/11/19 is no year 19
        there = f"trim({column.sql}) <> ''"
        return self.share(f"{parsed} is not null and year({parsed}) between 1970 and 2199", there) > 0.999

    def tells(self, column: Column, label: str) -> float:
        """AUC with which the column alone tells the label (SQL, 0 or 1): its values, or 40 ranges of a number, by
        their positive rates."""
        value, number = "v", "try_cast(v as double)"
        group = f"case when list_contains(frequent, v) then {value} when v is not null then 'another' end"
        if column.is_number and column.n_different > 50:
            ranges = f"ntile(40) over (partition by {number} is null order by {number})"
            group = f"case when {number} is not null then cast({ranges} as varchar) end"
        (auc,) = one_row(
            self.connection,
            f"""
            with
            valued as (
                select nullif(trim({column.sql}), '') as v, {label} as y from flat
            ),
            top as (
                select list(v) as frequent from (select v from valued group by v order by count(*) desc limit 50)
            ),
            summed as (
                select sum(y) as p, count(*) - sum(y) as n
                from (select {group} as g, y from valued cross join top where y is not null)
                group by g
            ),
            ordered as (
                select p, n, sum(n) over (order by p / (p + n), p, n) - n as below from summed
            )
            select sum(p * (below + n / 2)) / nullif(sum(p) * sum(n), 0) from ordered
            """,
        )
        return float(auc or 0.5)
