"""Features and model for 100 candidates of one user, in process: p50 and p99 of each part, and the rate of a replay.

    python benchmarks/online/features.py --run runs/movielens/02_mmoe --state sqlite:state.sqlite \\
        --events data/movielens.duckdb [--replay data/marts/movielens --replay-rows 20000]

    gather     what the state has of the user, the items, the pairs and the scene
    counts     from what was stored to sums, windows and lists
    formulas   the mart's SQL over them
    model      from features to probabilities
    all        the four, one after the other, as the service runs them

Users, items and scenes are drawn as often as the log has them, at the newest instant of the state. Nothing is written
to the state. Memory: the peak of this process, which holds the drawn events too.

--replay: `trainer replay` over the first rows of the mart into a new state, which is removed at the end. A state grows
with the log, so the first rows are faster than the whole; `--replay-rows 0` takes all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from drawn import OF_ITEM, draw

from trainer.base.paging import peak_rss_mib
from trainer.contract.manifest import compiled_models
from trainer.contract.read import read_contract
from trainer.serving.online.event_rows import EventRows
from trainer.serving.online.events import Events
from trainer.serving.online.features import Online, requests_of, settings_of
from trainer.serving.online.gathered import Counts
from trainer.serving.online.replay import replay
from trainer.serving.online.scorer import Scorer
from trainer.serving.online.state import State
from trainer.serving.online.stores import open_store

PARTS = ("gather", "counts", "formulas", "model", "all")
WARM_UP = 20  # requests


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--state", required=True, help="as trainer state build made it")
    parser.add_argument("--events", type=Path, required=True, help="the warehouse's DuckDB file")
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--replay", type=Path, help="a dataset's marts")
    parser.add_argument("--replay-rows", type=int, default=20_000)
    parser.add_argument("--manifest", type=Path, default=Path("target/manifest.json"), help="dbt's, for --replay")
    parser.add_argument("--out", type=Path, help="the figures as JSON")
    args = parser.parse_args()
    found = timed_requests(args)
    if args.replay:
        found["replay"] = timed_replay(args)
    print(f"{args.requests} requests of {args.candidates} candidates, load before: {os.getloadavg()[0]:.1f}\n")
    print("| part | p50 ms | p99 ms |\n|---|---|---|")
    for part in PARTS:
        print(f"| {part} | {found[part]['p50_ms']:.2f} | {found[part]['p99_ms']:.2f} |")
    print(f"\npeak RSS {found['peak_rss_mib']:,} MiB, {found['after_loading_rss_mib']:,} MiB before the first request")
    if args.replay:
        of = found["replay"]
        print(f"replay: {of['rows']:,} rows in {of['seconds']:.1f} s, {of['rows_per_second']:,.0f} rows/s")
    if args.out:
        args.out.write_text(json.dumps(found, indent=1))


def timed_requests(args: argparse.Namespace) -> dict[str, Any]:
    scorer = Scorer(open_store(args.state), args.run, args.vectors)
    online = scorer.online
    after_loading, in_counts = peak_rss_mib(), count_time(Counts)
    requests = drawn_requests(args, online)
    spent: dict[str, list[float]] = {part: [] for part in PARTS}
    for k, events in enumerate(requests):
        in_counts.clear()
        marks = [time.perf_counter()]
        gathered = online.gather(requests_of(events))
        marks.append(time.perf_counter())
        computed = online.compute(events, gathered)
        marks.append(time.perf_counter())
        scorer._predict(computed, events)
        marks.append(time.perf_counter())
        if k >= WARM_UP:
            gather, compute, model = np.diff(marks)
            counts = sum(in_counts)
            for part, seconds in zip(
                PARTS, (gather, counts, compute - counts, model, marks[-1] - marks[0]), strict=True
            ):
                spent[part].append(seconds)
    figures: dict[str, Any] = {
        part: {f"p{q}_ms": 1000 * float(np.quantile(seconds, q / 100)) for q in (50, 99)}
        for part, seconds in spent.items()
    }
    return figures | {
        "candidates": args.candidates,
        "requests": args.requests,
        "after_loading_rss_mib": after_loading,
        "peak_rss_mib": peak_rss_mib(),
    }


def count_time(counts: type) -> list[float]:
    """Seconds that each of the calls takes which turn what was gathered into counts; from now on."""
    spent: list[float] = []

    def timed(function: Any) -> Any:
        def wrapped(*given: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*given)
            finally:
                spent.append(time.perf_counter() - began)

        return wrapped

    for name, one in list(vars(counts).items()):
        if not name.startswith("_"):
            setattr(counts, name, property(timed(one.fget)) if isinstance(one, property) else timed(one))
    return spent


def drawn_requests(args: argparse.Namespace, online: Online) -> list[EventRows]:
    """A user, scene and context of one event each, with the items of others, at the state's newest instant."""
    events, rng = draw(args.events, 20_000, args.seed), np.random.default_rng(args.seed)
    at, out = online.state.clock or 0, []
    for _ in range(args.requests + WARM_UP):
        of_user = events.slice(int(rng.integers(len(events))), 1).to_pylist()[0]
        of_items = events.take(pa.array(rng.integers(len(events), size=args.candidates)))
        shared = {name: value for name, value in of_user.items() if name not in (*OF_ITEM, "event_id", "label")}
        columns = {name: of_items[name].to_pylist() for name in OF_ITEM if name in events.column_names}
        out.append(EventRows(args.candidates, columns, shared | {"event_at": at}))
    return out


class EnoughError(Exception):
    """As many rows were replayed as were asked for."""


def timed_replay(args: argparse.Namespace) -> dict[str, float]:
    contract, rows = read_contract(args.replay, None, args.manifest), 0

    def tick(n: int) -> None:
        nonlocal rows
        rows += n
        if args.replay_rows and rows >= args.replay_rows:
            raise EnoughError

    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:{folder}/state.sqlite")
        State.create(store, settings_of(contract, compiled_models(args.manifest, contract), 3600))
        online, found = Online(store), Events.of_mart(contract, args.events)
        began = time.perf_counter()
        with suppress(EnoughError):
            done = replay(online, contract, found, tick)
            if done.mismatches:
                sys.exit(f"{done.mismatches:,} values differ from the mart's: the figures are of no use.")
        seconds = time.perf_counter() - began
        store.close()
    return {"rows": rows, "seconds": seconds, "rows_per_second": rows / seconds}


if __name__ == "__main__":
    main()
