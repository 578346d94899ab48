"""The proof as a whole: draw a sample, alter it, rebuild, compare."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from warehouse.project import opened_database

from .alterations import alterations
from .models import Models
from .project import Compiled
from .rebuild import SAMPLE, in_memory, prepare, rebuilt
from .sample import Contents, draw, with_corners
from .verdicts import Verdicts

Tick = Callable[[str], None]
WORKERS = 2  # DuckDB lets go of the interpreter's lock; a query this small gains nothing of a second thread


@dataclass(frozen=True)
class Proof:
    """What came of every mart, and from what."""

    sample: Contents
    alterations: list[str]
    marts: list[Verdicts]

    @property
    def holds(self) -> bool:
        return not any(mart.leaks or mart.lost_or_doubled for mart in self.marts)


def prove(project: Compiled, seed: int = 7, tick: Tick = lambda _: None) -> Proof:
    """Prove the project's marts on a sample of its log; `tick` is called with what is done next.

    Raises: ProofError if nothing is built, the log is empty or a model fails.
    """
    tick("drawing a sample")
    with opened_database() as database:
        sample = draw(database, project.models.events, seed)
        inputs = {
            relation: database.sql(f"select * from {relation}").to_arrow_table() for relation in project.models.inputs
        }
    with ExitStack() as stack:
        connections = [stack.enter_context(in_memory(project.credentials)) for _ in range(WORKERS)]
        return prove_sample(project.models, connections, sample, inputs, tick)


def prove_sample(
    models: Models,
    connections: Sequence[duckdb.DuckDBPyConnection],
    sample: pa.Table,
    inputs: dict[str, pa.Table] | None = None,
    tick: Tick = lambda _: None,
) -> Proof:
    """The same for a sample that is there. Each connection, to a database in memory, is a worker of its own."""
    for connection in connections:
        prepare(connection, models, sample, inputs or {})
    contents, *_ = (with_corners(connection, SAMPLE) for connection in connections)
    planned = list(alterations(connections[0], SAMPLE))
    event_ids = [row[0] for row in connections[0].execute(f"select event_id from {SAMPLE}").fetchall()]
    idle: queue.SimpleQueue[duckdb.DuckDBPyConnection] = queue.SimpleQueue()
    for connection in connections:
        idle.put(connection)

    def marts(query: str) -> dict[str, pa.Table]:
        connection = idle.get()
        try:
            return rebuilt(connection, models, query)
        finally:
            idle.put(connection)

    with ThreadPoolExecutor(len(connections)) as pool:
        try:
            # Most alterations are compared with the sample as it is: each log is rebuilt once.
            queries = dict.fromkeys(
                query for alteration in planned for query in (alteration.against, alteration.events)
            )
            building = {query: pool.submit(marts, query) for query in queries}
            base = building[planned[0].against].result()
            verdicts = {mart.name: Verdicts.of(mart, base[mart.name], event_ids) for mart in models.marts}
            for number, alteration in enumerate(planned, start=1):
                tick(f"{number} of {len(planned)}: {alteration.name}")
                was, now = building[alteration.against].result(), building[alteration.events].result()
                for name, of_mart in verdicts.items():
                    of_mart.compare(alteration, was[name], now[name])
                if alteration.events != planned[0].against:
                    del building[alteration.events]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return Proof(contents, [alteration.name for alteration in planned], list(verdicts.values()))
