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
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
from drawn import OF_ITEM, draw

TRAINER = Path(sys.executable).with_name("trainer")
AGAIN = 500  # outcomes in a request, when they are sent once more
START_S = 300  # a service has so long to start


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


class Clock:
    """Instants of the test's events: the state's newest one and on, as fast as time goes."""

    def __init__(self, first: datetime):
        self._first, self._began = first, time.perf_counter()

    def now(self) -> str:
        at = self._first + timedelta(seconds=time.perf_counter() - self._began)
        return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


class Bodies:
    """Bodies of requests from the log's events. All but the instants and ids is written before the test begins."""

    def __init__(self, args: argparse.Namespace, context: list[str], clock: Clock):
        rng, self._clock, self._mark = np.random.default_rng(args.seed), clock, uuid.uuid4().hex[:12]
        events = draw(args.events, 20_000, args.seed).to_pylist()

        def drawn() -> dict[str, Any]:
            return events[int(rng.integers(len(events)))]

        self._scores, self._outcomes = [], []
        for _ in range(args.bodies):
            one = drawn()
            items = [{name: other.get(name) for name in OF_ITEM} for other in (drawn() for _ in range(args.candidates))]
            self._scores.append(self._shared(one, context) | {"candidates": items})
        self._scores = [json.dumps(one)[1:] for one in self._scores]
        for one in events:
            of_event = {name: one.get(name) for name in OF_ITEM} | {"label": int(one["label"])}
            self._outcomes.append(json.dumps(self._shared(one, context) | of_event)[1:])
        self._n = 0

    @staticmethod
    def _shared(event: dict[str, Any], context: list[str]) -> dict[str, Any]:
        """context: the names, of numbers and then of ids."""
        values = [*(event.get("ctx_dense") or []), *(event.get("ctx_ids") or [])]
        return {name: event.get(name) for name in ("user_id", "scene", "user_texts")} | {
            "context": dict(zip(context, values, strict=False))
        }

    def score(self, k: int) -> bytes:
        return f'{{"event_at": "{self._clock.now()}", {self._scores[k % len(self._scores)]}'.encode()

    def outcomes(self, n: int) -> list[str]:
        """n new events, known now."""
        out, now = [], self._clock.now()
        for _ in range(n):
            rest = self._outcomes[self._n % len(self._outcomes)]
            out.append(f'{{"event_id": "load-{self._mark}-{self._n}", "event_at": "{now}", "known_at": "{now}", {rest}')
            self._n += 1
        return out


class Load:
    """The test: what is sent, what is answered, and which outcomes the service has acknowledged."""

    def __init__(self, args: argparse.Namespace, client: httpx.AsyncClient, bodies: Bodies):
        self.args, self.client, self.bodies = args, client, bodies
        self.scores, self.outcomes = Answers(), Answers()
        self.acknowledged: list[str] = []
        self.new = 0
        self._slots = asyncio.Semaphore(args.in_flight)

    async def run(self) -> None:
        args, rng = self.args, np.random.default_rng(self.args.seed + 1)
        per_request = min(args.outcomes_per_request, max(1, args.outcomes * args.seconds))
        score_at = due(args.rate, args.seconds, args.arrivals, rng)
        outcome_at = due(args.outcomes / per_request, args.seconds, args.arrivals, rng)
        began = time.perf_counter()

        async def score(k: int) -> None:
            await self._post("/score", self.bodies.score(k))

        async def outcome(k: int) -> None:
            events = self.bodies.outcomes(per_request)
            answer = await self._post("/outcome", f"[{', '.join(events)}]".encode())
            self.new += answer["new"]
            self.acknowledged += events

        await asyncio.gather(
            self._arrive(began + score_at, score, self.scores), self._arrive(began + outcome_at, outcome, self.outcomes)
        )

    async def _arrive(self, due_at: np.ndarray, send: Callable[[int], Awaitable[None]], into: Answers) -> None:
        """Send each when it is due, whether or not the ones before were answered."""

        async def one(k: int, at: float) -> None:
            async with self._slots:
                into.late.append(time.perf_counter() - at)
                try:
                    await send(k)
                except httpx.HTTPStatusError as error:
                    into.errors[str(error.response.status_code)] += 1
                except httpx.HTTPError as error:
                    into.errors[type(error).__name__] += 1
                else:
                    into.latency.append(time.perf_counter() - at)

        async with asyncio.TaskGroup() as group:
            for k, at in enumerate(due_at.tolist()):
                await asyncio.sleep(at - time.perf_counter())
                group.create_task(one(k, at))

    async def _post(self, path: str, body: bytes) -> Any:
        answer = await self.client.post(path, content=body, headers={"content-type": "application/json"})
        answer.raise_for_status()
        return answer.json()

    async def lost(self) -> int:
        """Acknowledged outcomes that are new when they are sent once more."""
        n = 0
        for start in range(0, len(self.acknowledged), AGAIN):
            events = self.acknowledged[start : start + AGAIN]
            n += (await self._post("/outcome", f"[{', '.join(events)}]".encode()))["new"]
        return n


