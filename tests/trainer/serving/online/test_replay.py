"""The gate on a log with late outcomes: equal in every bit, and what breaks it is either harmless or caught."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.forkserver import of
from trainer.base.errors import TrainerError
from trainer.serving.online import moments
from trainer.serving.online import replay as replaying
from trainer.serving.online.features import Online
from trainer.serving.online.keys import Outcome
from trainer.serving.online.replay import Replay, replay
from trainer.serving.online.state import OldOutcomeError, OldRequestError, State
from trainer.serving.online.stores import open_store

WEEKS = 9 * 7 * 24 * 3600  # longer than the log


def replayed(served: Any, url: str, tolerance: int = 3600) -> Replay:
    return replay(served.online(url, tolerance), served.contract, served.events)


@pytest.fixture
def new(tmp_path: Path) -> str:
    return f"sqlite:{tmp_path}/state.sqlite"


def test_every_feature_of_every_row_is_the_marts(served: Any, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "MOST", 8)  # so that segments are read too
    found = replayed(served, url)
    assert found.position == 1200
    assert {name: one for name, one in found.features.items() if one.rows != one.equal or one.rows != 1200} == {}
    roles = ("feature", "level", "history", "text_id", "scene")
    columns = {c.name for c in served.contract.columns if c.role in roles}
    assert set(found.features) == columns - {"user_n_shown"}
    assert list(found.batch_only) == ["user_n_shown"]
    assert "window" in found.batch_only["user_n_shown"]
    assert replayed(served, url).report() == found.report(), "nothing is left to do, and the result is the same"


def harmless_twice(self: State, outcomes: list[Outcome], apply: Any) -> int:
    return apply(self, outcomes) + apply(self, outcomes)


def harmless_backwards(self: State, outcomes: list[Outcome], apply: Any) -> int:
    return sum(apply(self, [one]) for one in reversed(outcomes))


def harmless_restarted(self: State, outcomes: list[Outcome], apply: Any) -> int:
    return sum(apply(State(self.store), [one]) for one in outcomes)


def caught_lost(self: State, outcomes: list[Outcome], apply: Any) -> int:
    return apply(self, [one for one in outcomes if one.event_id != "e00400"])


def caught_a_microsecond_early(self: State, outcomes: list[Outcome], apply: Any) -> int:
    return apply(self, [replace(one, known_at=one.known_at - 1) for one in outcomes])


def caught_other_label(self: State, outcomes: list[Outcome], apply: Any) -> int:
    return apply(self, [replace(one, label=1 - one.label) if one.event_id == "e00400" else one for one in outcomes])


@pytest.mark.parametrize(
    "mutant",
    [
        harmless_twice,
        harmless_backwards,
        harmless_restarted,
        caught_lost,
        caught_a_microsecond_early,
        caught_other_label,
    ],
)
def test_mutants_of_applying(served: Any, new: str, monkeypatch: pytest.MonkeyPatch, mutant: Any) -> None:
    apply = State.apply
    monkeypatch.setattr(State, "apply", lambda self, outcomes: mutant(self, outcomes, apply))
    found = replayed(served, new, tolerance=WEEKS)
    assert (found.mismatches == 0) == mutant.__name__.startswith("harmless"), found.report()


@pytest.mark.parametrize("by", [-3600, 3600])
def test_outcomes_applied_before_they_are_known_are_harmless_and_late_ones_caught(
    served: Any, new: str, monkeypatch: pytest.MonkeyPatch, by: int
) -> None:
    """Early: the state leaves out what isn't known at a request's instant, however soon it is told."""
    known_before = replaying._Outcomes.known_before
    monkeypatch.setattr(replaying._Outcomes, "known_before", lambda self, at: known_before(self, at - by * 1_000_000))
    assert (replayed(served, new, tolerance=WEEKS).mismatches == 0) == (by < 0)


def test_an_outcome_that_is_known_when_shown_is_caught(served: Any, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = Online.outcomes

    def at_show_time(self: Online, events: pa.Table) -> list[Outcome]:
        shown = events.set_column(events.column_names.index("known_at"), "known_at", events["event_at"])
        return outcomes(self, shown)

    monkeypatch.setattr(Online, "outcomes", at_show_time)
    monkeypatch.setattr(replaying.Events, "by", by_show_time(replaying.Events.by))
    assert replayed(served, new, tolerance=WEEKS).mismatches > 0


def by_show_time(by: Any) -> Any:
    return lambda self, order, start=None, before=None: by(self, "event_at", start, before)


def test_two_writers_at_once(served: Any, url: str, tmp_path: Path) -> None:
    """Both apply every outcome, each in an order of its own within what is tolerated."""
    events = pa.concat_tables(served.events.by("known_at"))
    online = served.online(url, tolerance=WEEKS)
    outcomes = online.outcomes(events)

    def write(seed: int) -> None:
        state = State(open_store(url))
        draw = random.Random(seed)
        mine = sorted(outcomes, key=lambda one: one.known_at + draw.randrange(3600 * 10**6))
        for start in range(0, len(mine), 40):
            state.apply(mine[start : start + 40])

    writers = [threading.Thread(target=write, args=(seed,)) for seed in (1, 2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    alone = served.online(f"sqlite:{tmp_path}/alone.sqlite", tolerance=WEEKS)
    alone.state.apply(outcomes)
    asked = events.set_column(
        events.column_names.index("event_at"),
        "event_at",
        pa.array([online.state.clock] * 1200).cast(pa.timestamp("us")),
    )
    assert online.features(asked).equals(alone.features(asked))


def test_kill_9_and_start_again(served: Any, tmp_path: Path) -> None:
    """Killed at random steps until it is through; then no value differs."""
    command = ["replay", "--marts", str(served.marts), "--state", f"sqlite:{tmp_path}/state.sqlite"]
    command += ["--manifest", str(served.manifest), "--json"]
    draw, kills = random.Random(1), 0
    while True:
        steps = str(draw.randrange(150, 700) if kills else 40)  # the first time before any row was compared
        ended = of("trainer").run("dying_trainer", steps, *command, cwd=tmp_path)
        if ended.returncode != -signal.SIGKILL:
            break
        kills += 1
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert (found["rows"], found["mismatches"]) == (1200, 0)
    assert kills >= 3


def test_the_commands(served: Any, tmp_path: Path, new: str) -> None:
    """A state as of an instant, then the rest as a file, is the state of everything; a mismatch is exit code 1."""

    def run(*arguments: str) -> subprocess.CompletedProcess:
        return of("trainer").run("trainer", *arguments, "--json", cwd=tmp_path)

    mart = ["--marts", str(served.marts), "--manifest", str(served.manifest), "--state", new]
    first = json.loads(run("state", "build", *mart, "--as-of", "2024-01-20").stdout)
    assert 0 < first["new"] == first["read"] < 1200
    pq.write_table(pa.concat_tables(served.events.by("known_at")), tmp_path / "outcomes.parquet")
    rest = run("state", "apply", "--state", new, "--events", str(tmp_path / "outcomes.parquet"))
    assert json.loads(rest.stdout) == {"read": 1200, "new": 1200 - first["new"]}
    assert json.loads(run("state", "build", *mart).stdout) == {"read": 1200, "new": 0}
    again = run("replay", *mart)
    assert again.returncode == 2
    assert "holds outcomes already" in " ".join(again.stderr.split())
    events = pa.concat_tables(served.events.by("event_at"))
    labels = pa.array([1 - events["label"][0].as_py(), *events["label"].to_pylist()[1:]], pa.int32())
    pq.write_table(events.set_column(events.column_names.index("label"), "label", labels), tmp_path / "other.parquet")
    other = ["--state", f"sqlite:{tmp_path}/other.sqlite", "--events", str(tmp_path / "other.parquet")]
    caught = run("replay", *mart[:4], *other)
    assert caught.returncode == 1
    found = json.loads(caught.stdout)
    assert found["features"]["user_n_impressions_cum"]["equal"] == 1200
    wrong = found["features"]["user_n_clicks_cum"]
    assert (wrong["equal"] < 1200, wrong["null_on_one_side"], wrong["largest"]) == (True, 0, 1.0)


def test_too_old_for_the_state(served: Any, new: str) -> None:
    online = served.online(new, tolerance=60)
    events = pa.concat_tables(served.events.by("known_at"))
    assert online.apply(events.slice(600)) == 600
    with pytest.raises(
        OldOutcomeError, match=r"Event e\d+ became known at 2024-.*takes none that is more than 60 s older"
    ):
        online.apply(events.slice(0, 1))
    with pytest.raises(OldRequestError, match="can't go back more than 60 s"):
        online.features(events.slice(0, 1))
    assert online.apply(events.slice(600)) == 0


def test_bad_outcomes_and_requests(served: Any, new: str) -> None:
    online = served.online(new)
    events = next(served.events.by("known_at")).slice(0, 2)
    first = online.outcomes(events)[0]
    for bad, message in (
        (replace(first, label=2), "its label is 2, expected 0 or 1"),
        (replace(first, scene="moon"), "Scene 'moon' isn't one of home, search, cart"),
    ):
        with pytest.raises(TrainerError, match=message):
            online.state.apply([bad])
    online.state.apply([first])
    with pytest.raises(TrainerError, match=r"applied with label \d.*An outcome can't change"):
        online.state.apply([replace(first, label=1 - first.label)])
    unseen = events.set_column(events.column_names.index("user_id"), "user_id", pa.array(["new"] * 2))
    cold = online.features(unseen)
    assert cold["user_level"].to_pylist() == ["zero"] * 2
    assert cold["user_last_item_ids"].null_count == 2
    assert online.features(unseen.slice(0, 0)).num_rows == 0


def test_a_state_of_an_earlier_version_is_refused(served: Any, new: str) -> None:
    store = served.online(new).state.store
    store.update(
        [b"settings"], lambda blobs: {b"settings": (blobs[b"settings"] or b"").replace(b'"form": 2', b'"form": 1')}
    )
    with pytest.raises(TrainerError, match=r"was written in form 1, expected 2\. Build it anew in another place"):
        Online(open_store(new))


def test_a_replay_needs_a_new_state_of_its_mart(served: Any, new: str) -> None:
    online = served.online(new)
    online.apply(next(served.events.by("known_at")))
    with pytest.raises(TrainerError, match="The state holds outcomes already"):
        replay(online, served.contract, served.events)
    with pytest.raises(TrainerError, match=r"a state of other settings already \(tolerance differ\)"):
        served.online(new, tolerance=5)
