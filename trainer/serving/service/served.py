"""The log of what was served: Parquet by day, `FOLDER/event_date=YYYY-MM-DD/<unique>.parquet`.

Rows wait in memory until there are enough, or until the oldest has waited long enough, and become whole files, written
by a thread of its own. A disk that is full or gone stops nothing: rows are kept for the next attempt up to a size, then
dropped and counted.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage import atomic
from trainer.serving.online.event_rows import EventRows

if TYPE_CHECKING:
    from trainer.serving.service.metrics import Metrics

_OF_REQUEST = ("event_id", "user_id", "item_id", "scene", "event_at")


@dataclass(frozen=True)
class Limits:
    """rows, seconds: what makes a file; most_bytes: kept in memory while nothing can be written."""

    rows: int = 20_000
    seconds: float = 60.0
    most_bytes: int = 256 << 20


def served_rows(
    request_id: str, served_at: datetime, events: EventRows, probability_B: np.ndarray, features: pa.Table
) -> pa.Table:
    """What was served for a request. B candidates -> B rows."""
    n = len(events)
    columns = {"request_id": pa.array([request_id] * n, pa.string())}
    columns |= {name: events[name] for name in _OF_REQUEST}
    columns["served_at"] = pa.array([served_at.replace(tzinfo=None)] * n, pa.timestamp("us"))
    columns["probability"] = pa.array(probability_B, pa.float64())
    return pa.table(columns | {name: features[name] for name in features.column_names if name not in columns})


class ServedLog:
    """Rows on their way to files below a folder. say: called with a line when writing fails, and when it works again.

    Raises: OSError on opening where the folder can't be made.
    """

    def __init__(self, folder: Path, metrics: Metrics, say: Callable[[str], None], limits: Limits | None = None):
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._metrics, self._say, self._limits = folder, metrics, say, limits or Limits()
        self._waiting: list[pa.Table] = []
        self._rows = self._bytes = 0
        self._changed = threading.Condition()
        self._closed = self._failing = False
        self._writer = threading.Thread(target=self._write_until_closed, name="served-log", daemon=True)
        self._writer.start()

    def add(self, rows: pa.Table) -> None:
        """Take rows; never waits for the disk."""
        with self._changed:
            if self._bytes + rows.nbytes > self._limits.most_bytes:
                self._metrics.served.labels("dropped").inc(len(rows))
                return
            self._keep([rows])
            if self._rows >= self._limits.rows:
                self._changed.notify()

    def close(self) -> None:
        """Write what is left; rows that can't be written even now are lost, and `say` says how many."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._writer.join()
        if self._rows:
            self._metrics.served.labels("dropped").inc(self._rows)
            self._say(f"{self._rows:,} rows of what was served are lost: {self._folder} can't be written.")

    def _keep(self, tables: list[pa.Table]) -> None:
        self._waiting = self._waiting + tables
        self._rows += sum(len(one) for one in tables)
        self._bytes += sum(one.nbytes for one in tables)
        self._metrics.served_buffered.set(self._rows)

    def _write_until_closed(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._is_due, self._limits.seconds)
                closed, tables = self._closed, self._waiting
                self._waiting, self._rows, self._bytes = [], 0, 0
                self._metrics.served_buffered.set(0)
            if left := self._written(tables):
                with self._changed:
                    self._keep(left)
            if closed:
                return

    def _is_due(self) -> bool:
        return self._closed or (self._rows >= self._limits.rows and not self._failing)

    def _written(self, tables: list[pa.Table]) -> list[pa.Table]:
        """Write files, one per day; return the rows that couldn't be written."""
        if not tables:
            return []
        rows = pa.concat_tables(tables)
        days, left = pc.cast(rows["event_at"], pa.date32()), []
        for day in pc.unique(days).to_pylist():
            of_day = rows.filter(pc.equal(days, pa.scalar(day, pa.date32())))
            now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
            path = self._folder / f"event_date={day.isoformat()}" / f"{now}-{uuid.uuid4().hex}.parquet"
            try:
                with atomic.file(path) as aside:
                    pq.write_table(of_day, aside, compression="zstd")
            except OSError as error:
                left.append(of_day)
                self._metrics.served_failures.inc()
                if not self._failing:
                    self._say(
                        f"What was served can't be written to {self._folder} ({error}). Scoring goes on; up to "
                        f"{self._limits.most_bytes >> 20} MiB of rows are kept for the next attempt."
                    )
                self._failing = True
            else:
                self._metrics.served.labels("written").inc(len(of_day))
        if not left and self._failing:
            self._failing = False
            self._say(f"What was served is written to {self._folder} again.")
        return left
