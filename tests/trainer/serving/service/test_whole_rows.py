"""A state that keeps outcomes as whole rows, and 11_sequence served from it, against `trainer score` of the mart."""

from __future__ import annotations

import dataclasses
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from msgspec import msgpack
from typer.testing import CliRunner

from tests.trainer.serving.online.serving import Served
from tests.trainer.serving.service.conftest import Fitted
from trainer.base.errors import TrainerError
from trainer.cli import app
from trainer.cli.online import _check_delay
from trainer.run.directory import fit_run
from trainer.serving.online import moments
from trainer.serving.online.features import Online
from trainer.serving.online.keys import past_key, row_key
from trainer.serving.online.scorer import Scorer
from trainer.serving.online.state import OldOutcomeError, State
from trainer.serving.online.stores import Store, open_store
from trainer.serving.online.whole_rows import OfMart
from trainer.serving.score import Model

WEEKS = 9 * 7 * 24 * 3600  # longer than the log


@pytest.fixture(scope="module")
def run(fitted: Fitted, stage: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sequence") / "run"
    one = stage("11_sequence", epochs=1, min_steps=4, sequence=6)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder.parent)
        fit_run(one, fitted.contract.folder.parent, folder)
    return folder


def state(fitted: Fitted, url: str, tolerance: int = WEEKS) -> Online:
    store = open_store(url)
    State.create(store, dataclasses.replace(fitted.settings, tolerance=tolerance, rows=True))
    return Online(store)


def kept(store: Store, events: pa.Table) -> dict[tuple[str, str], bytes | None]:
    """The rows that users' lists name, by user and event."""
    users = sorted(set(events["user_id"].to_pylist()))
    lists = store.get([past_key(user) for user in users])
    pairs = [(user, event) for user in users if (blob := lists[past_key(user)]) for event in msgpack.decode(blob)]
    blobs = store.get([row_key(*pair) for pair in pairs])
    assert len(set(pairs)) == len(pairs)
    return {pair: blobs[row_key(*pair)] for pair in pairs}