def due(rate: float, seconds: float, arrivals: str, rng: np.random.Generator) -> np.ndarray:
    """Seconds from the start at which requests are due: `rate` per second, on average."""
    n = round(rate * seconds)
    if arrivals == "even":
        return np.arange(n) / rate
    return np.sort(rng.uniform(0, seconds, n))  # as a Poisson process has them, given that there are n


class Watch:
    """The service's processes: CPU time since the watch began, and the largest memory seen, twice per second."""

    def __init__(self, pid: int | None):
        self._root = psutil.Process(pid) if pid else None
        self.peak, self._before = 0, self._cpu()

    def _tree(self) -> list[psutil.Process]:
        return [self._root, *self._root.children(recursive=True)] if self._root else []

    def _cpu(self) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in self._tree())

    async def follow(self) -> None:
        while self._root:
            self.peak = max(self.peak, sum(process.memory_info().rss for process in self._tree()))
            await asyncio.sleep(0.5)

    def figures(self) -> dict[str, float]:
        return {"cpu_s": self._cpu() - self._before, "rss_gb": self.peak / 1e9} if self._root else {}


@contextmanager
def service(args: argparse.Namespace) -> Iterator[tuple[str, int | None]]:
    """The URL of the service and its process: the one that is named, else a new one, which is stopped at the end."""
    if args.url:
        yield args.url, args.pid or listening_on(args.url)
        return
    command = [TRAINER, "serve", "--run", args.run, "--state", args.state, "--port", "0"]
    command += ["--vectors", args.vectors] if args.vectors else []
    command += ["--served", args.served] if args.served else []
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen([str(word) for word in command], stderr=said)
        try:
            yield started(process, said), process.pid
        finally:
            process.terminate()
            process.wait()


def started(process: subprocess.Popen, said: IO[str]) -> str:
    """The URL that a new service says it listens on. Raises: SystemExit with what it said, if it ends instead."""
    until = time.perf_counter() + START_S
    while process.poll() is None and time.perf_counter() < until:
        said.seek(0)
        if found := re.search(r"http://[\w.:\[\]-]+:\d+", said.read()):
            return found[0]
        time.sleep(0.1)
    said.seek(0)
    raise SystemExit(f"The service didn't start:\n{said.read()}")


def listening_on(url: str) -> int | None:
    """The process behind a port of this machine; None where it can't be seen."""
    port = urlsplit(url).port
    try:
        found = [c.pid for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port == port]
    except psutil.Error:
        return None
    return min((pid for pid in found if pid), default=None)


async def measured(args: argparse.Namespace, url: str, pid: int | None) -> dict[str, Any]:
    limits = httpx.Limits(max_connections=args.in_flight, max_keepalive_connections=args.in_flight)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=args.timeout, trust_env=False) as client:
        health = (await client.get("/health")).raise_for_status().json()
        schemas = (await client.get("/openapi.json")).raise_for_status().json()["components"]["schemas"]
        context = list(schemas.get("Context", {}).get("properties", ()))
        newest = health.get("state_clock")
        first = datetime.fromisoformat(newest).replace(tzinfo=UTC) if newest else datetime.now(UTC)
        load = Load(args, client, Bodies(args, context, Clock(first + timedelta(seconds=1))))
        watch, cpu = Watch(pid), time.process_time()
        following = asyncio.create_task(watch.follow())
        began = time.perf_counter()
        await load.run()
        found = {"seconds": time.perf_counter() - began, "service": watch.figures()}
        found["client_cpu_s"] = time.process_time() - cpu
        following.cancel()
        return found | {
            "rate": args.rate,
            "candidates": args.candidates,
            "arrivals": args.arrivals,
            "score": load.scores.figures(),
            "outcome": load.outcomes.figures(),
            "outcomes": {"acknowledged": len(load.acknowledged), "new": load.new, "lost": await load.lost()},
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
        found = asyncio.run(measured(args, url, pid)) | {"load_before": before}
    show(found)
    if args.out:
        args.out.write_text(json.dumps(found, indent=1))
    told = found["outcomes"]
    if told["lost"] or told["new"] != told["acknowledged"] or found["score"]["errors"] or found["outcome"]["errors"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
