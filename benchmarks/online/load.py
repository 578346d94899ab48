"""Load test of `trainer serve` on loopback: requests and outcomes by the clock, whatever the service answers.

    python benchmarks/online/load.py --events data/movielens.duckdb --url http://127.0.0.1:8080
    python benchmarks/online/load.py --events data/movielens.duckdb --run runs/movielens/02_mmoe --state sqlite:s.sqlite

Open loop: each request has an instant at which it is due, drawn before the start (a Poisson process, or evenly spaced).
Latency counts from that instant to the whole answer, so a service that stalls delays all that was due meanwhile, and
the figures show it. At most --in-flight requests are under way; what is due beyond that waits, and its waiting counts.

Users, items, scenes, texts and context are drawn from the log's events. Outcomes are new events with ids of this test;
all instants go on from the state's newest one (`/health`). So the test changes the state: give it a copy.

At the end every outcome that was acknowledged is sent once more: what is new then had been lost. Exit code 1 if an
outcome was lost or a request wasn't answered with 200.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
from client import Connections, StatusError
from drawn import OF_ITEM, draw
from process import Watch, service

AGAIN = 500  # outcomes in a request, when they are sent once more


@dataclass
class Answers:
    """Of one kind of request: seconds from due to answered, from due to sent, and what wasn't answered."""

    latency: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def figures(self) -> dict[str, Any]:
        ms = {name: 1000 * np.array(values) for name, values in (("latency", self.latency), ("late", self.late))}
        out: dict[str, Any] = {"answered": len(self.latency), "errors": dict(self.errors)}
        for name, values in ms.items():
            if len(values):
                out[f"{name}_ms"] = {f"p{q}": float(np.quantile(values, q / 100)) for q in (50, 90, 99)}
                out[f"{name}_ms"]["max"] = float(values.max())
        return out


class Bodies:
    """Bodies of requests from the log's events. All but the instants and ids is written before the test begins."""

    def __init__(self, args: argparse.Namespace, context: list[str]):
        rng, self._mark = np.random.default_rng(args.seed), uuid.uuid4().hex[:12]
        events = draw(args.events, 20_000, args.seed).to_pylist()

        def drawn() -> dict[str, Any]:
            return events[int(rng.integers(len(events)))]

        self._scores: list[str] = []
        self._outcomes: list[str] = []
        for _ in range(args.bodies):
            one = drawn()
            items = [{name: other.get(name) for name in OF_ITEM} for other in (drawn() for _ in range(args.candidates))]
            self._scores.append(json.dumps(self._shared(one, context) | {"candidates": items})[1:])
        for one in events:
            of_event = {name: one.get(name) for name in OF_ITEM} | {"label": int(one["label"])}
            self._outcomes.append(json.dumps(self._shared(one, context) | of_event)[1:])
        self._numbers = itertools.count()
        self.start(datetime.now(UTC))

    def start(self, first: datetime) -> None:
        """Let the test's time begin: `first` now, and on as fast as time goes."""
        self._first, self._began = first, time.perf_counter()

    def _now(self) -> str:
        at = self._first + timedelta(seconds=time.perf_counter() - self._began)
        return at.isoformat(timespec="microseconds").replace("+00:00", "Z")

    @staticmethod
    def _shared(event: dict[str, Any], context: list[str]) -> dict[str, Any]:
        """context: the names, of numbers and then of ids."""
        values = [*(event.get("ctx_dense") or []), *(event.get("ctx_ids") or [])]
        return {name: event.get(name) for name in ("user_id", "scene", "user_texts")} | {
            "context": dict(zip(context, values, strict=False))
        }

    def score(self, k: int) -> str:
        return f'{{"event_at": "{self._now()}", {self._scores[k % len(self._scores)]}'

    def outcomes(self, n: int) -> list[str]:
        """n new events, known now."""
        now, out = self._now(), []
        for number in itertools.islice(self._numbers, n):
            rest = self._outcomes[number % len(self._outcomes)]
            ids = f'"event_id": "load-{self._mark}-{number}"'
            out.append(f'{{{ids}, "event_at": "{now}", "known_at": "{now}", {rest}')
        return out


