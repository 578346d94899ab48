"""Outcomes that wait for the one thread that applies them."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from tests.trainer.serving.service.answers import AT, metric, refused
from tests.trainer.serving.service.conftest import Fitted, Make, asked, told
from trainer.serving.online.features import Online
from trainer.serving.online.scorer import Scorer
from trainer.serving.service.worker import Worker


def test_too_many_wait(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """One is scored, one waits, a third is sent away; /health answers meanwhile."""
    client, go = make(max_waiting=1), threading.Event()
    score = Scorer.score

    def slowly(self: Scorer, events: Any) -> Any:
        go.wait(30)
        return score(self, events)

    monkeypatch.setattr(Scorer, "score", slowly)
    body = {"user_id": "u1", "scene": "home", "candidates": [{"item_id": "i1"}]}
    answers: list[Any] = []
    asking = [threading.Thread(target=lambda: answers.append(client.post("/score", json=body))) for _ in range(2)]
    for one in asking:
        one.start()
    while metric(client, "waiting") < 2:
        time.sleep(0.01)
    refused(third := client.post("/score", json=body), 503, "Too many requests are waiting")
    assert third.headers["retry-after"] == "1"
    assert client.get("/health").status_code == 200
    go.set()
    for one in asking:
        one.join()
    assert [one.status_code for one in answers] == [200, 200]


def test_outcomes_that_wait_are_applied_at_once(make: Make, fitted: Fitted, rows: Any, monkeypatch: Any) -> None:
    """In one transaction, each answered for itself: new, repeated, in conflict, impossible, and in order."""
    client, go, applied = make(), threading.Event(), []
    service = client.app.state.service  # type: ignore[attr-defined]
    score, apply = Scorer.score, Online.apply
    monkeypatch.setattr(Scorer, "score", lambda self, events: (go.wait(30), score(self, events))[1])
    monkeypatch.setattr(Online, "apply", lambda self, events: (applied.append(len(events)), apply(self, events))[1])
    first = {k: v for k, v in told(fitted, rows[0]).items() if k != "known_at"}
    bodies = [told(fitted, row) for row in rows[1:20]]
    bodies += [
        [bodies[0], told(fitted, rows[20])],
        told(fitted, rows[21], label=2),
        told(fitted, rows[22], known_at="2024-01-01"),
    ]
    answers: dict[int, Any] = {}

    def post(i: int, route: str, body: Any) -> None:
        answers[i] = client.post(route, json=body)

    def start(i: int, route: str, body: Any, waiting: int) -> threading.Thread:
        one = threading.Thread(target=post, args=(i, route, body))
        one.start()
        while metric(client, "waiting") < waiting:
            time.sleep(0.005)
        return one

    def all_at_once(bodies: list[Any]) -> list[Any]:
        answers.clear()
        applied.clear()
        go.clear()
        threads = [start(-1, "/score", asked(fitted, AT, rows[:1]), 1)]
        sent = [body for body in bodies if not isinstance(body, dict) or body["label"] != 2]
        threads += [
            start(i, "/outcome", body, 2 + sent.index(body) if body in sent else 1) for i, body in enumerate(bodies)
        ]
        go.set()
        for one in threads:
            one.join()
        assert answers[-1].status_code == 200
        return [answers[i] for i in range(len(bodies))]

    found = all_at_once(bodies)
    assert [one.status_code for one in found] == [200] * 20 + [422, 422]
    assert [one.json() for one in found[:19]] == [{"new": 1, "repeated": 0}] * 19
    assert found[19].json() == {"new": 1, "repeated": 1}
    assert applied == [21]
    other = bodies[3] | {"label": 1 - bodies[3]["label"]}
    found = all_at_once([told(fitted, rows[30]), other, first, told(fitted, rows[31])])
    assert [one.status_code for one in found] == [200, 409, 200, 409], "known long before what is known now"
    assert applied[0] == 4
    assert service.apply([]) == {"new": 0, "repeated": 0}


def test_a_worker_ends_what_it_began() -> None:
    done = []
    worker = Worker("w", 1)
    worker._pool.submit(lambda: (time.sleep(0.05), done.append(1)))
    worker.close()
    assert done == [1]
