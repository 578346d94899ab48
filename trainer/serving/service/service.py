"""What the service does, without HTTP: score candidates, apply outcomes, say how it is. One thread calls it."""

from __future__ import annotations

import math
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from trainer.base.errors import TrainerError
from trainer.serving.online.event_rows import EventRows
from trainer.serving.online.scorer import Scorer
from trainer.serving.online.state import OldOutcomeError, OldRequestError, OtherOutcomeError, State
from trainer.serving.online.stores import StoreError
from trainer.serving.service.bodies import HealthAnswer, Names
from trainer.serving.service.served import ServedLog, served_rows
from trainer.serving.service.tables import candidate_rows, outcome_rows

if TYPE_CHECKING:
    from trainer.serving.service.metrics import Metrics

_AHEAD = 60  # seconds by which another machine's clock may be ahead of ours, within the state's tolerance
_REMEMBERED = 100_000  # ids of events that were scored
_ITEM_TEXTS = {"request.item_title", "request.item_entities", "texts.item_entity_ids"}
_USER_TEXTS = {"request.user_texts", "texts.text_id", "texts.entity_text_ids"}


class RefusedError(Exception):
    """A request that can't be answered: the status and a sentence."""

    def __init__(self, status: int, sentence: str):
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


class Service:
    """A run over a state."""

    def __init__(self, scorer: Scorer, run: Path, metrics: Metrics, served: ServedLog | None = None):
        self._scorer, self._run, self._metrics, self._served = scorer, run, metrics, served
        self._online = scorer.online
        self.names = Names.of(self._online.settings)
        self._reads_item_texts = bool(self._online.inputs & _ITEM_TEXTS)
        self._reads_user_texts = bool(self._online.inputs & _USER_TEXTS)
        self._scored = OrderedDict[str, None]()
        self._now = _later_clock()
        self._newest: int | None = None  # the state's clock as it was last seen

    def score(self, body: Any) -> bytes:
        """The answer to a request, as JSON. Raises: RefusedError, StoreError."""
        now = self._now()
        at = body.event_at or now
        before = self._newest  # the clock can't be earlier than this when it is read below
        events = self._with_known_texts(candidate_rows(body, at, self.names))
        try:
            scored = self._scorer.score(events)
        except OldRequestError as error:
            self.clock(self._online.state)  # a state that has lost outcomes says so
            raise RefusedError(409, str(error)) from None
        self._check_clock(scored.clock, before)
        request_id = body.request_id or uuid.uuid4().hex
        self._metrics.candidates.observe(len(events))
        self._remember(one.event_id for one in body.candidates)
        features = scored.features if self._served is not None or body.features else None
        if self._served is not None:
            assert features is not None
            self._served.add(served_rows(request_id, now, events, scored.probability_B, features))
        rows = features.to_pylist() if body.features and features is not None else None
        candidates = []
        for i, (one, probability) in enumerate(zip(body.candidates, scored.probability_B.tolist(), strict=True)):
            answer = {"item_id": one.item_id, "event_id": one.event_id, "probability": probability}
            candidates.append(answer if rows is None else answer | {"features": _as_json(rows[i])})
        return msgspec.json.encode({"request_id": request_id, "event_at": _said(at), "candidates": candidates})

    def apply(self, events: Sequence[Any]) -> dict[str, int]:
        """Apply outcomes, all of them or none: how many were new and repeated. Raises: RefusedError, StoreError."""
        (answer,) = self.apply_all([events])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def apply_all(self, requests: Sequence[Sequence[Any]]) -> list[dict[str, int] | Exception]:
        """Several requests in one transaction: what each of them is answered. One that can't be applied harms no other.

        Raises: StoreError.
        """
        self.clock(self._online.state)
        now = self._now()
        answers: list[dict[str, int] | Exception | None] = [self._refusal(events, now) for events in requests]
        good = [i for i, refusal in enumerate(answers) if refusal is None]
        groups = [good] if good else []
        while groups:
            group = groups.pop()
            try:
                for i, n_new in zip(group, self._applied([requests[i] for i in group], now), strict=True):
                    answers[i] = {"new": n_new, "repeated": len(requests[i]) - n_new}
            except RefusedError as error:
                if len(group) == 1:
                    answers[group[0]] = error
                else:
                    groups += [[i] for i in reversed(group)]  # each by itself, in the order in which they came
        return [self._counted(events, answer) for events, answer in zip(requests, answers, strict=True)]

    def _counted(self, events: Sequence[Any], answer: dict[str, int] | Exception | None) -> dict[str, int] | Exception:
        assert answer is not None
        if isinstance(answer, Exception):
            self._metrics.outcomes.labels("refused").inc(len(events))
            return answer
        for result, n in answer.items():
            self._metrics.outcomes.labels(result).inc(n)
        self._metrics.never_scored.inc(sum(one.event_id not in self._scored for one in events))
        return answer

    def _refusal(self, events: Sequence[Any], now: datetime) -> RefusedError | None:
        """Why these outcomes can't be, whatever the state has; None if they can."""
        ahead = timedelta(seconds=min(_AHEAD, self._online.settings.tolerance))
        for i, one in enumerate(events):
            known_at = one.known_at or now
            if known_at < one.event_at:
                return RefusedError(
                    422,
                    f"{_place(events, i)}known_at, {_said(known_at)}, is before event_at, {_said(one.event_at)}. An "
                    "outcome can't be known before its event.",
                )
            if known_at > now + ahead:
                return RefusedError(
                    422,
                    f"{_place(events, i)}known_at, {_said(known_at)}, lies in the future: it is {_said(now)} here. It "
                    f"may be at most {ahead.seconds} s ahead, since what becomes known before the newest outcome would "
                    "soon be too old. Send an outcome when it is known.",
                )
        return None

    def _applied(self, requests: Sequence[Sequence[Any]], now: datetime) -> list[int]:
        """Apply the outcomes of all requests, or none: how many of each were new. Raises: RefusedError, StoreError."""
        events = [one for of_request in requests for one in of_request]
        tries = 2 if any(one.known_at is None for one in events) else 1  # another process may apply the same event
        while True:
            tries -= 1
            known = self._online.state.known_at([one.event_id for one in events])
            try:
                self._online.apply(outcome_rows(events, _known_at(events, known, now), self.names))
                break
            except OtherOutcomeError as error:
                if not tries:
                    raise RefusedError(409, str(error)) from None
            except OldOutcomeError as error:
                raise RefusedError(409, str(error)) from None
            except StoreError:
                raise
            except TrainerError as error:
                raise RefusedError(422, str(error)) from None
        counts, seen = [], set(known)
        for of_request in requests:
            ids = {one.event_id for one in of_request}
            counts.append(len(ids - seen))
            seen |= ids
        return counts

    def _with_known_texts(self, events: EventRows) -> EventRows:
        """The candidates, those without texts with the latest known ones, where the run reads texts."""
        state = self._online.state
        if self._reads_item_texts:
            ids, titles, entities = (list(events.values(name)) for name in ("item_id", "item_title", "item_entities"))
            lacking = [i for i in range(len(events)) if titles[i] is None and entities[i] is None]
            if lacking and (known := state.known_texts("item", sorted({ids[i] for i in lacking}))):
                for i in lacking:
                    titles[i], entities[i] = known.get(ids[i], (None, None))
                events = events.replaced("item_title", titles).replaced("item_entities", entities)
        if self._reads_user_texts and events.values("user_texts")[0] is None:
            user = events.values("user_id")[0]
            if texts := state.known_texts("user", [user]).get(user):
                events = events.replaced("user_texts", [texts] * len(events))
        return events

    def _remember(self, event_ids: Any) -> None:
        self._scored.update(dict.fromkeys(one for one in event_ids if one is not None))
        while len(self._scored) > _REMEMBERED:
            self._scored.popitem(last=False)

    def clock(self, state: State) -> int | None:
        """The clock of the state, read through any connection to it, from any thread.

        Raises: StoreError where the state has fewer outcomes than it had.
        """
        before = self._newest  # another thread may see a later one while this one reads
        clock = state.clock
        self._check_clock(clock, before)
        return clock

    def _check_clock(self, clock: int | None, before: int | None) -> None:
        """Raises: StoreError where a state that had outcomes until `before` has fewer."""
        if before is not None and (clock is None or clock < before):
            now = "is empty" if clock is None else f"has outcomes until {_said(_at(clock))}"
            raise StoreError(
                f"The state lost outcomes: it had them until {_said(_at(before))}, and now {now}. Its store was put "
                "back or started without its data. Apply the missing ones with `trainer state apply`, or build it "
                "anew; until then its features would be wrong."
            )
        self._newest = clock

    def health(self, clock: int | None) -> HealthAnswer:
        """clock: the state's, read just now."""
        at = None if clock is None else _at(clock)
        model = self._scorer.model
        return HealthAnswer(
            status="ok",
            run=str(self._run),
            stage=model.fitted.stage.stage,
            mart=self._online.settings.mart,
            n_features=len(model.required.names),
            state_clock=None if at is None else _said(at),
            seconds_behind=None if at is None else (datetime.now(UTC) - at).total_seconds(),
        )

    def close(self) -> None:
        if self._served is not None:
            self._served.close()
        self._online.state.store.close()


def _known_at(events: Sequence[Any], known: Mapping[str, int], now: datetime) -> list[datetime]:
    """When each outcome became known: a repeated one that doesn't say it, when it was applied first."""
    return [one.known_at or (_at(known[one.event_id]) if one.event_id in known else now) for one in events]


def _at(micros: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros)


def _said(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _place(events: Sequence[Any], i: int) -> str:
    return f"[{i}]." if len(events) > 1 else ""


def _as_json(row: dict[str, Any]) -> dict[str, Any]:
    """A row of features in JSON's types: a number that isn't finite is null, a date a text."""
    return {name: _json_value(value) for name, value in row.items()}


def _json_value(value: Any) -> Any:
    if isinstance(value, list):
        return [_json_value(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _later_clock() -> Callable[[], datetime]:
    """Now, each time later than the time before: what was posted first is known first."""
    last = datetime.fromtimestamp(0, UTC)

    def now() -> datetime:
        nonlocal last
        last = max(datetime.now(UTC), last + timedelta(microseconds=1))
        return last

    return now
