"""The application in this process: what it answers, and what it refuses, in which words."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.trainer.serving.service.answers import AT, metric, probabilities, refused
from tests.trainer.serving.service.conftest import Fitted, Make, asked, told
from trainer.serving.online.scorer import Scorer
from trainer.serving.online.stores import StoreError

if TYPE_CHECKING:
    from starlette.testclient import TestClient


def test_an_answer(client: TestClient, fitted: Fitted, rows: Any) -> None:
    """One entry per candidate, in order, the same candidate twice included; features where they are asked for."""
    body = asked(fitted, "2024-02-20T11:00:00+01:00", [rows[0], rows[1], rows[0]], request_id=7, features=True)
    answer = client.post("/score", json=body).json()
    assert (answer["request_id"], answer["event_at"]) == ("7", "2024-02-20T10:00:00.000000Z")
    candidates = answer["candidates"]
    assert [one["event_id"] for one in candidates] == [rows[0]["event_id"], rows[1]["event_id"], rows[0]["event_id"]]
    assert candidates[0] == candidates[2]
    assert candidates[0]["features"]["scene"] == rows[0]["scene"]
    assert candidates[0]["features"]["ctx_ids"] == rows[0]["ctx_ids"]
    assert "features" not in client.post("/score", json=body | {"features": False}).json()["candidates"][0]


def test_context_of_a_candidate_takes_precedence(client: TestClient, fitted: Fitted, rows: Any) -> None:
    body = asked(fitted, AT, rows[:2], features=True)
    body["context"] = {"price": 5, "device": 17}
    body["candidates"][0]["context"] = {"position": 2, "device": None}
    del body["candidates"][1]["context"]
    found = [one["features"] for one in client.post("/score", json=body).json()["candidates"]]
    assert [one["ctx_dense"] for one in found] == [[5.0, 2.0], [5.0, None]]
    assert [one["ctx_ids"] for one in found] == [[None], ["17"]]


def test_unknown_user_and_item(client: TestClient) -> None:
    body = {"user_id": "nobody", "scene": "home", "candidates": [{"item_id": "nothing"}, {"item_id": 2**62}]}
    before = datetime.now(UTC)
    answer = client.post("/score", json=body)
    assert all(0 < one < 1 for one in probabilities(answer))
    assert before <= datetime.fromisoformat(answer.json()["event_at"]) <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"scene": "hime"}, r"scene is 'hime' \(did you mean 'home'\?\); expected one of home, search, cart"),
        ({"scene": 3}, "scene is 3; expected one of"),
        ({"user_id": ""}, "user_id is empty; expected an id"),
        ({"user_id": None}, "user_id is None; expected an id: a text or a whole number"),
        ({"user_id": "1.5"}, "user_id is '1.5': a number with a fraction"),
        ({"user_id": 2**63}, "user_id is a number of more than 64 bits"),
        ({"user_id": "a\0"}, "user_id holds a NUL character"),
        ({"user_id": "x" * 10_000}, "user_id has 10000 characters; an id may have 4096"),
        ({"event_at": "yesterday"}, r"event_at is 'yesterday'; expected an instant in ISO 8601"),
        ({"event_at": "2024-02-30T00:00:00Z"}, "event_at is '2024-02-30T00:00:00Z' .day is out of range"),
        ({"event_at": "2024-02-01T00:00:00.1234567Z"}, "expected an instant in ISO 8601"),
        ({"event_at": "0001-01-01T00:00:00Z"}, "expected an instant between 1970 and 2199"),
        ({"event_at": 1700000000}, "event_at is 1700000000; expected an instant"),
        ({"candidates": []}, "candidates has 0 entries; expected at least 1"),
        ({"candidates": [{"item_id": "i"}] * 100_000}, "candidates has .* entries; expected at most 1000"),
        ({"candidates": [{}]}, r"candidates\[0\].item_id is missing"),
        ({"candidates": {}}, r"candidates is \{\}; expected a list"),
        (
            {"candidates": [{"item_id": "i", "titel": "x"}]},
            r"candidates\[0\].titel isn't known here.*known are .*item_title",
        ),
        (
            {"context": {"prize": 1}},
            r"context.prize isn't known here \(did you mean 'price'\?\); known are price, position",
        ),
        ({"context": {"price": "3"}}, "context.price is '3'; expected a number, or null"),
        ({"context": {"price": True}}, "context.price is True; expected a number"),
        ({"context": {"device": 1.5}}, "context.device is 1.5; expected an id"),
        ({"context": []}, r"context is \[\]; expected an object"),
        ({"user_texts": ["a", "b"]}, r"user_texts is \['a', 'b'\]; expected .*one for each of profile"),
        ({"user_texts": {"profil": "a"}}, "user_texts has 'profil'; known are profile"),
        ({"features": "yes"}, "features is 'yes'; expected true or false"),
        ({"nonsense": 1}, "nonsense isn't known here .*; known are .*candidates"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_requests(shared: TestClient, change: dict[str, Any], sentence: str) -> None:
    good = {"user_id": "u1", "scene": "home", "candidates": [{"item_id": "i1"}]}
    refused(shared.post("/score", json=good | change), 422, sentence)


GOOD = b'{"user_id": "u1", "scene": "home", "candidates": [{"item_id": "i1"}], '


@pytest.mark.parametrize(
    ("content", "status", "sentence"),
    [
        (b"{", 422, "The body isn't JSON"),
        (b"[]", 422, r"The body is \[\]; expected an object"),
        (b"", 422, "The body is missing; expected JSON"),
        (b"\xff\xfe\x00", 400, "can't be read as JSON in UTF-8"),
        (b"[" * 100_000, 400, "can't be read as JSON"),
        (GOOD + b'"context": {"price": NaN}}', 422, "context.price is not a finite number"),
        (GOOD + b'"context": {"price": 1e999}}', 422, "context.price is not a finite number"),
        (GOOD + b'"context": {"price": 1' + b"0" * 400 + b"}}", 422, "context.price is not a finite number"),
        (b'{"user_id": "\\ud800"}', 422, "user_id holds half of a surrogate pair"),
        (b'{"\\ud800": 1}', 422, "half of a surrogate pair"),
    ],
    ids=lambda value: str(value)[-40:],
)
def test_bad_bodies(shared: TestClient, content: bytes, status: int, sentence: str) -> None:
    of_json = {"content-type": "application/json"}
    refused(shared.post("/score", content=content, headers=of_json), status, sentence)
    refused(shared.post("/outcome", content=content, headers=of_json), status, "")


def test_other_content_and_routes(shared: TestClient) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    refused(
        shared.post("/score", content=b'{"user_id": 1}', headers=form), 422, "send JSON with the header content-type"
    )
    refused(shared.get("/scores"), 404, "There is no /scores here. Expected one of /score, /outcome")
    refused(shared.get("/score"), 405, "/score doesn't take GET. Expected POST")


def test_a_large_body_is_not_read(make: Make) -> None:
    client = make(max_body=1000)
    refused(client.post("/score", content=b"x" * 1001), 413, "larger than 1,000 bytes.*--max-body")
    read = []

    def parts() -> Any:
        for _ in range(100):
            read.append(1)
            yield b"x" * 100

    refused(client.post("/score", content=parts()), 413, "larger than 1,000 bytes")
    assert client.post("/score", content=b"x" * 1000).status_code == 422


def test_outcomes_count_once_and_change_scores(client: TestClient, fitted: Fitted, rows: Any) -> None:
    body = asked(fitted, AT, rows[:5])
    before = probabilities(client.post("/score", json=body))
    outcomes = [told(fitted, row) for row in rows]
    assert client.post("/outcome", json=outcomes).json() == {"new": 300, "repeated": 0}
    assert client.post("/outcome", json=outcomes[0]).json() == {"new": 0, "repeated": 1}
    after = probabilities(client.post("/score", json=body))
    assert after != before
    assert metric(client, 'outcomes_total{result="new"}') == 300
    assert metric(client, 'outcomes_total{result="repeated"}') == 1
    assert metric(client, "outcomes_never_scored_total") == 295
    assert metric(client, "candidates_sum") == 10
    assert metric(client, 'requests_total{route="/outcome",status="200"}') == 2
    health = client.get("/health").json()
    assert health["state_clock"] == max(row["known_at"] for row in rows).isoformat() + ".000000Z"
    assert (health["stage"], health["mart"]) == ("02_mmoe", "training_examples_v2")


def test_an_outcome_without_known_at_is_known_now_and_repeated_once_it_was_applied(
    client: TestClient, fitted: Fitted, rows: Any
) -> None:
    one = {k: v for k, v in told(fitted, rows[0]).items() if k != "known_at"}
    assert client.post("/outcome", json=[one, one]).json() == {"new": 1, "repeated": 1}
    assert client.post("/outcome", json=one).json() == {"new": 0, "repeated": 1}
    assert abs(metric(client, "state_age_seconds")) < 30
    now_it_counts = asked(fitted, AT, rows[:1]) | {"event_at": None}
    client.post("/score", json=now_it_counts)
    refused(client.post("/outcome", json=one | {"label": 1 - one["label"]}), 409, "An outcome can't change")


@pytest.mark.parametrize(
    ("change", "status", "sentence"),
    [
        ({"label": 2}, 422, "label is 2; expected 0 or 1"),
        ({"label": None}, 422, "label is None; expected 0 or 1"),
        ({"event_id": " "}, 422, "event_id is empty"),
        ({"scene": "moon"}, 422, "scene is 'moon'; expected one of home, search, cart"),
        ({"known_at": "2024-01-01"}, 422, r"known_at, 2024-01-01T00:00:00.000000Z, is before event_at"),
        ({"known_at": "2199-01-01"}, 422, "lies in the future: .*at most 60 s ahead"),
        ({"known_at": "2024-01-31", "event_at": "2024-01-30"}, 409, "takes none that is more than 3600 s older"),
        ({"lable": 1}, 422, r"lable isn't known here \(did you mean 'label'\?\); known are .*label"),
    ],
    ids=str,
)
def test_bad_outcomes_change_nothing(
    shared: TestClient, fitted: Fitted, rows: Any, change: dict[str, Any], status: int, sentence: str
) -> None:
    """Of a list with one of them, none is applied."""
    bad = told(fitted, rows[0], event_id="bad") | change
    clock = shared.get("/health").json()["state_clock"]
    refused(shared.post("/outcome", json=bad), status, sentence)
    refused(shared.post("/outcome", json=[told(fitted, rows[1]), bad]), status, sentence)
    assert shared.get("/health").json()["state_clock"] == clock


def test_too_many_outcomes(shared: TestClient, fitted: Fitted, rows: Any) -> None:
    several = [told(fitted, rows[0], event_id=str(n)) for n in range(1001)]
    refused(shared.post("/outcome", json=several), 422, "The body has .* entries; expected at most 1000")
    refused(shared.post("/outcome", json=[]), 422, "The body has 0 entries; expected at least 1")


def test_a_request_older_than_the_state(shared: TestClient, fitted: Fitted, rows: Any) -> None:
    refused(shared.post("/score", json=asked(fitted, "2024-01-05", rows[:1])), 409, "can't go back more than 3600 s")


def test_a_mistake_of_the_service_has_the_shape_of_every_error(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Scorer, "score", lambda *_: 1 // 0)
    body = {"user_id": "u1", "scene": "home", "candidates": [{"item_id": "i1"}]}
    refused(client.post("/score", json=body), 500, "The service made a mistake")
    assert "ZeroDivisionError" in caplog.text


def test_the_schema_names_context_and_scenes(shared: TestClient) -> None:
    schemas = shared.get("/openapi.json").json()["components"]["schemas"]
    assert list(schemas["Context"]["properties"]) == ["price", "position", "device"]
    assert schemas["ScoreRequest"]["properties"]["scene"]["enum"] == ["home", "search", "cart"]
    assert schemas["ScoreRequest"]["properties"]["candidates"]["maxItems"] == 1000
    assert json.dumps(schemas).count("HTTPValidationError") == 0


def test_an_outcome_that_comes_while_the_clock_is_read_is_no_loss(client: TestClient) -> None:
    service = client.app.state.service  # type: ignore[attr-defined]

    class Slow:
        @property
        def clock(self) -> int:
            service._newest = 7  # another thread has seen a later one
            return 5

    service._newest = 5
    assert service.clock(Slow()) == 5
    with pytest.raises(StoreError, match="The state lost outcomes"):
        service.clock(SimpleNamespace(clock=4))


def test_known_at_of_other_machines_may_be_a_little_ahead(client: TestClient, fitted: Fitted, rows: Any) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=30)).isoformat()
    assert client.post("/outcome", json=told(fitted, rows[0], known_at=soon)).json()["new"] == 1
