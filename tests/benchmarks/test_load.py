"""The load test against services whose behaviour is known: it finds what they lose, and counts the time they stall."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.warehouse.project import ROOT

PROPERTIES = {"price": {}, "city": {}}


class Service:
    """Answers as `trainer serve` does, from a set of event ids."""

    def __init__(self, loses: int = 0, stalls: float = 0.0, fails: int = 0):
        """loses, fails: every n-th outcome, every n-th score request; stalls: seconds, once, for all that come."""
        self.loses, self.stalls, self.fails = loses, stalls, fails
        self.known: set[str] = set()
        self.scores: list[dict[str, Any]] = []
        self.outcomes: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def get(self, path: str) -> Any:
        if path == "/health":
            return {"state_clock": "2024-01-31T12:00:00Z"}
        return {"components": {"schemas": {"Context": {"properties": PROPERTIES}}}}

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        with self._lock:
            if path == "/score":
                self.scores.append(body)
                if len(self.scores) == 10:
                    time.sleep(self.stalls)
                if self.fails and len(self.scores) % self.fails == 0:
                    return 503, {"detail": "busy"}
                return 200, {"candidates": [{"probability": 0.5} for _ in body["candidates"]]}
            new = 0
            for one in body:
                self.outcomes.append(one)
                new += one["event_id"] not in self.known
                if not (self.loses and len(self.outcomes) % self.loses == 0):
                    self.known.add(one["event_id"])
            return 200, {"new": new, "repeated": len(body) - new}


@contextmanager
def listening(service: Service) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(200, service.get(self.path))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            self._answer(*service.post(self.path, json.loads(body)))

        def _answer(self, code: int, answer: Any) -> None:
            data = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., tuple[int, dict[str, Any]]]:
    with duckdb.connect(str(tmp_path / "log.duckdb")) as connection:
        connection.execute("""
            create table stg_events as
            select 'e' || k as event_id, 'u' || k % 9 as user_id, 'i' || k % 30 as item_id, 'home' as scene,
                k % 2 as label, 'Title "' || k as item_title, null::text as item_entities, ['a text'] as user_texts,
                [k / 2.0] as ctx_dense, ['c' || k % 3] as ctx_ids
            from range(200) t(k)
        """)

    def run(service: Service, *options: str) -> tuple[int, dict[str, Any]]:
        with listening(service) as url:
            command = [sys.executable, "benchmarks/online/load.py", "--url", url, "--seconds", "2", "--rate", "30"]
            command += ["--events", str(tmp_path / "log.duckdb"), "--outcomes", "40", "--candidates", "3"]
            ended = subprocess.run(
                [*command, "--out", str(tmp_path / "found.json"), *options], cwd=ROOT, capture_output=True, text=True
            )
        assert ended.returncode in (0, 1), ended.stderr
        assert "| score |" in ended.stdout
        return ended.returncode, json.loads((tmp_path / "found.json").read_text())

    return run


def test_what_is_sent(load: Any) -> None:
    service = Service()
    code, found = load(service, "--outcomes-per-request", "4")
    assert (code, found["score"]["answered"], found["outcome"]["answered"]) == (0, 60, 20)
    assert found["outcomes"] == {"acknowledged": 80, "new": 80, "lost": 0}
    assert found["service"]["rss_gb"] > 0, "the process was found by its port"
    assert len(service.scores) == 60
    assert len(service.known) == 80
    one = service.scores[0]
    assert set(one) == {"event_at", "user_id", "scene", "user_texts", "context", "candidates"}
    assert set(one["context"]) == set(PROPERTIES)
    assert [set(c) for c in one["candidates"]] == [{"item_id", "item_title", "item_entities"}] * 3
    assert all("2024-01-31T12:00:00" < each["event_at"] < "2024-01-31T12:01:00" for each in service.scores)
    assert set(service.outcomes[0]) - set(one) == {
        "event_id", "known_at", "label", "item_id", "item_title", "item_entities",
    }  # fmt: skip
    known = [each["known_at"] for each in service.outcomes[:80]]
    assert max(known) > min(known)


def test_a_lost_outcome_is_found(load: Any) -> None:
    code, found = load(Service(loses=37))
    assert (code, found["outcomes"]["lost"]) == (1, 2)


def test_requests_that_fail_are_counted_by_status(load: Any) -> None:
    code, found = load(Service(fails=20))
    assert (code, found["score"]["errors"], found["score"]["answered"]) == (1, {"503": 3}, 57)


@pytest.mark.parametrize("in_flight", ["2", "64"])
def test_a_stall_counts_for_all_that_was_due_meanwhile(load: Any, in_flight: str) -> None:
    """0.8 s at 30 requests/s: with a closed loop one request of 60 would show it, and the median of none."""
    code, found = load(Service(stalls=0.8), "--in-flight", in_flight, "--arrivals", "even")
    latency = found["score"]["latency_ms"]
    assert code == 0
    assert latency["max"] >= 790
    assert latency["p90"] >= 400, "a quarter of the requests were due while it stalled"
    assert found["score"]["answered"] == 60
