"""Bodies read in one go: to the same values as by the models, or not at all."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from tests.trainer.serving.service.conftest import Fitted, asked, told
from trainer.serving.online.event_rows import EventRows
from trainer.serving.service.bodies import Bodies, Names
from trainer.serving.service.plain import PlainBodies
from trainer.serving.service.tables import candidate_rows, outcome_rows

MOST = 3  # candidates
NOW = datetime(2024, 2, 20, tzinfo=UTC)
COLUMNS = (
    "event_id", "user_id", "item_id", "scene", "event_at", "item_title", "item_entities", "user_texts", "ctx_dense",
    "ctx_ids",
)  # fmt: skip
VALUES = (
    "null", "true", "false", "0", "1", "1.0", "-0.0", "7", "1e3", "1e999", "NaN", "Infinity", "9" * 30, "[]", "{}",
    '""', '" "', '"1"', '"1.0"', '"1.5"', '"007"', '"-0.0"', '"+5"', '"nan"', '"NaN"', '"inf"', '"1e5"', '"a\\u0000"',
    '"\\ud800"', '"\\ud83d\\ude00"', '"home"', '"u1"', '"2024-02-20T10:00:00Z"', '"2024-02-20t10:00:00+01:00"',
    '"2024-02-30"', '"1969-12-31"', '["a"]', '["a", "b"]', '[null]', '[1]', '{"profile": "a"}', '{"profile": null}',
    '{"profile": 1}', '{"price": 3}', '{"price": "3"}', '{"price": null, "device": "1.0"}', '{"device": 17}',
    '{"device": "nan"}', '{"prise": 1}', '{"price": 1, "price": 2}', '[{"item_id": "i1"}]', '[{"item_id": 5}]',
    '[{"item_id": "5", "event_id": 6}]', '[{"item_id": "5", "context": {"price": 4}}, {"item_id": "6"}]',
    '[{"item_id": "i", "item_title": "t", "context": null}]', '[{"item_id": "i", "context": {}}]', "[{}]",
    '[{"item_id": "1"}, {"item_id": "2"}, {"item_id": "3"}, {"item_id": "4"}]', json.dumps("x" * 5000),
    json.dumps("\u00e9" * 100),
)  # fmt: skip


@pytest.fixture(scope="module")
def names(fitted: Fitted) -> Names:
    return Names.of(fitted.settings)


@pytest.fixture(scope="module")
def plain(names: Names) -> PlainBodies:
    return PlainBodies(names, MOST)


def read(rows: EventRows, *more: str) -> dict[str, list[Any]]:
    return {name: rows.values(name) for name in (*COLUMNS, *more)}


def of_score(body: Any, names: Names) -> Any:
    return body.request_id, body.features, read(candidate_rows(body, body.event_at or NOW, names))


def of_outcomes(events: Any, names: Names) -> Any:
    events = events if isinstance(events, list) else [events]
    known = [one.known_at or NOW for one in events]
    return [one.known_at for one in events], read(outcome_rows(events, known, names), "known_at", "label")


def by_models(model: TypeAdapter, body: str) -> Any:
    """What the models read; None where they refuse."""
    try:
        return model.validate_python(json.loads(body))
    except ValidationError:
        return None


def changed(body: dict[str, Any], field: str, value: str) -> str:
    rest = {name: one for name, one in body.items() if name != field}
    return json.dumps(rest)[:-1] + f', "{field}": {value}}}'


def test_ordinary_bodies_are_read(fitted: Fitted, rows: Any, names: Names, plain: PlainBodies) -> None:
    models = Bodies.of(names, MOST)
    score = json.dumps(asked(fitted, "2024-02-20T11:00:00+01:00", rows[:3], request_id="7", features=True))
    found = of_score(plain.score(score.encode()), names)
    assert found == of_score(by_models(TypeAdapter(models.score), score), names)
    assert found[2]["item_id"] == [row["item_id"] for row in rows[:3]]
    for outcomes in (told(fitted, rows[0]), [told(fitted, row) for row in rows]):
        text = json.dumps(outcomes)
        told_to = of_outcomes(by_models(TypeAdapter(models.outcomes), text), names)
        assert of_outcomes(plain.outcomes(text.encode()), names) == told_to


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value[:30])
def test_odd_values(fitted: Fitted, rows: Any, names: Names, plain: PlainBodies, value: str) -> None:
    """In each field, and in one that isn't known: the same values, or none where the models may object."""
    models = Bodies.of(names, MOST)
    score, outcome = TypeAdapter(models.score), TypeAdapter(models.outcomes)
    body = {"user_id": "u1", "scene": "home", "candidates": [{"item_id": "i1"}]}
    for field in (*models.score.model_fields, "other"):
        text = changed(body, field, value)
        if (found := plain.score(text.encode())) is not None:
            assert of_score(found, names) == of_score(by_models(score, text), names), field
    event = {name: one for name, one in told(fitted, rows[0]).items() if one is not None}
    for field in (*models.event.model_fields, "other"):
        text = changed(event, field, value)
        for written in (text, f"[{text}]"):
            if (found := plain.outcomes(written.encode())) is not None:
                assert of_outcomes(found, names) == of_outcomes(by_models(outcome, written), names), field
