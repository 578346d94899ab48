"""The real thing: `trainer serve` as a process of its own, from its first request to SIGTERM."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from tests.trainer.serving.service.conftest import Fitted, asked, told
from trainer.base import errors
from trainer.base.errors import TrainerError
from trainer.cli import main
from trainer.cli.service import serve
from trainer.serving.score import score_file

if TYPE_CHECKING:
    import httpx

TRAINER = Path(sys.executable).with_name("trainer")
WEEKS = 9 * 7 * 24 * 3600  # longer than the log


class Process:
    """A server that starts while the test goes on."""

    def __init__(self, *arguments: str):
        command = [str(TRAINER), "serve", *arguments, "--port", "0"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    @cached_property
    def client(self) -> httpx.Client:
        """Requests to it, once it has started."""
        import httpx

        said = ""
        assert self.process.stderr is not None
        while not (found := re.search(r"on (http://\S+:\d+)\.", said)):
            line = self.process.stderr.readline()
            assert line, said
            said += line
        return httpx.Client(base_url=found[1], timeout=60)

    def stopped(self, by: int) -> int:
        self.process.send_signal(by)
        return self.process.wait(30)

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def two(fitted: Fitted, tmp_path: Path) -> Iterator[tuple[Process, Process]]:
    """Two processes on one state, which has the whole log and answers requests of any of its instants."""
    patient = replace(fitted, settings=replace(fitted.settings, tolerance=WEEKS))
    state = patient.state(f"sqlite:{tmp_path}/state.sqlite", len(fitted.events))
    arguments = ["--run", str(fitted.run), "--state", state]
    both = Process(*arguments, "--served", str(tmp_path / "served")), Process(*arguments)
    yield both
    for one in both:
        one.end()


def test_from_the_first_request_to_the_last(fitted: Fitted, two: tuple[Process, Process], tmp_path: Path) -> None:
    """Answers are what `trainer score` says of the mart's rows; outcomes told to one process count in the other; what
    is in flight is answered before the end."""
    late = fitted.events.slice(len(fitted.events) - 12).to_pylist()
    rows = ds.dataset(fitted.contract.folder, exclude_invalid_files=True, partitioning=None).to_table()
    pq.write_table(rows.filter(pc.is_in(rows["event_id"], pa.array([row["event_id"] for row in late]))), "rows.parquet")
    score_file(fitted.run, Path("rows.parquet"), Path("scored.parquet"))
    expected = {row["event_id"]: row["probability"] for row in pq.read_table("scored.parquet").to_pylist()}
    client, other = two[0].client, two[1].client
    assert client.get("/health").json()["stage"] == "02_mmoe"
    found = {}
    for row in late:
        (one,) = client.post("/score", json=asked(fitted, row["event_at"].isoformat(), [row])).json()["candidates"]
        found[one["event_id"]] = one["probability"]
    assert len(expected) == 12
    np.testing.assert_allclose([found[event] for event in expected], list(expected.values()), atol=1e-6)

    body = asked(fitted, "2024-03-01T00:00:00Z", late[:5])
    before = client.post("/score", json=body).json()["candidates"]
    outcome = told(fitted, late[0], event_id="new", event_at="2024-02-28", known_at="2024-02-29T23:00:00Z", label=1)
    assert other.post("/outcome", json=outcome).json() == {"new": 1, "repeated": 0}
    assert client.post("/outcome", json=outcome).json() == {"new": 0, "repeated": 1}
    after = client.post("/score", json=body).json()["candidates"]
    assert after != before
    assert other.post("/score", json=body).json()["candidates"] == after

    answers: list[int] = []
    many = body | {"candidates": body["candidates"] * 200}
    asking = threading.Thread(target=lambda: answers.append(client.post("/score", json=many).status_code))
    asking.start()
    while "first_impression_waiting 1.0" not in client.get("/metrics").text and not answers:
        time.sleep(0.01)
    assert two[0].stopped(signal.SIGTERM) == 0
    asking.join()
    assert answers == [200]
    assert two[1].stopped(signal.SIGINT) == 0
    assert (
        sum(pq.read_metadata(path).num_rows for path in (tmp_path / "served").rglob("*.parquet")) == 12 + 5 + 5 + 1000
    )


def test_what_stops_it_from_starting(
    fitted: Fitted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def refused(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["trainer", "serve", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        return " ".join(capsys.readouterr().err.split())

    state = fitted.state(f"sqlite:{tmp_path}/state.sqlite", 10)
    run = ["--run", str(fitted.run)]
    assert "x.db: there is no such file. Correct the path, or make a state" in refused(
        *run, "--state", f"sqlite:{tmp_path}/x.db"
    )
    (tmp_path / "x.db").touch()
    assert "There is no state yet. `trainer state build` makes one." in refused(
        *run, "--state", f"sqlite:{tmp_path}/x.db"
    )
    assert f"{tmp_path}/no" in refused("--run", f"{tmp_path}/no", "--state", state)
    assert "expected sqlite:FILE" in refused(*run, "--state", "here")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = refused(*run, "--state", state, "--port", str(taken.getsockname()[1]))
    assert "Can't listen on port" in said
    assert "name another with --port" in said


def test_an_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(errors, "lacking", lambda extra, what: f"{what} needs the extra {extra}")
    with pytest.raises(TrainerError, match="`trainer serve` needs the extra serving"):
        serve(tmp_path, "sqlite:x.sqlite")
