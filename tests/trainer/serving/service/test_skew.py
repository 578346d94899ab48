"""What the service logs, against the mart: equal where every outcome reached it in time, and caught where none did."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.compute as pc
import pytest

from tests.trainer.serving.service.conftest import Fitted, Make, asked, told
from trainer.serving.online.served_files import ServedFiles
from trainer.serving.online.skew import compare_served
from trainer.serving.service.served import Limits, ServedLog

if TYPE_CHECKING:
    from trainer.serving.service.metrics import Metrics

N = 150  # events that are served


@pytest.mark.parametrize("heard", [True, False])
def test_what_was_served_is_the_marts(
    fitted: Fitted, make: Make, metrics: Metrics, tmp_path: Path, heard: bool
) -> None:
    events = fitted.events.sort_by([("event_at", "ascending"), ("event_id", "ascending")]).slice(1000, N).to_pylist()
    n_known = pc.sum(pc.less(fitted.events["known_at"], events[0]["event_at"])).as_py()
    later = fitted.events.slice(n_known).to_pylist()  # in the order in which they become known
    log = ServedLog(tmp_path / "served", metrics, print, Limits(rows=40))
    client = make(fitted.state(f"sqlite:{tmp_path}/state.sqlite", n_known), log=log)
    for event in events:
        while heard and later and later[0]["known_at"] < event["event_at"]:
            assert client.post("/outcome", json=told(fitted, later.pop(0))).json() == {"new": 1, "repeated": 0}
        body = asked(fitted, event["event_at"].isoformat() + "Z", [event])
        body["candidates"].append({"item_id": "never shown"})
        assert client.post("/score", json=body).status_code == 200
    log.close()
    found = compare_served(ServedFiles.open(tmp_path / "served"), fitted.contract)
    assert (found.n_log, found.n_compared, found.left["no_key"], found.elsewhen) == (2 * N, N, N, 0)
    assert (found.n_differ == 0, found.passed(0.0)) == (heard, heard), found.report()["features"][:3]
