"""What is read of the service's answers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.testclient import TestClient

AT = "2024-02-20T10:00:00Z"  # after the log


def probabilities(answer: Any) -> list[float]:
    assert answer.status_code == 200, answer.text
    return [one["probability"] for one in answer.json()["candidates"]]


def metric(client: TestClient, name: str) -> float:
    (line,) = re.findall(rf"^first_impression_{re.escape(name)} (\S+)$", client.get("/metrics").text, re.MULTILINE)
    return float(line)


def refused(answer: Any, status: int, sentence: str) -> None:
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["detail"]
    assert re.search(sentence, answer.json()["detail"]), answer.json()["detail"]
