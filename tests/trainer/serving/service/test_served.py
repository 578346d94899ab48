"""The log of what was served: whole files by day, and a disk that is full stops nothing."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from tests.trainer.serving.service.conftest import Fitted, Make, asked
from tests.trainer.serving.service.test_failing_stores import largest_file
from trainer.serving.service.served import Limits, ServedLog

if TYPE_CHECKING:
    from trainer.serving.service.metrics import Metrics


def rows_of(n: int = 10, day: str = "2024-02-20") -> pa.Table:
    at = np.datetime64(f"{day}T10:00:00", "us")
    return pa.table({"event_at": pa.array([at] * n), "text": pa.array(["x" * 100] * n)})


def written(folder: Path) -> dict[str, int]:
    return {
        path.parent.name: pq.read_metadata(path).num_rows
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix == ".parquet"
    }


def until(holds: Any) -> None:
    for _ in range(500):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it doesn't hold after 5 seconds")


def test_what_was_served(fitted: Fitted, make: Make, metrics: Metrics, tmp_path: Path) -> None:
    """As answered, with the features that the model read, by the mart's names and types."""
    log = ServedLog(tmp_path / "served", metrics, print)
    client = make(log=log, metrics=metrics)
    rows = fitted.events.slice(900, 4).to_pylist()
    first = client.post("/score", json=asked(fitted, "2024-02-20T23:59:00Z", rows, features=True)).json()
    second = asked(fitted, "2024-02-21", rows[:1])
    del second["candidates"][0]["event_id"]
    client.post("/score", json=second)
    assert "first_impression_served_buffered_rows 5.0" in client.get("/metrics").text
    log.close()
    assert written(tmp_path / "served") == {"event_date=2024-02-20": 4, "event_date=2024-02-21": 1}
    table = ds.dataset(tmp_path / "served").to_table().sort_by([("event_at", "ascending")])
    assert table["request_id"].to_pylist()[:4] == [first["request_id"]] * 4
    assert table["probability"].to_pylist()[:4] == [one["probability"] for one in first["candidates"]]
    assert table["event_id"].to_pylist() == [*(row["event_id"] for row in rows), None]
    types = {name: table.schema.field(name).type for name in table.column_names}
    own = dict.fromkeys(("request_id", "event_id", "user_id", "item_id", "scene"), "string")
    own |= {"event_at": "timestamp[us]", "served_at": "timestamp[us]", "probability": "double"}
    assert {name: str(types[name]) for name in table.column_names[:8]} == own
    mart = pq.read_schema(fitted.contract.files[0])
    features = set(first["candidates"][0]["features"])
    assert set(table.column_names) == {*own, *features}
    assert {name: str(types[name]) for name in features} == {name: str(mart.field(name).type) for name in features}
    names = sorted(features - set(own))
    assert table.select(names).to_pylist()[:4] == [
        {name: one["features"][name] for name in names} for one in first["candidates"]
    ]


def test_files_are_written_once_there_are_enough_rows_or_after_a_while(metrics: Metrics, tmp_path: Path) -> None:
    log = ServedLog(tmp_path / "rows", metrics, print, Limits(rows=20, seconds=1000))
    log.add(rows_of(10))
    time.sleep(0.05)
    assert written(tmp_path / "rows") == {}
    log.add(rows_of(10))
    until(lambda: written(tmp_path / "rows") == {"event_date=2024-02-20": 20})
    log.close()
    log = ServedLog(tmp_path / "seconds", metrics, print, Limits(rows=1000, seconds=0.05))
    log.add(rows_of(3))
    until(lambda: written(tmp_path / "seconds") == {"event_date=2024-02-20": 3})
    log.close()


def test_a_full_disk_keeps_rows_up_to_a_size(metrics: Metrics, tmp_path: Path) -> None:
    said = list[str]()
    one = rows_of(10)
    log = ServedLog(tmp_path, metrics, said.append, Limits(rows=10, seconds=0.05, most_bytes=one.nbytes * 5 // 2))
    count = metrics.registry.get_sample_value
    with largest_file(0):
        log.add(one)
        until(lambda: said)
        until(lambda: log._rows == 10)
        for _ in range(20):
            log.add(one)
        assert count("first_impression_served_rows_total", {"result": "dropped"}) >= 170
        assert (count("first_impression_served_write_failures_total") or 0) >= 1
    until(lambda: len(said) == 2)
    log.close()
    assert "can't be written to" in said[0]
    assert "Scoring goes on" in said[0]
    assert "is written to" in said[1]
    n_written = sum(pq.read_metadata(path).num_rows for path in tmp_path.rglob("*.parquet"))
    assert n_written == count("first_impression_served_rows_total", {"result": "written"})
    assert n_written + (count("first_impression_served_rows_total", {"result": "dropped"}) or 0) == 210
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".parquet"] == []


def test_rows_that_cannot_be_written_at_the_end_are_named(metrics: Metrics, tmp_path: Path) -> None:
    said = list[str]()
    log = ServedLog(tmp_path, metrics, said.append)
    log.add(rows_of(7))
    with largest_file(0):
        log.close()
    assert "7 rows of what was served are lost" in said[-1]
