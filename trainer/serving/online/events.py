"""The canonical events: of the warehouse's own DuckDB file, or of Parquet with the columns of `stg_events`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa

from trainer.base.errors import TrainerError
from trainer.contract.schema import Contract
from trainer.serving.online.moments import HOUR
from trainer.serving.online.supplied import REQUEST

_BATCH = 4096  # rows
_SORTED = 100_000  # rows
_FOREVER = 2**62  # microseconds
_ORDERS = ("event_at", "known_at")
_NEEDED = ("event_id", "user_id", "item_id", "scene", "event_at", "known_at", "label")


class Events:
    """The events of a log. place: a DuckDB file of the warehouse, a Parquet file, or a folder of them.

    Raises: TrainerError where there is none, it can't be read, or a column is missing.
    """

    def __init__(self, place: Path):
        self._place = place
        if not place.exists():
            raise TrainerError(
                f"No events at {place}. Expected the warehouse's DuckDB file, such as data/movielens.duckdb, or "
                "Parquet with the columns of stg_events. Name it with --events."
            )
        is_database = place.is_file() and not place.suffix.lower().endswith("parquet")
        files = place if place.is_file() else place / "**/*.parquet"
        self._from = "stg_events" if is_database else f"read_parquet({_quoted(str(files))}, union_by_name = true)"
        try:
            self._connection = duckdb.connect(str(place) if is_database else ":memory:", read_only=is_database)
            self._connection.execute("set TimeZone = 'UTC'; set threads = 1; set preserve_insertion_order = false")
            found = [row[0] for row in self._connection.execute(f"describe select * from {self._from}").fetchall()]
        except duckdb.Error as error:
            raise TrainerError(f"{place} can't be read as events ({str(error).splitlines()[0]}).") from None
        missing = [name for name in _NEEDED if name not in found]
        if missing:
            raise TrainerError(
                f"{place} lacks {', '.join(missing)}. Expected the columns of stg_events: {', '.join(REQUEST)}."
            )
        self.columns = tuple(name for name in REQUEST if name in found)

    @classmethod
    def of_mart(cls, contract: Contract, given: Path | None = None) -> Events:
        """`given`, or the file that `dbt build` made the mart in: data/<dataset>.duckdb beside data/marts."""
        return cls(given or contract.folder.parent.parent.parent / f"{contract.dataset}.duckdb")

    def by(self, order: str, start: int | None = None, before: int | None = None) -> Iterator[pa.Table]:
        """Tables of events in the order of `event_at` or `known_at`, then event_id.

        start, before: microseconds since 1970; the first instant and the end of what is read.
        Raises: TrainerError for events without that instant.
        """
        assert order in _ORDERS
        for first, after in self._ranges(order, start, before):
            yield from self._tables(
                f"select {', '.join(self.columns)} from {self._from} where epoch_us({order}) >= {first} and "
                f"epoch_us({order}) < {after} order by {order}, event_id"
            )

    def _ranges(self, order: str, start: int | None, before: int | None) -> Iterator[tuple[int, int]]:
        """Spans of time with about _SORTED events each: what is sorted at once, and so held in memory."""
        limits = [f"epoch_us({order}) >= {start}"] if start is not None else []
        limits += [f"epoch_us({order}) < {before}"] if before is not None else []
        where = f" where {' and '.join(limits)}" if limits else ""
        hours = f"select epoch_us({order}) // {HOUR} as hour, count(*) as n from {self._from}{where} group by 1"
        first, n_events = start, 0
        for table in self._tables(f"{hours} order by 1 nulls first"):
            for hour, n in zip(table["hour"].to_pylist(), table["n"].to_pylist(), strict=True):
                if hour is None:
                    raise TrainerError(
                        f"{self._place} has {n:,} events without {order}. Expected one for each event, as staging "
                        "gives it."
                    )
                first = hour * HOUR if first is None else first
                n_events += n
                if n_events >= _SORTED:
                    yield first, min((hour + 1) * HOUR, _FOREVER if before is None else before)
                    first, n_events = (hour + 1) * HOUR, 0
        if n_events:
            assert first is not None
            yield first, _FOREVER if before is None else before

    def _tables(self, sql: str) -> Iterator[pa.Table]:
        try:
            reader = self._connection.cursor().sql(sql).to_arrow_reader(_BATCH)
            for batch in reader:
                if len(batch):
                    yield pa.Table.from_batches([batch])
        except (duckdb.Error, pa.ArrowInvalid) as error:
            raise TrainerError(f"{self._place} can't be read to its end ({str(error).splitlines()[0]}).") from None


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
