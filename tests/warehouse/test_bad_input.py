"""Generated bad logs, from raw rows to features: each row is an event or a reject with its reason, each feature right.

The quick form draws the same logs every time. The long one draws others, as many as you say:

    GENERATED_LOGS=2000 python -m pytest tests/warehouse/test_bad_input.py -k generated
"""

import os
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings

from tests.warehouse.bad_input import Row, as_table, every_value, logs
from tests.warehouse.compiled import Built, Compiled
from tests.warehouse.proofs import REFERENCE, SETTINGS
from warehouse.prove.verdicts import agree

LONG = os.environ.get("GENERATED_LOGS")
given_logs = settings(
    max_examples=int(LONG or 25),
    derandomize=LONG is None,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return Compiled(tmp_path_factory.mktemp("compiled") / "project")


def identity(row: Row) -> tuple:
    """What makes a readable row the repeat of another one."""
    meaning = row.meaning
    if meaning["impression_id"] is not None:
        return (meaning["impression_id"],)
    return ("no id", *(meaning[name] for name in sorted(meaning)))


def complaints(log: list[Row], built: Built) -> Iterator[str]:
    """What became of raw rows otherwise than it should have."""
    rejected = {row["source_row"]: row["reason"] for row in built.rejected.to_pylist()}
    if len(rejected) != len(built.rejected):
        yield "a row is rejected twice"
    if len(built.events) + len(rejected) != len(log):
        yield f"{len(log)} raw rows, {len(built.events)} events and {len(rejected)} rejects"
    readable = []
    for number, row in enumerate(log, start=1):
        reason = rejected.get(number)
        if row.reasons:
            if reason is None or not reason.startswith(row.reasons):
                yield f"row {number} {row.raw}: {reason}, expected one of {row.reasons}"
        elif reason is not None and not reason.startswith("repeats "):
            yield f"row {number} {row.raw}: {reason}, expected none"
        else:
            readable.append((number, row))
    first = {}
    for number, row in readable:
        first.setdefault(identity(row), number)
    expected = Counter(
        tuple(row.meaning[name] for name in ("user_id", "item_id", "surface", "shown_at", "ingested_at", "clicked"))
        for number, row in readable
        if first[identity(row)] == number
    )
    found = Counter(
        tuple(event[name] for name in ("user_id", "item_id", "scene", "event_at", "known_at", "label"))
        for event in built.events.to_pylist()
    )
    if expected != found:
        yield f"events {found - expected}, expected {expected - found}"


def differences(built: Built) -> Iterator[str]:
    """Features that aren't what the reference says of the events that were read."""
    names = {"impression_id": "event_id", "surface": "scene", "shown_at": "event_at", "ingested_at": "known_at"}
    events = [
        event | {"clicked": event["label"]} | {ours: event[theirs] for ours, theirs in names.items()}
        for event in built.events.to_pylist()
    ]
    for version, mart in built.marts.items():
        rows = {row["event_id"]: row for row in mart.to_pylist()}
        if sorted(event["event_id"] for event in events) != mart["event_id"].to_pylist():
            yield f"v{version}: {len(events)} events, {len(mart)} rows"
        for event in events:
            for name, expected in REFERENCE[version](event, events, SETTINGS).items():
                if not agree(rows[event["event_id"]][name], expected):
                    yield f"v{version} {event['event_id']} {name}: {rows[event['event_id']][name]}, expected {expected}"


def test_every_value_is_read_or_named(compiled: Compiled) -> None:
    log = every_value()
    assert list(complaints(log, compiled.build(as_table(log)))) == []


@given_logs
@given(log=logs())
def test_generated_rows_are_events_or_rejects_and_features_are_right(compiled: Compiled, log: list[Row]) -> None:
    built = compiled.build(as_table(log))
    assert list(complaints(log, built)) == []
    assert list(differences(built)) == []
