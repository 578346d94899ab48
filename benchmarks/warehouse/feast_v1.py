"""Feast's historical retrieval of the v1 features, which others computed, for as many events as fit into a time.

    <feast's python> benchmarks/warehouse/feast_v1.py FEATURES EVENTS OUT STORE SECONDS

FEATURES holds user, item, user_item and scene.parquet with the day's start as `event_timestamp`. Sizes grow tenfold
until one takes more than a third of SECONDS, or all events are done. Prints a line of JSON a size.
"""

import json
import sys
import time
from datetime import timedelta
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
from feast import Entity, FeatureStore, FeatureView, FileSource, RepoConfig
from feast.infra.offline_stores.dask import DaskOfflineStoreConfig
from feast.infra.offline_stores.duckdb import DuckDBOfflineStoreConfig
from feast.infra.online_stores.sqlite import SqliteOnlineStoreConfig
from feast.repo_config import RegistryConfig
from feast.value_type import ValueType

KEYS = {"user": ["user"], "item": ["item"], "user_item": ["user", "item"], "scene": ["log"]}


def open_store(folder: Path, features: Path, kind: str) -> tuple[FeatureStore, list[str]]:
    """A store over the feature files, and the names of all its features."""
    folder.mkdir(parents=True, exist_ok=True)
    offline = DuckDBOfflineStoreConfig() if kind == "duckdb" else DaskOfflineStoreConfig()
    store = FeatureStore(
        config=RepoConfig(
            project="bench",
            provider="local",
            registry=RegistryConfig(path=str(folder / "registry.db")),
            offline_store=offline,
            online_store=SqliteOnlineStoreConfig(path=str(folder / "online.db")),
            entity_key_serialization_version=3,
        )
    )
    entities = {
        name: Entity(name=name, join_keys=[f"{name}_id"], value_type=ValueType.STRING)
        for name in ("user", "item", "log")
    }
    views, names = [], []
    for view, keys in KEYS.items():
        file = features / f"{view}.parquet"
        source = FileSource(name=f"{view}_source", path=str(file), timestamp_field="event_timestamp")
        views.append(
            FeatureView(name=view, entities=[entities[key] for key in keys], ttl=timedelta(days=1), source=source)
        )
        columns = [row[0] for row in duckdb.execute(f"describe select * from '{file}'").fetchall()]
        names += [f"{view}:{c}" for c in columns if c != "event_timestamp" and c not in {f"{key}_id" for key in keys}]
    store.apply([*entities.values(), *views])
    return store, names


def main(features: Path, events: str, out: Path, kind: str, seconds: float) -> None:
    out.mkdir(parents=True, exist_ok=True)
    store, names = open_store(out / f"store-{kind}", features, kind)
    total = duckdb.execute(f"select count(*) from '{events}'").fetchone()[0]
    n_rows = 10_000
    while True:
        entities = duckdb.execute(
            f"select event_id, user_id, item_id, 'all' as log_id, event_at as event_timestamp from '{events}'"
            f" limit {min(n_rows, total)}"
        ).df()
        entities["event_timestamp"] = entities["event_timestamp"].dt.tz_localize("UTC")
        began = time.perf_counter()
        job = store.get_historical_features(entity_df=entities, features=names)
        table = job.to_arrow()
        took = time.perf_counter() - began
        file = out / f"{kind}.parquet"
        pq.write_table(table, file)
        print(json.dumps({"store": kind, "rows": len(entities), "seconds": took, "file": str(file)}), flush=True)
        if took * 3 > seconds or n_rows >= total:
            return
        n_rows *= 10


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), sys.argv[4], float(sys.argv[5]))