def test_rows_computed_are_the_marts(fitted: Fitted, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, whatever the parts in which outcomes come, and each once."""
    monkeypatch.setattr(moments, "MOST", 8)  # so that segments are read too
    of_mart = state(fitted, f"sqlite:{tmp_path}/mart.sqlite")
    of_mart.state.whole = OfMart(fitted.contract, of_mart.kept, of_mart.columns)
    assert of_mart.apply(fitted.events) == 1200
    computed = state(fitted, url)
    for start in range(0, 1200, 60):
        assert computed.apply(fitted.events.slice(start, 60)) == 60
    assert computed.apply(fitted.events) == 0
    expected = kept(of_mart.state.store, fitted.events)
    assert len(expected) == 1200
    assert kept(computed.state.store, fitted.events) == expected
    table = computed.past(*next(iter({user: [event] for user, event in expected}.items())))
    assert table.num_rows == 1
    assert set(computed.kept) & set(computed.columns) <= set(table.column_names)


def test_parts_by_time(fitted: Fitted, tmp_path: Path) -> None:
    """A log with outcomes of up to 60 hours late is applied part after part, within a tolerance of 61."""
    online = state(fitted, f"sqlite:{tmp_path}/state.sqlite", tolerance=61 * 3600)
    parts = list(online.parts(fitted.events))
    assert 5 < len(parts) < 300
    assert pa.concat_tables(parts).equals(fitted.events)
    assert sum(map(online.apply, parts)) == 1200
    whole = state(fitted, f"sqlite:{tmp_path}/whole.sqlite")
    whole.apply(fitted.events)
    assert kept(online.state.store, fitted.events) == kept(whole.state.store, fitted.events)


def test_two_writers(fitted: Fitted, url: str, tmp_path: Path) -> None:
    """Each row once. One of them begins with the last outcomes, so its rows lack what the other has yet to tell."""

    def write(order: int) -> None:
        mine = Online(open_store(url))
        for start in list(range(0, 300, 20))[::order]:
            mine.apply(fitted.events.slice(start, 20))

    state(fitted, url)
    writers = [threading.Thread(target=write, args=(order,)) for order in (1, -1)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    alone = state(fitted, f"sqlite:{tmp_path}/alone.sqlite")
    alone.apply(fitted.events.slice(0, 300))
    found = kept(open_store(url), fitted.events)
    assert found.keys() == kept(alone.state.store, fitted.events).keys()
    assert None not in found.values()


def test_served_like_scored(fitted: Fitted, run: Path, tmp_path: Path) -> None:
    """Every event of the log at its instant, many users in a request or one, twice so that what is kept is used."""
    mart = ds.dataset([str(path) for path in fitted.contract.files]).to_table().sort_by("event_id")
    model = Model.load(run).with_history(fitted.contract.folder)
    expected = model.probabilities(mart.select(model.required.names), "the mart")
    url = f"sqlite:{tmp_path}/state.sqlite"
    state(fitted, url).apply(fitted.events)
    scorer = Scorer(open_store(url), run)
    events = fitted.events.sort_by("event_id").drop_columns(["known_at", "known_date", "label"])
    found = np.concatenate([scorer.score(events.slice(at, 100)).probability_B for at in range(0, 1200, 100)])
    assert len(set(found)) > 50
    logits = [np.log(p / (1 - p)) for p in (found, expected)]
    np.testing.assert_allclose(*logits, atol=1e-6, rtol=0)
    single = [scorer.score(events.slice(at, 1)).probability_B[0] for at in range(0, 1200, 5)]
    logits = [np.log(p / (1 - p)) for p in (np.array(single), expected[::5])]
    np.testing.assert_allclose(*logits, atol=1e-6, rtol=0)
    assert any(known.is_of_one for known in scorer._past._known.values())


def test_new_outcomes_are_seen(fitted: Fitted, run: Path, tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path}/state.sqlite"
    online = state(fitted, url)
    online.apply(fitted.events.slice(0, 900))
    scorer = Scorer(open_store(url), run)
    late = fitted.events.slice(1100, 1)
    asked = late.drop_columns(["known_at", "known_date", "label"])
    at = pa.array([fitted.events["known_at"].combine_chunks()[-1].as_py()], pa.timestamp("us"))
    asked = asked.set_column(asked.column_names.index("event_at"), "event_at", at)
    before = scorer.score(asked).probability_B
    online.apply(fitted.events.slice(900, 250))
    after = scorer.score(asked).probability_B
    again = Scorer(open_store(url), run).score(asked).probability_B
    assert before != after
    assert after == again


def test_what_is_refused(fitted: Fitted, run: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match=r"whole rows, which this state doesn't keep.*`trainer state build --rows`"):
        Scorer(open_store(fitted.state(f"sqlite:{tmp_path}/without.sqlite", 10)), run)
    online = state(fitted, f"sqlite:{tmp_path}/state.sqlite", tolerance=60)
    with pytest.raises(
        OldOutcomeError, match=r"keeps outcomes as whole rows.*can't go back more than 60 s.*--tolerance"
    ):
        online.apply(fitted.events)
    assert online.state.clock is None
    other = state(fitted, f"sqlite:{tmp_path}/mart.sqlite")
    other.state.whole = OfMart(fitted.contract, other.kept, other.columns)
    ids = pa.array(["never", *fitted.events["event_id"].to_pylist()[1:5]])
    events = fitted.events.slice(0, 5)
    with pytest.raises(TrainerError, match="the mart lacks event never"):
        other.apply(events.set_column(events.column_names.index("event_id"), "event_id", ids))


def test_the_command(served: Served, fitted: Fitted, tmp_path: Path) -> None:
    url, computed = f"sqlite:{tmp_path}/built.sqlite", state(fitted, f"sqlite:{tmp_path}/computed.sqlite")
    build = ["state", "build", "--marts", str(served.marts), "--manifest", str(served.manifest), "--state", url]
    ended = CliRunner().invoke(app, [*build, "--rows", "--json"])
    assert json.loads(ended.stdout) == {"read": 1200, "new": 1200}
    assert computed.apply(fitted.events) == 1200
    found = Online(open_store(url))
    table = found.past("u1", [event for user, event in kept(found.state.store, fitted.events) if user == "u1"])
    expected = computed.past("u1", table["event_id"].to_pylist())
    assert table.num_rows > 10
    assert table.select(expected.column_names).equals(expected)
    again = CliRunner().invoke(app, build)
    assert again.exit_code != 0
    assert "a state of other settings already (rows differ)" in " ".join(str(again.exception).split())


def test_a_tolerance_that_no_outcome_can_keep(fitted: Fitted) -> None:
    late = dataclasses.replace(fitted.contract, variables=fitted.contract.variables | {"label_delay": 7200})
    with pytest.raises(
        TrainerError, match=r"--rows needs a --tolerance of at least var label_delay, 7200 s; it is 3600"
    ):
        _check_delay(late, 3600)
    _check_delay(late, 7200)
