"""Features at request time: whatever serves, and the replay that proves it, asks here."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from trainer.contract.schema import Contract
from trainer.serving.online.formulas import Formulas, counts_as_arrow, history_columns, type_of
from trainer.serving.online.keys import Outcome, Request
from trainer.serving.online.state import Gathered, Settings, State
from trainer.serving.online.stores import Store
from trainer.serving.online.supplied import MICROS, REQUEST
from trainer.serving.online.texts import Texts

NOT_SERVED = ("key", "label", "split", "time")  # roles that aren't features of a request


class Online:
    """A state and the formulas over it.

    `columns`: what it computes; `batch_only`: what the mart has and it doesn't, with the reason.
    """

    def __init__(self, store: Store):
        self.state = State(store)
        settings = self.settings = self.state.settings
        wanted = [c["name"] for c in settings.columns if c["role"] not in NOT_SERVED]
        self._formulas = Formulas(settings.models, settings.mart, len(settings.scenes), wanted)
        self._history = history_columns(settings.models, settings.mart, len(settings.scenes))
        self._texts = Texts(settings.models)
        self.columns, self.batch_only = self._formulas.columns, self._formulas.batch_only

    def features(self, events: pa.Table) -> pa.Table:
        """The features of requests, which have the columns of `stg_events`. Shapes: B rows -> B rows."""
        return self.compute(events, self.gather(events))

    def gather(self, events: pa.Table, into: Gathered | None = None) -> Gathered:
        """What the state has for these requests now: the part of `features` that must not wait."""
        return self.state.gather(requests_of(events), into)

    def compute(self, events: pa.Table, gathered: Gathered) -> pa.Table:
        """The features from what was gathered: the part that needs no state."""
        supplied = self._supplied(events)
        supplied |= counts_as_arrow(self.state.counts(gathered), list(self._history.columns))
        return self._formulas(supplied)

    def outcomes(self, events: pa.Table) -> list[Outcome]:
        """Events with known_at and label as the state counts them."""
        if not len(events):
            return []
        supplied = self._supplied(events) | {"history.position": pa.nulls(len(events), pa.int64())}
        values = self._history(supplied)
        listed = zip(*(values[name].to_pylist() for name in self._history.columns), strict=True)
        columns = [events[name].to_pylist() for name in ("event_id", "user_id", "item_id", "scene")]
        known_at = pc.cast(events["known_at"].cast(pa.timestamp("us")), pa.int64()).to_pylist()
        rows = zip(*columns, known_at, events["label"].to_pylist(), map(list, listed), strict=True)
        return [Outcome(*row) for row in rows]

    def apply(self, events: pa.Table) -> int:
        """Count the outcomes of events, each once; return how many were new."""
        return self.state.apply(self.outcomes(events))

    def _supplied(self, events: pa.Table) -> dict[str, pa.Array]:
        n = len(events)
        out: dict[str, Any] = {}
        for name in REQUEST:
            kind = type_of(f"request.{name}")
            there = name in events.column_names
            out[f"request.{name}"] = _one(events[name].cast(kind)) if there else pa.nulls(n, kind)
        at = out["request.event_at"]
        out["request.event_date"], out[MICROS] = at.cast(pa.date32()), at.cast(pa.int64())
        entities = self._texts.of_lists(out["request.item_entities"].to_pylist())
        users = self._texts.of_users(out["request.user_texts"].to_pylist())
        for name, values in (
            ("item_entity_ids", entities),
            ("text_id", [one for one, _ in users]),
            ("entity_text_ids", [ids for _, ids in users]),
        ):
            out[f"texts.{name}"] = pa.array(values, type_of(f"texts.{name}"))
        return out


def requests_of(events: pa.Table) -> list[Request]:
    at = pc.cast(events["event_at"].cast(pa.timestamp("us")), pa.int64())
    columns = [events[name].to_pylist() for name in ("user_id", "item_id", "scene")]
    return [Request(*row) for row in zip(*columns, at.to_pylist(), strict=True)]


def settings_of(contract: Contract, models: dict[str, str], tolerance: int) -> Settings:
    """What a state for a mart must know. models: the SQL of the mart and of all that it reads."""
    variables = dict(contract.variables)
    return Settings(
        mart=contract.folder.name,
        dataset=contract.dataset,
        scenes=contract.scenes,
        history_length=int(variables["history_length"]),
        columns=tuple({"name": c.name, "role": c.role} for c in contract.columns),
        variables=variables,
        models=models,
        tolerance=tolerance,
    )


def _one(values: pa.ChunkedArray | pa.Array) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
