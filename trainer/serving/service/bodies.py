"""What the service reads and answers. The names of context and scenes are those of the state's mart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, WithJsonSchema, create_model
from pydantic_core import PydanticCustomError

from trainer.base.errors import nearest
from trainer.serving.online.state import Settings
from trainer.serving.service.values import ContextId, Id, Instant, Label, Number, Text, shown, text

MOST_OUTCOMES = 1000  # in one request
ONE, SEVERAL = "one event", "a list of events"
_STRICT = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Problem(Strict):
    """Why a request wasn't answered."""

    detail: Annotated[str, Field(description="What was expected, what was found, and what to do.")]


class ScoredCandidate(Strict):
    item_id: str
    event_id: str | None = None
    probability: Annotated[float, Field(ge=0, le=1)]
    features: Annotated[
        dict[str, Any] | None,
        Field(description="What the model read, by the names of the mart; only where they were asked for."),
    ] = None


class ScoreAnswer(Strict):
    """One entry per candidate, in the order of the request."""

    request_id: str
    event_at: Annotated[str, Field(description="The instant that the features are as of, UTC.")]
    candidates: list[ScoredCandidate]


class OutcomeAnswer(Strict):
    new: Annotated[int, Field(description="Outcomes that count from now on.")]
    repeated: Annotated[int, Field(description="Outcomes that were applied before, or stood twice in the list.")]


class HealthAnswer(Strict):
    status: Literal["ok"]
    run: str
    stage: str
    mart: str
    n_features: Annotated[int, Field(description="Columns of the mart that the model reads.")]
    state_clock: Annotated[str | None, Field(description="When the newest outcome became known, UTC.")]
    seconds_behind: Annotated[float | None, Field(description="From then until now.")]


@dataclass(frozen=True)
class Names:
    """The names by which context and users' texts are given, in the order of their lists."""

    scenes: tuple[str, ...]
    dense: tuple[str, ...]
    ids: tuple[str, ...]
    user_texts: tuple[str, ...]

    @classmethod
    def of(cls, settings: Settings) -> Names:
        lists = (tuple(settings.variables.get(name) or ()) for name in ("ctx_dense", "ctx_ids", "user_text_parts"))
        return cls(settings.scenes, *lists)

    @property
    def context(self) -> tuple[str, ...]:
        return (*self.dense, *self.ids)


@dataclass(frozen=True)
class Bodies:
    """The models of the two requests."""

    score: type[BaseModel]
    outcomes: Any
    event: type[BaseModel]
    candidate: type[BaseModel]
    context: type[BaseModel]

    @classmethod
    def of(cls, names: Names, max_candidates: int) -> Bodies:
        context: Any = _context_model(names)
        shared: dict[str, Any] = {
            "user_id": (Id, ...),
            "scene": (_scene_type(names.scenes), ...),
            "context": (
                context | None,
                Field(None, description="What came with the impression, by name; a name left out is NULL."),
            ),
            "user_texts": (
                _user_texts_type(names.user_texts),
                Field(
                    None,
                    description="The user's texts, by name or in the order of var user_text_parts "
                    f"({', '.join(names.user_texts) or 'the log declares none'}).",
                ),
            ),
        }
        item: dict[str, Any] = {
            "item_id": (Id, ...),
            "item_title": (Text | None, None),
            "item_entities": (Text | None, Field(None, description="Separated by var entity_separator.")),
        }
        candidate = create_model(
            "Candidate",
            __config__=_STRICT,
            __doc__="An item that may be shown. Without title and entities, its latest known ones are used.",
            event_id=(Id | None, Field(None, description="The id that the impression will have in the log.")),
            context=(context | None, Field(None, description="Takes precedence over the request's, by name.")),
            **item,
        )
        score = create_model(
            "ScoreRequest",
            __config__=_STRICT,
            __doc__="The candidates of one user. Without user_texts, the user's latest known ones are used.",
            **shared,
            event_at=(
                Instant | None,
                Field(None, description="The instant, UTC where it has no offset; default: now."),
            ),
            request_id=(
                Id | None,
                Field(None, description="Comes back in the answer and in the log; default: random."),
            ),
            features=(bool, Field(False, strict=True, description="Whether the answer holds the features too.")),
            candidates=(list[candidate], Field(min_length=1, max_length=max_candidates)),  # type: ignore[valid-type]
        )
        outcome = create_model(
            "OutcomeEvent",
            __config__=_STRICT,
            __doc__="An event with its outcome, as the log will have it.",
            **shared,
            event_id=(Id, ...),
            event_at=(Instant, Field(description="When it was shown, UTC where it has no offset.")),
            known_at=(Instant | None, Field(None, description="When the outcome became known; default: now.")),
            label=(Label, ...),
            **item,
        )
        return cls(score, _one_or_several(outcome), outcome, candidate, context)

    def fields(self) -> dict[str, tuple[str, ...]]:
        """The names of each model's fields, by the field that one stands in."""
        of = {"score": self.score, "outcome": self.event, "candidates": self.candidate, "context": self.context}
        return {name: tuple(f.alias or key for key, f in one.model_fields.items()) for name, one in of.items()}


