"""Events in the order of an instant, a part of the log at a time."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainer.base.errors import TrainerError
from trainer.serving.online import events as reading
from trainer.serving.online.events import Events

START = datetime(2024, 1, 1)


def log(folder: Path, n: int = 500, **change: Any) -> tuple[Events, list[dict[str, Any]]]:
    draw = random.Random(3)
    rows = []
    for k in range(n):
        at = START + timedelta(minutes=draw.randrange(40 * 60))
        one = {"event_id": f"e{k:03}", "user_id": "u", "item_id": "i", "scene": "s", "event_at": at, "label": 1}
        rows.append(one | {"known_at": at + timedelta(minutes=draw.randrange(600))} | change)
    types = {"event_at": pa.timestamp("us"), "known_at": pa.timestamp("us")}
    table = pa.table({name: pa.array([row[name] for row in rows], types.get(name)) for name in rows[0]})
    pq.write_table(table, folder / "log.parquet")
    return Events(folder / "log.parquet"), rows


def micros(at: datetime | None) -> int | None:
    return None if at is None else (at - datetime(1970, 1, 1)) // timedelta(microseconds=1)


@pytest.mark.parametrize("sorted_at_once", [1, 40, 10**6])
@pytest.mark.parametrize("order", ["event_at", "known_at"])
def test_the_order_whatever_is_sorted_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str, sorted_at_once: int
) -> None:
    monkeypatch.setattr(reading, "_SORTED", sorted_at_once)
    events, rows = log(tmp_path)
    expected = sorted(rows, key=lambda row: (row[order], row["event_id"]))
    start, before = START + timedelta(hours=9, minutes=7), START + timedelta(hours=30, minutes=3)
    for first, after in ((None, None), (start, None), (None, before), (start, before)):
        micros = [
            None if at is None else (at - datetime(1970, 1, 1)) // timedelta(microseconds=1) for at in (first, after)
        ]
        found = [one for table in events.by(order, *micros) for one in table["event_id"].to_pylist()]
        inside = [row for row in expected if (first or START) <= row[order] < (after or datetime.max)]
        assert found == [row["event_id"] for row in inside]
        assert found


def test_an_event_without_an_instant(tmp_path: Path) -> None:
    events, _ = log(tmp_path, 10, known_at=None)
    with pytest.raises(TrainerError, match=r"has 10 events without known_at\. Expected one for each event"):
        list(events.by("known_at"))
