"""Candidates and users that come without texts have their latest known ones, where the run reads texts."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest

from tests.trainer.serving.service.conftest import Fitted, Make
from trainer.serving.online.features import Online
from trainer.serving.online.scorer import Scorer
from trainer.serving.online.stores import open_store
from trainer.serving.service import service as serving

AT = "2024-02-20T10:00:00Z"


def latest(events: pa.Table, key: str, texts: tuple[str, ...]) -> dict[str, list[Any]]:
    out: dict[str, list[Any]] = {}
    for row in sorted(events.to_pylist(), key=lambda row: (row["known_at"], row["event_id"])):
        found = row[texts[0]] if texts == ("user_texts",) else [row[name] for name in texts]
        if found and any(found):
            out[row[key]] = found
    return out


def test_the_latest_known_texts_whatever_the_order(fitted: Fitted, url: str) -> None:
    events = fitted.events.slice(0, 300)
    online = Online(open_store(fitted.state(url, 0)))
    outcomes = online.outcomes(events)
    draw = random.Random(2)
    tolerated = sorted(outcomes, key=lambda one: one.known_at + draw.randrange(3600 * 10**6))
    for start in range(0, 300, 7):
        online.state.apply(tolerated[start : start + 7])
    items, users = (sorted(set(events[name].to_pylist())) for name in ("item_id", "user_id"))
    assert online.state.known_texts("item", items) == latest(events, "item_id", ("item_title", "item_entities"))
    assert online.state.known_texts("user", users) == latest(events, "user_id", ("user_texts",))
    assert online.state.known_texts("item", ["never", items[0]]).keys() == {items[0]}


def test_what_a_request_lacks_is_filled_in(fitted: Fitted, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[pa.Table] = []
    score = Scorer.score
    monkeypatch.setattr(Scorer, "score", lambda self, events: (seen.append(events), score(self, events))[1])
    client = make()
    service = client.app.state.service  # type: ignore[attr-defined]
    service._reads_item_texts = service._reads_user_texts = True
    applied = fitted.events.slice(0, 900)
    items = latest(applied, "item_id", ("item_title", "item_entities"))
    users = latest(applied, "user_id", ("user_texts",))
    candidates = [
        {"item_id": "i3"},
        {"item_id": "i3", "item_title": "other"},
        {"item_id": "i3", "item_title": ""},
        {"item_id": "i3", "item_title": None, "item_entities": None},
        {"item_id": "never"},
    ]
    user = next(iter(users))
    body = {"user_id": user, "scene": "home", "event_at": AT, "candidates": candidates}
    assert client.post("/score", json=body).status_code == 200
    title, entities = items["i3"]
    assert seen[0]["item_title"].to_pylist() == [title, "other", "", title, None]
    assert seen[0]["item_entities"].to_pylist() == [entities, None, None, entities, None]
    assert seen[0]["user_texts"].to_pylist() == [users[user]] * 5
    client.post("/score", json=body | {"user_texts": {"profile": "given"}})
    assert seen[1]["user_texts"].to_pylist() == [["given"]] * 5


def test_they_are_read_only_for_runs_that_read_texts(fitted: Fitted, make: Make) -> None:
    service = make().app.state.service  # type: ignore[attr-defined]
    assert (service._reads_item_texts, service._reads_user_texts) == (False, False)
    for name, expected in (("item_title_text_id", (True, False)), ("user_entity_text_ids", (False, True))):
        inputs = Online(service._online.state.store, ["scene", name]).inputs
        assert (bool(inputs & serving._ITEM_TEXTS), bool(inputs & serving._USER_TEXTS)) == expected
