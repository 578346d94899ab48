"""A tiny run of the served mart, the state of a part of its log, and the application over both."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.trainer.serving.online.serving import Served
from trainer.contract.read import read_contract
from trainer.contract.schema import Contract
from trainer.run.directory import fit_run
from trainer.serving.online import scorer as scoring
from trainer.serving.online.features import Online, settings_of
from trainer.serving.online.scorer import Scorer
from trainer.serving.online.state import Settings, State
from trainer.serving.online.stores import open_store
from trainer.serving.score import Model
from trainer.serving.service.served import ServedLog
from trainer.serving.service.service import Service

if TYPE_CHECKING:  # of an extra: tests of other things are collected without it
    from starlette.testclient import TestClient

    from trainer.serving.service.metrics import Metrics

BATCH_ONLY = "user_n_shown"
N_APPLIED = 900  # of the log's 1,200 events, by known_at


@dataclass(frozen=True)
class Fitted:
    """A run, the mart that it was fitted on, the settings of a state for it, and the log."""

    run: Path
    contract: Contract
    settings: Settings
    events: pa.Table

    def state(self, url: str, n_applied: int = N_APPLIED) -> str:
        """A new state at `url` with the log's first outcomes."""
        store = open_store(url)
        State.create(store, self.settings)
        online = Online(store)
        online.apply(self.events.slice(0, n_applied))
        store.close()
        return url


@pytest.fixture(scope="session", autouse=True)
def packages() -> None:
    for name in ("fastapi", "httpx", "prometheus_client"):
        pytest.importorskip(name, reason="the extras `serving` and `dev` have it")


@pytest.fixture
def metrics() -> Metrics:
    from trainer.serving.service.metrics import Metrics

    return Metrics()


@pytest.fixture(scope="session")
def fitted(packages: None, served: Served, stage: Any, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    """The served mart without the column that can't be served, and a network fitted on it."""
    folder = tmp_path_factory.mktemp("fitted")
    there = served.contract
    mart = folder / "marts" / there.folder.name
    for path in there.files:
        target = mart / path.relative_to(there.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pq.ParquetFile(path).read().drop_columns([BATCH_ONLY]), target)
    (mart / "_build").mkdir()
    (record,) = (there.folder / "_build").glob("*.json")
    read = json.loads(record.read_text())
    read["columns"] = [c for c in read["columns"] if c["name"] != BATCH_ONLY]
    (mart / "_build" / record.name).write_text(json.dumps(read))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRST_IMPRESSION_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        fit_run(stage("02_mmoe", epochs=1, min_steps=20), folder / "marts", folder / "run")
        contract = read_contract(folder / "marts", None, None)
    events = pa.concat_tables(served.events.by("known_at"))
    return Fitted(folder / "run", contract, settings_of(contract, served.models, 3600), events)


LOADED = cache(Model.load)


@pytest.fixture(autouse=True)
def prepared(fitted: Fitted, away: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run's weights are read, and its graph is made, once for all tests."""
    monkeypatch.setenv("FIRST_IMPRESSION_CACHE", str(fitted.run.parent / "cache"))
    monkeypatch.setattr(scoring.Model, "load", LOADED)


Make = Callable[..., "TestClient"]


class Clients:
    """Applications over states, each by default with a new one."""

    def __init__(self, fitted: Fitted, folder: Path):
        self._fitted, self._folder = fitted, folder
        self.open: list[TestClient] = []

    def __call__(
        self, url: str = "", log: ServedLog | None = None, metrics: Metrics | None = None, **options: Any
    ) -> TestClient:
        from starlette.testclient import TestClient

        from trainer.serving.service.app import Options, make_app
        from trainer.serving.service.metrics import Metrics

        url = url or self._copied()
        metrics, run = metrics or Metrics(), self._fitted.run
        service = Service(Scorer(open_store(url, 0.5), run), run, metrics, log)
        app = make_app(service, State(open_store(url, 0.5)), metrics, replace(Options(), **options))
        client = TestClient(app, raise_server_exceptions=False)
        client.__enter__()
        self.open.append(client)
        return client

    def _copied(self) -> str:
        template = self._fitted.run.parent / "template.sqlite"
        if not template.exists():
            self._fitted.state(f"sqlite:{template}")
        return f"sqlite:{shutil.copy(template, self._folder / f'{len(self.open)}.sqlite')}"

    def close(self) -> None:
        while self.open:
            self.open.pop().__exit__(None, None, None)


@pytest.fixture
def make(fitted: Fitted, tmp_path: Path) -> Iterator[Make]:
    """`make(url, log=..., **options)` starts an application."""
    clients = Clients(fitted, tmp_path)
    yield clients
    clients.close()


@pytest.fixture
def client(make: Make) -> TestClient:
    return make()


@pytest.fixture(scope="session")
def shared(fitted: Fitted, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """An application for requests that change nothing."""
    clients = Clients(fitted, tmp_path_factory.mktemp("shared"))
    yield clients()
    clients.close()


def context_of(fitted: Fitted, event: dict[str, Any]) -> dict[str, Any]:
    """An event's context by name."""
    variables = fitted.settings.variables
    lists = ((variables[name], event[name]) for name in ("ctx_dense", "ctx_ids"))
    return {name: value for names, values in lists for name, value in zip(names, values, strict=True)}


def asked(fitted: Fitted, at: str, rows: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """The request for these events' items, all at one instant and for the first event's user and scene."""
    first = rows[0]
    candidates = [
        {name: row[name] for name in ("item_id", "item_title", "item_entities", "event_id")}
        | {"context": context_of(fitted, row)}
        for row in rows
    ]
    known = {"user_id": first["user_id"], "scene": first["scene"], "user_texts": first["user_texts"]}
    return known | {"event_at": at, "candidates": candidates} | more


def told(fitted: Fitted, event: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The outcome of an event of the log."""
    out = {k: v for k, v in event.items() if k not in ("event_date", "known_date", "ctx_dense", "ctx_ids")}
    instants = {name: event[name].isoformat() + "Z" for name in ("event_at", "known_at")}
    return out | instants | {"context": context_of(fitted, event)} | more


@pytest.fixture
def rows(fitted: Fitted) -> list[dict[str, Any]]:
    """Events whose outcomes the state doesn't have."""
    return fitted.events.slice(900, 300).to_pylist()