def _one_or_several(one: type[BaseModel]) -> Any:
    """One event, or a list of them; what an error says is of the one that it is."""
    several = Annotated[list[one], Field(min_length=1, max_length=MOST_OUTCOMES)]  # type: ignore[valid-type]
    which = Discriminator(lambda body: SEVERAL if isinstance(body, list) else ONE)
    return Annotated[Annotated[one, Tag(ONE)] | Annotated[several, Tag(SEVERAL)], which]


def _scene_type(scenes: Sequence[str]) -> Any:
    def check(value: Any) -> str:
        found = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if found not in scenes:
            raise PydanticCustomError(
                "value",
                "is {found}{nearest}; expected one of {known}, which the state and the run know. Send one of them, or "
                "add the scene to the log's vars, build the mart and the state, and fit the run anew",
                {
                    "found": shown(value),
                    "nearest": nearest(found, scenes) if isinstance(found, str) else "",
                    "known": ", ".join(scenes),
                },
            )
        return str(found)

    return Annotated[str, BeforeValidator(check), WithJsonSchema({"type": "string", "enum": list(scenes)})]


class _Context(BaseModel):
    model_config = _STRICT

    def given(self) -> dict[str, Any]:
        """The fields that were given."""
        return {name: getattr(self, name) for name in self.model_fields_set}


def _context_model(names: Names) -> type[BaseModel]:
    fields: dict[str, Any] = {
        f"{kind}_{at}": (type_, Field(None, alias=name))
        for kind, type_, of in (("dense", Number | None, names.dense), ("id", ContextId, names.ids))
        for at, name in enumerate(of)
    }
    return create_model("Context", __base__=_Context, __doc__="Numbers and ids that came with it.", **fields)


def _user_texts_type(parts: Sequence[str]) -> Any:
    read = BeforeValidator(partial(user_texts_of, parts))
    item = {"anyOf": [{"type": "string"}, {"type": "null"}]}
    size = {"minItems": len(parts), "maxItems": len(parts)} if parts else {}
    by_name = {"type": "object", "properties": dict.fromkeys(parts, item), "additionalProperties": False}
    kinds = [{"type": "array", "items": item, **size}, by_name, {"type": "null"}]
    return Annotated[list[str | None] | None, read, WithJsonSchema({"anyOf": kinds})]


def user_texts_of(parts: Sequence[str], value: Any) -> list[str | None] | None:
    """A user's texts as a list in the order of `parts`. Raises: PydanticCustomError."""
    known = f"{', '.join(parts)} (var user_text_parts)" if parts else "none: var user_text_parts is empty"
    if isinstance(value, dict):
        for name in value:
            if name not in parts:
                raise PydanticCustomError(
                    "value", "has {name}; known are {known}", {"name": shown(name), "known": known}
                )
        value = [value.get(name) for name in parts]
    if value is None:
        return None
    if not isinstance(value, list) or (parts and len(value) != len(parts)):
        raise PydanticCustomError(
            "value",
            "is {found}; expected an object by name, or a list of texts, one for each of {known}",
            {"found": shown(value), "known": known},
        )
    return [None if one is None else text(one) for one in value]
