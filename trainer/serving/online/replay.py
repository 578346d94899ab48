"""The gate: a log replayed in the order of time through the code that serves, each feature compared with the mart's.

Every outcome is applied when it becomes known, every event's features are asked for at its instant. The mart's value is
right only if both are the same, bit for bit, in every row.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trainer.base.errors import TrainerError
from trainer.contract.read import one_build
from trainer.contract.schema import Contract
from trainer.serving.online.compared import Difference
from trainer.serving.online.event_rows import NOT_ASKED, EventRows
from trainer.serving.online.events import Events
from trainer.serving.online.features import Online, requests_of
from trainer.serving.online.gathered import Gathered
from trainer.serving.online.keys import Outcome
from trainer.serving.online.state import HOLD
from trainer.serving.online.stores import Store

_PROGRESS = b"replay"
_BEFORE_ALL = -(2**62)  # microseconds


@dataclass
class Replay:
    """How far a replay has come: rows compared, the instant before which every outcome was applied, the differences."""

    mart: str
    position: int = 0
    applied_before: int | None = None
    features: dict[str, Difference] = field(default_factory=dict)
    batch_only: dict[str, str] = field(default_factory=dict)

    @property
    def mismatches(self) -> int:
        return sum(one.rows - one.equal for one in self.features.values())

    def report(self) -> dict[str, Any]:
        """What a program reads: rows, mismatches, per feature what was compared, and what isn't served."""
        raw = asdict(self)
        return {
            "rows": self.position,
            "mismatches": self.mismatches,
            "features": raw["features"],
            "batch_only": self.batch_only,
        }

    @classmethod
    def load(cls, store: Store, mart: str) -> Replay | None:
        """The replay that the store's state is of, or None.

        Raises: TrainerError for one of another build of the mart.
        """
        blob = store.get([_PROGRESS])[_PROGRESS]
        if blob is None:
            return None
        raw = json.loads(blob)
        features = {name: Difference(**one) for name, one in raw.pop("features").items()}
        found = cls(**raw, features=features)
        if found.mart != mart:
            raise TrainerError("The state is of a replay of another build of the mart. Replay into a new place.")
        return found

    def save(self, store: Store) -> None:
        """Keep it, and let the state forget nothing that a request after these rows needs."""
        text = json.dumps(asdict(self)).encode()
        held = _BEFORE_ALL if self.applied_before is None else self.applied_before
        store.update([_PROGRESS], lambda _: {_PROGRESS: text, HOLD: str(held).encode()})


def replay(
    online: Online, contract: Contract, events: Events, tick: Callable[[int], None] = lambda rows: None
) -> Replay:
    """Replay a log, from where an earlier call on this state was stopped.

    tick: called with the number of rows that were compared since the last call.
    Raises: TrainerError where the state holds outcomes of something else, or where the mart and the events don't have
    the same rows.
    """
    store = online.state.store
    done = Replay.load(store, contract.build)
    if done is None:
        if online.state.clock is not None:
            raise TrainerError("The state holds outcomes already. A replay begins with an empty one: name a new place.")
        done = Replay(contract.build, batch_only=dict(online.batch_only))
        done.save(store)
    outcomes = _Outcomes(online, events, done.applied_before)
    expected = _Expected(contract, online.columns, done.position)
    with one_build(contract.folder, contract.build):
        for asked in _from(events.by("event_at"), done.position):
            with store.together():  # after a kill, this batch is done again
                _step(online, asked, outcomes, expected, done)
            tick(len(asked))
    expected.check_end()
    return done


