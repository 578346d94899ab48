"""The v1 features and the training table from a Parquet of events, by the warehouse's own SQL in one DuckDB process.

    python benchmarks/warehouse/ours.py COMPILED EVENTS OUT

COMPILED is the folder of SQL that dbt compiled in a full build: the same statements, without dbt around them.
"""

import sys
from pathlib import Path

import duckdb

TABLES = (
    *("daily/int_scene_daily", "daily/int_user_daily", "daily/int_item_daily", "daily/int_user_item_daily"),
    *("features/feat_scene_v1", "features/feat_user_v1", "features/feat_item_v1", "features/feat_user_item_v1"),
)
# What the mart reads of the log besides features: without texts and context, which the peers don't carry either.
EVENTS = """
create view int_events as
select event_id, user_id, item_id, scene, scene::int + 1 as scene_slot, event_at, event_date, event_date as as_of_date,
    known_at, label, 'train' as split, null::double[] as ctx_dense, null::varchar[] as ctx_ids,
    null::bigint as item_title_text_id, null::bigint[] as item_entity_text_ids,
    null::bigint[] as user_entity_text_ids, null::bigint as whole_user_text_id
from stg_events
"""


def main(compiled: Path, events: Path, out: Path) -> None:
    out.mkdir(parents=True)
    database = out / "simulated.duckdb"
    with duckdb.connect(database, config={"threads": 2, "memory_limit": "6GB"}) as connection:
        connection.execute(f"create view stg_events as select * from '{events}'")
        connection.execute(EVENTS)
        for table in TABLES:
            connection.execute(f"create table {Path(table).name} as {(compiled / f'{table}.sql').read_text()}")
        mart = (compiled / "marts/training_examples_v1.sql").read_text()
        for (day,) in connection.execute("select distinct event_date from stg_events order by 1").fetchall():
            (out / f"event_date={day}").mkdir()
            connection.execute(f"set variable first_day = date '{day}'")
            connection.execute(f"set variable last_day = date '{day}'")
            connection.execute(
                f"copy (select * exclude (event_date) from ({mart})) to '{out}/event_date={day}/data_0.parquet'"
                " (format parquet, compression zstd)"
            )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
