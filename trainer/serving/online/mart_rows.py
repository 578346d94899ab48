"""The mart by day, and which of its rows a served row is of.

A row of the log is the mart's row of its `event_id`; without one, the only row of its user, item, scene and instant.
Held in memory: the keys of the days around a batch of the log, and two of those days as a whole.
"""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trainer.contract.parquet import PARTITION
from trainer.contract.schema import Contract
from trainer.serving.online.served_files import KEYS, OWN

_MATCH = """
select position, count(*) as found, min(day) as day, min(number) as number, bool_or(other) as other
from (
    select s.position, m.day, m.number,
        m.user_id != s.user_id or m.item_id != s.item_id or m.scene != s.scene as other
    from served as s join mart as m on m.event_id = s.event_id
    union all
    select s.position, m.day, m.number, false
    from served as s join mart as m
        on m.user_id = s.user_id and m.item_id = s.item_id and m.scene = s.scene and m.event_at = s.event_at
    where s.event_id is null
)
group by position order by day, position
"""
_MATCHED = {
    "position": pa.int64(),
    "found": pa.int64(),
    "day": pa.date32(),
    "number": pa.int64(),
    "other": pa.bool_(),
}


class MartRows:
    """The mart by day. columns: its columns, and whether each holds numbers; served: by day, the rows that were."""

    def __init__(self, contract: Contract):
        self.columns = {
            c.name: c.role == "feature" and c.kind != "categorical" and "string" not in c.data_type
            for c in contract.columns
            if c.name not in OWN
        }
        self._files: dict[date, list[Path]] = {}
        for path in contract.files:
            day = date.fromisoformat(path.relative_to(contract.folder).parts[0].removeprefix(PARTITION))
            self._files.setdefault(day, []).append(path)
        self.days = sorted(self._files)
        self.first, self.last = self.days[0], self.days[-1]
        self.served: dict[date, np.ndarray] = {}
        self.table = lru_cache(maxsize=2)(self._table)
        self._held: set[date] = set()
        self._connection = duckdb.connect()
        self._connection.execute("set TimeZone = 'UTC'; set threads = 1")

    def hold(self, days: set[date]) -> None:
        """Hold the keys of these days and of those beside them: an event's instant may differ from the request's."""
        near = {day.toordinal() + k for day in days for k in (-1, 0, 1)}
        wanted = {day for day in self._files if day.toordinal() in near}
        for day in self._held - wanted:
            self._connection.execute(f"drop table {_table_of(day)}")
        for day in sorted(wanted - self._held):
            keys = self._read(day, ["event_id", *KEYS])
            self.served.setdefault(day, np.zeros(len(keys), bool))
            self._connection.register("keys", keys.append_column("number", pa.array(np.arange(len(keys)))))
            self._connection.execute(
                f"create table {_table_of(day)} as select date '{day}' as day, number, event_id, user_id, item_id, "
                "scene, event_at::timestamp as event_at from keys"
            )
            self._connection.unregister("keys")
        self._held = wanted

    def match(self, served: pa.Table) -> pa.Table:
        """position, found (rows of the mart), day, number (the row of the day), other (its key is another)."""
        if not self._held:
            return pa.table({name: pa.array([], kind) for name, kind in _MATCHED.items()})
        mart = " union all ".join(f"from {_table_of(day)}" for day in sorted(self._held))
        self._connection.register("served", served)
        found = self._connection.sql(f"with mart as ({mart}) {_MATCH}").to_arrow_table()
        self._connection.unregister("served")
        return found.cast(pa.schema(_MATCHED))

    def _table(self, day: date, names: tuple[str, ...]) -> pa.Table:
        return self._read(day, list(dict.fromkeys(("event_id", "event_at", *names))))

    def _read(self, day: date, names: list[str]) -> pa.Table:
        return pa.concat_tables([pq.ParquetFile(path).read(columns=names).select(names) for path in self._files[day]])


def _table_of(day: date) -> str:
    return f"mart_{day:%Y%m%d}"
