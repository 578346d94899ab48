"""Features at request time: whatever serves, and the replay that proves it, asks here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from trainer.base.errors import TrainerError
from trainer.contract.schema import Contract
from trainer.serving.online.formulas import Computed, Formulas, history_columns, history_lists, type_of
from trainer.serving.online.gathered import Gathered
from trainer.serving.online.keys import GRAINS, Outcome, Request
from trainer.serving.online.state import Settings, State
from trainer.serving.online.stores import Store
from trainer.serving.online.supplied import HISTORY_LISTS, MICROS
from trainer.serving.online.texts import Texts

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

    def features(self, events: pa.Table) -> pa.Table:
        """The features of requests, which have the columns of `stg_events`. Shapes: B rows -> B rows."""
        return self.compute(events, self.gather(requests_of(events))).table()

    def gather(self, requests: Sequence[Request]) -> Gathered:
        """What the state has for these requests now: the part of `features` that must not wait."""
        return self.state.gather(requests, self._grains)

    def compute(self, events: pa.Table, gathered: Gathered) -> Computed:
        """The features from what was gathered: the part that needs no state."""
        counts = self.state.counts(gathered)
        given = _Given(events, self._texts, lambda: counts.outcomes, self._history.columns)
        given.update(counts.values(self._counted))
        return self._formulas(len(events), given)

    def outcomes(self, events: pa.Table) -> list[Outcome]:
        """Events with known_at and label as the state counts them."""
        if not len(events):
            return []
        given = _Given(events, self._texts)
        values = self._history(len(events), given).table()
        listed = zip(*(values[name].to_pylist() for name in self._history.columns), strict=True)
        columns = [events[name].to_pylist() for name in ("event_id", "user_id", "item_id", "scene")]
        known_at = pc.cast(events["known_at"].cast(pa.timestamp("us")), pa.int64()).to_pylist()
        labels = events["label"].to_pylist()
        rows = zip(*columns, known_at, labels, map(list, listed), *_texts_of(given), strict=True)
        return [Outcome(*row) for row in rows]

    def apply(self, events: pa.Table) -> int:
        """Count the outcomes of events, each once; return how many were new."""
        return self.state.apply(self.outcomes(events))


class _Given(dict[str, Any]):
    """What supplies formulas, by name: counts as they were put in, columns of the events when they are asked for."""

    def __init__(
        self,
        events: pa.Table,
        texts: Texts,
        outcomes: Callable[[], list[list[list[Any]]]] = list,
        of_history: tuple[str, ...] = (),
    ):
        super().__init__()
        self._events, self._texts, self._outcomes, self._of_history = events, texts, outcomes, of_history

    def __missing__(self, name: str) -> pa.Array:
        found: pa.Array = self._made(name)
        self[name] = found
        return found

    def _made(self, name: str) -> pa.Array:
        group, _, column = name.partition(".")
        if group == "history" and column in HISTORY_LISTS and self._of_history:
            return history_lists(self._outcomes(), column, self._of_history)
        if group == "texts":
            return pa.array(self._ids(column), type_of(name))
        if name == MICROS:
            return self["request.event_at"].cast(pa.int64())
        if name == "request.event_date":
            return self["request.event_at"].cast(pa.date32())
        if group == "request" and column in self._events.column_names:
            found, kind = self._events[column].combine_chunks(), type_of(name)
            return found if found.type == kind else found.cast(kind)
        return pa.nulls(len(self._events), type_of(name))

    def _ids(self, column: str) -> list[Any]:
        if column == "item_entity_ids":
            return self._texts.of_lists(self["request.item_entities"].to_pylist())
        users = self._texts.of_users(self["request.user_texts"].to_pylist())
        return [one if column == "text_id" else ids for one, ids in users]


def requests_of(events: pa.Table) -> list[Request]:
    at = pc.cast(events["event_at"].cast(pa.timestamp("us")), pa.int64())
    columns = [events[name].to_pylist() for name in ("user_id", "item_id", "scene")]
    return [Request(*row) for row in zip(*columns, at.to_pylist(), strict=True)]


def settings_of(contract: Contract, models: dict[str, str], tolerance: int) -> Settings:
    """What a state for a mart must know. models: the SQL of the mart and of all that it reads."""
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
    )


def _texts_of(given: _Given) -> tuple[list[tuple[str | None, ...]], list[tuple[str | None, ...]]]:
    """The texts of each event's item and user; an empty tuple where it has none."""
    columns = [given[f"request.{name}"].to_pylist() for name in ("item_title", "item_entities", "user_texts")]
    items = [pair if any(pair) else () for pair in zip(*columns[:2], strict=True)]
    return items, [tuple(one) if one and any(one) else () for one in columns[2]]