def _step(online: Online, asked: pa.Table, outcomes: _Outcomes, expected: _Expected, done: Replay) -> None:
    """Ask for the features of a batch of events, each at its instant, and apply what becomes known between them."""
    rows = EventRows.of(asked.drop_columns([c for c in NOT_ASKED if c in asked.column_names]))
    requests, gathered = requests_of(rows), Gathered()
    at_B = np.array(rows.values("event_at"), np.int64)
    edges = [0, *(np.flatnonzero(np.diff(at_B)) + 1).tolist(), len(at_B)]
    for first, after in pairwise(edges):
        if due := outcomes.known_before(int(at_B[first])):
            online.state.apply(due)
        gathered.joined(online.gather(requests[first:after]))
    _compare(online, asked["event_id"].combine_chunks(), rows, gathered, expected, done)
    done.applied_before = int(at_B[-1])
    done.save(online.state.store)


def _compare(
    online: Online, event_ids: pa.Array, rows: EventRows, gathered: Gathered, expected: _Expected, done: Replay
) -> None:
    mart = expected.next(event_ids)
    served = online.compute(rows, gathered)
    for name in served.types:
        of = done.features.setdefault(name, Difference())
        of.add(event_ids, served.array(name), mart[name].combine_chunks())
    done.position += len(rows)


def _from(batches: Iterator[pa.Table], position: int) -> Iterator[pa.Table]:
    for batch in batches:
        if position < len(batch):
            yield batch.slice(position)
        position = max(0, position - len(batch))


class _Outcomes:
    """Outcomes in the order in which they become known."""

    def __init__(self, online: Online, events: Events, start: int | None):
        self._online, self._batches = online, events.by("known_at", start)
        self._waiting = deque[Outcome]()

    def known_before(self, at: int) -> list[Outcome]:
        out: list[Outcome] = []
        while True:
            while self._waiting and self._waiting[0].known_at < at:
                out.append(self._waiting.popleft())
            if self._waiting:
                return out
            batch = next(self._batches, None)
            if batch is None:
                return out
            self._waiting.extend(self._online.outcomes(batch))


class _Expected:
    """The mart's rows in the order of the events, a day at a time."""

    def __init__(self, contract: Contract, columns: tuple[str, ...], position: int):
        self._columns = ["event_id", "event_at", *columns]
        days: dict[str, list[Path]] = {}
        for path in contract.files:
            days.setdefault(str(path.relative_to(contract.folder).parent), []).append(path)
        self._days = iter(sorted(days.items()))
        self._skip, self._rows = position, pa.table({"event_id": pa.array([], pa.string())})

    def next(self, event_ids: pa.Array) -> pa.Table:
        """The rows of the next events. Raises: TrainerError where they are of other events."""
        tables, n = [], len(event_ids)
        while n:
            if not len(self._rows) and not self._read_day():
                break
            taken = self._rows.slice(0, n)
            self._rows, n = self._rows.slice(len(taken)), n - len(taken)
            tables.append(taken)
        found = pa.concat_tables(tables) if tables else self._rows
        ids = found["event_id"].to_pylist()
        for i, event in enumerate(event_ids.to_pylist()):
            other = ids[i] if i < len(ids) else None
            if other != event:
                there = "has no more rows" if other is None else f"has {other}"
                raise TrainerError(
                    f"The mart and the events aren't of one log: where the events have {event}, the mart {there}. "
                    "Run `dbt build`, and name the events that the mart was built of with --events."
                )
        return found

    def check_end(self) -> None:
        if len(self._rows) or self._read_day():
            event = self._rows["event_id"][0].as_py()
            raise TrainerError(f"The mart has rows that the events lack: {event} is the first. Run `dbt build`.")

    def _read_day(self) -> bool:
        while True:
            _, files = next(self._days, ("", []))
            if not files:
                return False
            n = sum(pq.read_metadata(path).num_rows for path in files)
            if n <= self._skip:
                self._skip -= n
                continue
            tables = [pq.ParquetFile(path).read(columns=self._columns) for path in files]
            order = [("event_at", "ascending"), ("event_id", "ascending")]
            self._rows = pa.concat_tables(tables).sort_by(order).slice(self._skip)
            self._skip = 0
            return True
