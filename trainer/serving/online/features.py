"""Features at request time: whatever serves, and the replay that proves it, asks here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from trainer.base.errors import TrainerError
from trainer.contract.schema import Contract
from trainer.serving.online.event_rows import EventRows
from trainer.serving.online.formulas import Computed, Formulas, history_columns, history_lists, type_of
from trainer.serving.online.gathered import Gathered
from trainer.serving.online.keys import GRAINS, Outcome, Request, row_key
from trainer.serving.online.moments import DAY
from trainer.serving.online.state import Settings, State
from trainer.serving.online.stores import Store
from trainer.serving.online.supplied import HISTORY_LISTS, MICROS
from trainer.serving.online.texts import Texts
from trainer.serving.online.values import Value
from trainer.serving.online.whole_rows import OfMart, decoded, kept_columns, of_state

NOT_SERVED = ("key", "label", "split", "time")  # roles that aren't features of a request


class Online:
    """A state and the formulas over it.

    `columns`: what it computes; `batch_only`: what the mart has and it doesn't, with the reason; `inputs`: what the
    columns are computed from (`request.item_title`, `user.n_clicks_cum`).
    """

    def __init__(self, store: Store, columns: Collection[str] | None = None):
        """columns: those that are wanted; default: all."""
        self.state = State(store)
        settings = self.settings = self.state.settings
        wanted = [c["name"] for c in settings.columns if c["role"] not in NOT_SERVED]
        wanted = [name for name in wanted if columns is None or name in columns]
        self._formulas = Formulas(settings.models, settings.mart, len(settings.scenes), wanted)
        self._history = history_columns(settings.models, settings.mart, len(settings.scenes))
        self._texts = Texts(settings.models)
        read = {name.partition(".")[0] for name in self._formulas.inputs}
        self._grains = tuple(grain for grain in GRAINS if grain in read)
        lists = {f"history.{column}" for column in HISTORY_LISTS}
        counted = (n for n in self._formulas.inputs if n.partition(".")[0] in GRAINS and n not in lists)
        self._counted = tuple(counted)
        self.columns, self.batch_only = self._formulas.columns, self._formulas.batch_only
        self.inputs = frozenset(self._formulas.inputs)
        self.types = self._formulas.types
        self.kept = kept_columns(settings.columns, (*NOT_SERVED, "history"))  # an outcome's own history is never read
        if settings.rows:
            everything = self if columns is None else Online(store)
            self.state.whole = of_state(lambda events, found: everything.compute(events, found).table(), self.kept)

    def features(self, events: pa.Table) -> pa.Table:
        """The features of requests, which have the columns of `stg_events`. Shapes: B rows -> B rows."""
        rows = EventRows.of(events)
        return self.compute(rows, self.gather(requests_of(rows))).table()

    def gather(self, requests: Sequence[Request], *more: str) -> Gathered:
        """What the state has for these requests now: the part of `features` that must not wait. more: other grains."""
        return self.state.gather(requests, (*self._grains, *more))

    def past(self, user_id: str, event_ids: Sequence[str]) -> pa.Table:
        """Outcomes of a user as whole rows: OWN of whole_rows.py and the columns that are computed here."""
        keys = [row_key(user_id, event) for event in event_ids]
        blobs = self.state.store.get(keys)
        types = {name: kind for name, kind in self.types.items() if name in self.kept}
        return decoded([blob for key in keys if (blob := blobs[key]) is not None], self.kept, types)

    def compute(self, events: EventRows, gathered: Gathered) -> Computed:
        """The features from what was gathered: the part that needs no state."""
        counts = self.state.counts(gathered)
        given = _Given(events, self._texts, lambda: counts.outcomes, self._history.columns)
        given.update(counts.values(self._counted))
        return self._formulas(len(events), given)

    def outcomes(self, events: pa.Table | EventRows) -> list[Outcome]:
        """Events with known_at and label as the state counts them."""
        events = EventRows.of(events)
        if not len(events):
            return []
        values = self._history(len(events), _Given(events, self._texts)).table()
        listed = zip(*(values[name].to_pylist() for name in self._history.columns), strict=True)
        columns = [events.values(name) for name in ("event_id", "user_id", "item_id", "scene", "known_at", "label")]
        places = ((events, place) for place in range(len(events)))
        rows = zip(*columns, map(list, listed), *_texts_of(events), events.values("event_at"), places, strict=True)
        return [Outcome(*row) for row in rows]

    def parts(self, events: pa.Table) -> Iterator[pa.Table]:
        """Events by known_at in parts that can be applied at once: of a state that computes whole rows, by time.

        A whole row has the features of its event's instant; when its part is applied, that may be `tolerance` ago.
        """
        if not self.settings.rows or isinstance(self.state.whole, OfMart) or not len(events):
            yield events
            return
        rows, tolerance, first = EventRows.of(events), self.settings.tolerance * 1_000_000, 0
        oldest = rows.values("event_at")[0]
        for place, (at, known_at) in enumerate(zip(rows.values("event_at"), rows.values("known_at"), strict=True)):
            oldest = min(oldest, at)
            if known_at - tolerance > oldest and place > first:
                yield events.slice(first, place - first)
                first, oldest = place, at
        yield events.slice(first)

    def apply(self, events: pa.Table | EventRows) -> int:
        """Count the outcomes of events, each once; return how many were new."""
        return self.state.apply(self.outcomes(events))


class _Given(dict[str, Any]):
    """What supplies formulas, by name: counts as they were put in, columns of the events when they are asked for."""

    def __init__(
        self,
        events: EventRows,
        texts: Texts,
        outcomes: Callable[[], list[list[list[Any]]]] = list,
        of_history: tuple[str, ...] = (),
    ):
        super().__init__()
        self._events, self._texts, self._outcomes, self._of_history = events, texts, outcomes, of_history

    def __missing__(self, name: str) -> pa.Array | Value:
        found = self._made(name)
        self[name] = found
        return found

    def _made(self, name: str) -> pa.Array | Value:
        group, _, column = name.partition(".")
        if group == "history" and column in HISTORY_LISTS and self._of_history:
            return history_lists(self._outcomes(), column, self._of_history)
        if group == "texts":
            return pa.array(self._ids(column), type_of(name))
        if group == "request":
            if (shared := self._shared(name, column)) is not None:
                return shared
            if name == MICROS:
                return self._events["event_at"].cast(pa.int64())
            if column == "event_date":
                return self._events["event_at"].cast(pa.date32())
            if column in self._events:
                return self._events[column]
        return pa.nulls(len(self._events), type_of(name))

    def _shared(self, name: str, column: str) -> Value | None:
        """The one value of all rows as NumPy has it, if it is one of the few kinds that serving asks for."""
        if name == MICROS or column in ("event_at", "event_date"):
            at = self._events.shared.get("event_at")
            return None if at is None else Value(np.int64(at // DAY if column == "event_date" else at))
        text = self._events.shared.get(column)
        return Value(np.array(text, object)) if isinstance(text, str) else None

    def _ids(self, column: str) -> list[Any]:
        if column == "item_entity_ids":
            return self._texts.of_lists(_values(self._events, "item_entities"))
        users = self._texts.of_users(_values(self._events, "user_texts"))
        return [one if column == "text_id" else ids for one, ids in users]


def requests_of(events: EventRows) -> list[Request]:
    return list(map(Request, *(events.values(name) for name in ("user_id", "item_id", "scene", "event_at"))))


def settings_of(contract: Contract, models: dict[str, str], tolerance: int, rows: bool = False) -> Settings:
    """What a state for a mart must know. models: the SQL of the mart and of all that it reads.

    rows: whether outcomes are kept as whole rows too.
    """
    variables = dict(contract.variables)
    if "history_length" not in variables:
        raise TrainerError(
            f"{contract.folder} doesn't say how many outcomes a history has (history_length): it was built by an "
            "earlier version, or isn't a mart of version 2. Run `dbt build`."
        )
    return Settings(
        mart=contract.folder.name,
        dataset=contract.dataset,
        scenes=contract.scenes,
        history_length=int(variables["history_length"]),
        columns=tuple({"name": c.name, "role": c.role} for c in contract.columns),
        variables=variables,
        models=models,
        tolerance=tolerance,
        checksums=contract.lineage["node_checksums"],
        rows=rows,
    )


def _texts_of(events: EventRows) -> tuple[list[tuple[str | None, ...]], list[tuple[str | None, ...]]]:
    """The texts of each event's item and user; an empty tuple where it has none."""
    columns = [_values(events, name) for name in ("item_title", "item_entities", "user_texts")]
    items = [pair if any(pair) else () for pair in zip(*columns[:2], strict=True)]
    return items, [tuple(one) if one and any(one) else () for one in columns[2]]


def _values(events: EventRows, name: str) -> list[Any]:
    return events.values(name) if name in events else [None] * len(events)