class Load:
    """The test: what is sent, what is answered, and which outcomes the service has acknowledged."""

    def __init__(self, args: argparse.Namespace, service: Connections, bodies: Bodies):
        self.args, self.service, self.bodies = args, service, bodies
        self.scores, self.outcomes = Answers(), Answers()
        self.acknowledged: list[str] = []
        self.new = 0
        self._sent: list[Future[None]] = []
        self._lock = threading.Lock()

    def run(self) -> None:
        args, rng = self.args, np.random.default_rng(self.args.seed + 1)
        per_request = args.outcomes_per_request
        score_at = due(args.rate, args.seconds, args.arrivals, rng)
        outcome_at = due(args.outcomes / per_request, args.seconds, args.arrivals, rng)

        def score(k: int) -> None:
            self.service.post("/score", self.bodies.score(k))

        def outcome(_: int) -> None:
            events = self.bodies.outcomes(per_request)
            answer = self.service.post("/outcome", f"[{', '.join(events)}]")
            with self._lock:
                self.new += answer["new"]
                self.acknowledged += events

        with ThreadPoolExecutor(args.in_flight) as slots:
            began = time.perf_counter()
            streams = (
                (began + score_at, score, self.scores, slots),
                (began + outcome_at, outcome, self.outcomes, slots),
            )
            arriving = [threading.Thread(target=self._arrive, args=stream) for stream in streams]
            for stream in arriving:
                stream.start()
            for stream in arriving:
                stream.join()
        for sent in self._sent:
            sent.result()  # raises what went wrong here, not in the service

    def _arrive(
        self, due_at: np.ndarray, send: Callable[[int], None], into: Answers, slots: ThreadPoolExecutor
    ) -> None:
        """Send each when it is due, whether or not the ones before were answered."""

        def one(k: int, at: float) -> None:
            into.late.append(time.perf_counter() - at)
            error = ""
            try:
                send(k)
            except (StatusError, OSError, HTTPException) as found:
                error = str(found) if isinstance(found, StatusError) else type(found).__name__
            with self._lock:
                if error:
                    into.errors[error] += 1
                else:
                    into.latency.append(time.perf_counter() - at)

        for k, at in enumerate(due_at.tolist()):
            time.sleep(max(0.0, at - time.perf_counter()))
            self._sent.append(slots.submit(one, k, at))

    def lost(self) -> int:
        """Acknowledged outcomes that are new when they are sent once more."""
        n = 0
        for start in range(0, len(self.acknowledged), AGAIN):
            n += self.service.post("/outcome", f"[{', '.join(self.acknowledged[start : start + AGAIN])}]")["new"]
        return n


def due(rate: float, seconds: float, arrivals: str, rng: np.random.Generator) -> np.ndarray:
    """Seconds from the start at which requests are due: `rate` per second, on average."""
    n = round(rate * seconds)
    if arrivals == "even":
        return np.arange(n) / rate
    return np.sort(rng.uniform(0, seconds, n))  # as a Poisson process has them, given that there are n


def measured(args: argparse.Namespace, url: str, pid: int | None) -> dict[str, Any]:
    service = Connections(url, args.timeout)
    schemas = service.get("/openapi.json")["components"]["schemas"]
    context = list(schemas.get("Context", {}).get("properties", ()))
    newest = service.get("/health").get("state_clock")
    first = datetime.fromisoformat(newest).replace(tzinfo=UTC) if newest else datetime.now(UTC)
    bodies = Bodies(args, context)
    bodies.start(first + timedelta(seconds=1))
    load, watch = Load(args, service, bodies), Watch(pid)
    cpu, began = time.process_time(), time.perf_counter()
    with watch.following():
        load.run()
    return {
        "seconds": time.perf_counter() - began,
        "client_cpu_s": time.process_time() - cpu,
        "service": watch.figures(),
        "rate": args.rate,
        "candidates": args.candidates,
        "arrivals": args.arrivals,
        "score": load.scores.figures(),
        "outcome": load.outcomes.figures(),
        "outcomes": {"acknowledged": len(load.acknowledged), "new": load.new, "lost": load.lost()},
    }


def show(found: dict[str, Any]) -> None:
    print("| request | answered | p50 ms | p90 ms | p99 ms | max ms | sent late, p99 ms | errors |")
    print("|---|---|---|---|---|---|---|---|")
    for name in ("score", "outcome"):
        one = found[name]
        cells = [f"{value:.1f}" for value in one.get("latency_ms", {}).values()] or ["–"] * 4
        errors = ", ".join(f"{n} x {what}" for what, n in one["errors"].items()) or "none"
        late = one.get("late_ms", {}).get("p99", 0.0)
        print(f"| {name} | {one['answered']:,} | {' | '.join(cells)} | {late:.1f} | {errors} |")
    told, of, seconds = found["outcomes"], found["service"], found["seconds"]
    print(f"\n{told['acknowledged']:,} outcomes acknowledged, {told['new']:,} of them new, {told['lost']:,} lost")
    if of:
        print(f"service: {of['cpu_s']:.1f} s of CPU in {seconds:.1f} s, {of['rss_gb']:.2f} GB at most")
    print(f"client: {found['client_cpu_s']:.1f} s of CPU; load before: {found['load_before']:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="of a running service; else --run and --state start one")
    parser.add_argument("--pid", type=int, help="the service's process; default: what listens on the URL's port here")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--state")
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--served", type=Path, help="where the started service logs what it served")
    parser.add_argument("--events", type=Path, required=True, help="the warehouse's DuckDB file")
    parser.add_argument("--rate", type=float, default=50, help="score requests per second")
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--outcomes", type=float, default=200, help="outcomes per second")
    parser.add_argument("--outcomes-per-request", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--in-flight", type=int, default=64, help="requests under way at most")
    parser.add_argument("--timeout", type=float, default=30, help="seconds that an answer may take")
    parser.add_argument("--arrivals", choices=("poisson", "even"), default="poisson")
    parser.add_argument("--bodies", type=int, default=500, help="different score requests, used by turns")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, help="the figures as JSON")
    args = parser.parse_args()
    if not args.url and not (args.run and args.state):
        parser.error("name a running service with --url, or what to serve with --run and --state")
    before = os.getloadavg()[0]
    with service(args) as (url, pid):
        found = measured(args, url, pid) | {"load_before": before}
    show(found)
    if args.out:
        args.out.write_text(json.dumps(found, indent=1))
    told = found["outcomes"]
    if told["lost"] or told["new"] != told["acknowledged"] or found["score"]["errors"] or found["outcome"]["errors"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
