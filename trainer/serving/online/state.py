"""The state: what became known, counted per user, item, pair, scene and day, one blob per key.

`State.apply` takes outcomes as they become known, each once, in any order within `tolerance`; `State.gather` reads what
requests at an instant need. What was known at or after that instant is left out when it is counted, so it makes no
difference whether a later outcome is there already.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from trainer.base.errors import TrainerError
from trainer.serving.online import known_texts
from trainer.serving.online.applying import Applying, UnreadKeysError, noted
from trainer.serving.online.blobs import NONE
from trainer.serving.online.gathered import Counts, Gathered
from trainer.serving.online.keys import (
    GRAINS,
    Outcome,
    Request,
    changed_keys,
    event_key,
    item_key,
    past_key,
    user_key,
)
from trainer.serving.online.reading import GoneError, Read, Reading
from trainer.serving.online.records import TEXTS, unpacked
from trainer.serving.online.stores import Blobs, Store
from trainer.serving.online.whole_rows import Whole

_FORM = 2  # of the blobs; another number is another way to write them
_SETTINGS, _CLOCK, HOLD = b"settings", b"clock", b"hold"
_CHUNK = 2000  # outcomes per transaction where many are applied


@dataclass(frozen=True)
class Settings:
    """What a state was made for.

    models: the SQL of the mart and of all that it reads, by relation; tolerance: seconds by which an outcome, or a
    request, may be older than the newest outcome; checksums: dbt's, of the SQL files that the mart was built by; rows:
    whether outcomes are kept as whole rows too.
    """

    mart: str
    dataset: str
    scenes: tuple[str, ...]
    history_length: int
    columns: tuple[dict[str, Any], ...]
    variables: dict[str, Any]
    models: dict[str, str]
    tolerance: int
    form: int = _FORM
    checksums: dict[str, str] = field(default_factory=dict)
    rows: bool = False


class OldOutcomeError(TrainerError):
    """An outcome became known longer ago than the state can still count."""


class OtherOutcomeError(TrainerError):
    """An event was applied before with another outcome."""


class OldRequestError(TrainerError):
    """A request is of an instant that the state no longer knows."""


class State:
    """A state in a store. Raises on opening: TrainerError where there is none, or one of another form."""

    def __init__(self, store: Store):
        self.store = store
        found = store.get([_SETTINGS])[_SETTINGS]
        if found is None:
            raise TrainerError("There is no state yet. `trainer state build` makes one.")
        raw = json.loads(found)
        if raw.get("form") != _FORM:
            raise TrainerError(
                f"The state was written in form {raw.get('form')}, expected {_FORM}. Build it anew in another place: "
                "`trainer state build`."
            )
        raw |= {name: tuple(raw[name]) for name in ("scenes", "columns")}
        self.settings = Settings(**raw)
        self._slots = {scene: slot for slot, scene in enumerate(self.settings.scenes)}
        self._tolerance = self.settings.tolerance * 1_000_000
        self.whole: Whole | None = None  # what makes the whole rows, of a state that keeps them

    @classmethod
    def create(cls, store: Store, settings: Settings) -> State:
        """A new, empty state; one that is there already must be of the same settings."""
        text = json.dumps(asdict(settings), sort_keys=True).encode()

        def change(blobs: Blobs) -> Blobs:
            there = blobs[_SETTINGS]
            if there is not None and there != text:
                raise TrainerError(_other_settings(json.loads(there), json.loads(text)))
            return {_SETTINGS: text}

        store.update([_SETTINGS], change)
        return cls(store)

    @property
    def clock(self) -> int | None:
        """When the newest outcome became known; None before the first."""
        return _instant(self.store.get([_CLOCK])[_CLOCK])

    def known_at(self, event_ids: Sequence[str]) -> dict[str, int]:
        """When the outcomes of those events that were applied before became known, microseconds."""
        keys = {event: event_key(event) for event in event_ids}
        blobs = self.store.get(list(keys.values()))
        return {event: int(blob.split()[0]) for event, key in keys.items() if (blob := blobs[key]) is not None}

    def known_texts(self, of: str, ids: Sequence[str]) -> dict[str, list[str | None]]:
        """The latest known texts of items (title, entities) or users, of those that have any. of: `item` or `user`."""
        keys = {one: item_key(one) if of == "item" else user_key(one) for one in ids}
        blobs = self.store.get(list(keys.values())) if keys else {}
        found = {one: known_texts.texts_in(unpacked(blobs[key], len(self._slots))[TEXTS]) for one, key in keys.items()}
        return {one: texts for one, texts in found.items() if texts is not None}

    def slot(self, scene: str) -> int:
        """Raises: TrainerError for a scene that isn't one."""
        if scene not in self._slots:
            raise TrainerError(f"Scene {scene!r} isn't one of {', '.join(self.settings.scenes)}.")
        return self._slots[scene]

    def apply(self, outcomes: Iterable[Outcome]) -> int:
        """Count outcomes, each once; return how many were new. One transaction for every 2,000.

        Raises: OldOutcomeError for one that became known more than `tolerance` before the newest; TrainerError for a
        label that isn't 0 or 1, a scene that isn't one; OtherOutcomeError for an event applied before with another
        outcome.
        """
        waiting = sorted(outcomes, key=lambda one: (one.known_at, one.event_id))
        n_new = 0
        for start in range(0, len(waiting), _CHUNK):
            some = waiting[start : start + _CHUNK]
            for one in some:
                self._check(one)
            counts: list[int] = []
            keys = [_CLOCK, HOLD, *(key for one in some for key in changed_keys(one))]
            keys += [past_key(one.user_id) for one in some] if self.settings.rows else []
            while True:
                try:
                    self.store.update(keys, partial(self._changed, outcomes=some, counts=counts))
                    break
                except UnreadKeysError as error:
                    keys += error.keys
            n_new += counts[-1]
        return n_new

    def gather(self, requests: Sequence[Request], grains: Collection[str] = GRAINS) -> Gathered:
        """Read what requests need of these grains, all of it as of one moment. `past`: the lists of whole rows.

        Raises: OldRequestError for an instant more than `tolerance` before the newest outcome.
        """
        return self._gathered(requests, grains, self.store.get)

    def _gathered(self, requests: Sequence[Request], grains: Collection[str], read: Read) -> Gathered:
        for scene in {request.scene for request in requests}:
            self.slot(scene)
        reading = Reading(requests, grains)
        blobs = read([_CLOCK, HOLD, *reading.keys])
        clock, oldest = _instant(blobs[_CLOCK]), min((request.at for request in requests), default=None)
        if oldest is not None and oldest < self._settled(clock, blobs[HOLD]):
            raise OldRequestError(
                f"A request is as of {_text(oldest)}, but the state has outcomes until {_text(clock)} and "
                f"can't go back more than {self.settings.tolerance} s."
            )
        try:
            return reading.gathered(blobs, clock, self._slots, read)
        except GoneError:
            raise OldRequestError(
                f"What a request as of {_text(oldest)} needs was removed from the state just now."
            ) from None

    def counts(self, gathered: Gathered) -> Counts:
        return Counts(gathered, len(self.settings.scenes), self.settings.history_length)

    def _settled(self, clock: int | None, hold: bytes | None) -> int:
        """Before it nothing is added and nobody asks: `tolerance` before the newest outcome, or an instant held."""
        held = _instant(hold)
        newest = NONE if clock is None else clock - self._tolerance
        return newest if held is None else min(newest, held)

    def _check(self, one: Outcome) -> None:
        self.slot(one.scene)
        if one.label not in (0, 1):
            raise TrainerError(f"Event {one.event_id}: its label is {one.label!r}, expected 0 or 1.")

    def _changed(self, blobs: Blobs, outcomes: list[Outcome], counts: list[int]) -> Blobs:
        applying = Applying(blobs, len(self._slots), self.settings.history_length)
        hold, new = blobs[HOLD], list[Outcome]()
        clock = _instant(blobs[_CLOCK])
        for one in outcomes:
            there = applying.applied_with(one)
            if there is not None:
                if there != noted(one):
                    raise OtherOutcomeError(
                        f"Event {one.event_id} was applied with label {there.split()[1]}, known at "
                        f"{_text(int(there.split()[0]))}; now its label is {one.label}, known at "
                        f"{_text(one.known_at)}. An outcome can't change."
                    )
                continue
            if one.known_at < self._settled(clock, hold):
                raise OldOutcomeError(
                    f"Event {one.event_id} became known at {_text(one.known_at)}, but the state has outcomes until "
                    f"{_text(clock)} and takes none that is more than {self.settings.tolerance} s older. Apply "
                    "outcomes in the order in which they became known, or build the state anew."
                )
            clock = one.known_at if clock is None else max(clock, one.known_at)
            applying.count(one, self._slots[one.scene], self._settled(clock, hold))
            new.append(one)
        if new:
            applying.put(_CLOCK, str(clock).encode())
        if new and self.settings.rows:
            self._keep(new, applying)
        counts.append(len(new))
        return applying.changed

    def _keep(self, new: list[Outcome], applying: Applying) -> None:
        """Keep outcomes as whole rows: with the features that their events had, whatever became known since."""
        assert self.whole is not None
        try:
            rows = self.whole(new, lambda requests: self._gathered(requests, GRAINS, applying.read))
        except OldRequestError as error:
            raise OldOutcomeError(
                f"This state keeps outcomes as whole rows, with the features that their events had then. {error} Apply "
                "outcomes sooner after their events, or build the state with a larger --tolerance."
            ) from None
        applying.keep(new, rows)


def _instant(blob: bytes | None) -> int | None:
    return None if blob is None else int(blob)


def _text(micros: int | None) -> str:
    assert micros is not None
    return datetime.fromtimestamp(micros / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def _other_settings(there: dict[str, Any], wanted: dict[str, Any]) -> str:
    differ = [name for name in wanted if there.get(name) != wanted[name]]
    return (
        f"There is a state of other settings already ({', '.join(differ)} differ): the mart, its vars or its SQL have "
        "changed since. Build the new one in another place, and remove the old one when nothing reads it any more."
    )
