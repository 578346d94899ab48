"""Events drawn from a log, which the benchmarks of serving make requests and outcomes of."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa

COLUMNS = (
    "event_id", "user_id", "item_id", "scene", "label", "item_title", "item_entities", "user_texts", "ctx_dense",
    "ctx_ids",
)  # fmt: skip
OF_ITEM = ("item_id", "item_title", "item_entities")


def draw(place: Path, n: int, seed: int) -> pa.Table:
    """At most n events of the warehouse's DuckDB file, the same ones for a seed, in any order.

    Users and items come as often as in the log, so most are warm.
    Raises: SystemExit where there is no such file, or no event in it.
    """
    if not place.is_file():
        raise SystemExit(f"No events at {place}. Expected the warehouse's DuckDB file, such as data/movielens.duckdb.")
    with duckdb.connect(str(place), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'; set threads = 1")
        found = {row[0] for row in connection.execute("describe stg_events").fetchall()}
        names = [name for name in COLUMNS if name in found]
        sample = f"using sample reservoir({n} rows) repeatable ({seed})"
        events = connection.sql(f"select {', '.join(names)} from stg_events {sample}").to_arrow_table()
    if not len(events):
        raise SystemExit(f"{place} has no events.")
    return events
