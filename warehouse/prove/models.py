"""Which models lie between stg_events and a mart, in an order in which they can be made, and what else they read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import duckdb

from .errors import ProofError

EVENTS = "stg_events"
# Columns of other roles are keys, times, labels and splits: they say which row it is.
PROVEN_ROLES = {"feature", "level", "history", "text_id"}

Node = dict[str, Any]


@dataclass(frozen=True)
class Model:
    """A model that is made anew: its relation as compiled SQL names it, and its SQL."""

    name: str
    relation: str
    sql: str


@dataclass(frozen=True)
class Mart:
    """A mart of events, and the rule that says what its features may see.

    by_day: outcomes known before the event's day. Otherwise those known before its instant.
    """

    name: str
    unique_id: str
    relation: str
    features: tuple[str, ...]
    by_day: bool

    @property
    def rule(self) -> str:
        return f"outcomes known before the event's {'day' if self.by_day else 'instant'}"


@dataclass(frozen=True)
class Models:
    """What is rebuilt from stg_events. inputs: relations read as they were built, since no event is in them."""

    events: str
    models: tuple[Model, ...]
    marts: tuple[Mart, ...]
    inputs: tuple[str, ...]

    @classmethod
    def of(cls, manifest: dict[str, Any]) -> Models:
        """From a manifest in which the models are compiled.

        Raises: ProofError if a model is no SQL, or reads events from elsewhere than stg_events.
        """
        graph = _Graph(manifest)
        models: list[Model] = []
        inputs: dict[str, None] = {}
        for node in graph.between():
            if node["config"]["materialized"] == "ephemeral":
                continue  # part of the SQL of what reads it
            if node.get("language") != "sql":
                raise ProofError(f"{_name(node)} is a Python model: warehouse prove runs SQL models only.")
            models.append(Model(_name(node), node["relation_name"], node["compiled_code"]))
            inputs |= graph.inputs_of(node)
        marts = tuple(_mart(node) for node in graph.marts)
        return cls(graph.events["relation_name"], tuple(models), marts, tuple(inputs))


def nodes_to_compile(manifest: dict[str, Any]) -> list[Node]:
    """The models between stg_events and the marts, parents first.

    Raises: ProofError if the project has no stg_events or no mart with a label.
    """
    return list(_Graph(manifest).between())


def _mart(node: Node) -> Mart:
    features = tuple(name for name, column in node["columns"].items() if _role(column) in PROVEN_ROLES)
    # v1 of training_examples is the snapshot of a day, whatever comes later is up to the instant.
    by_day = node["name"] == "training_examples" and node.get("version") == 1
    return Mart(_name(node), node["unique_id"], node["relation_name"], features, by_day)


def _name(node: Node) -> str:
    """As users write it: training_examples_v2."""
    return node.get("alias") or node["name"]


def _role(column: dict[str, Any]) -> str | None:
    config = column.get("config") or {}
    return (config.get("meta") or column.get("meta") or {}).get("role")


class _Graph:
    def __init__(self, manifest: dict[str, Any]):
        self.nodes: dict[str, Node] = {
            key: node
            for key, node in {**manifest["nodes"], **manifest["sources"]}.items()
            if node["resource_type"] in ("model", "seed", "snapshot", "source")
        }
        found = [node for node in self.nodes.values() if node["name"] == EVENTS and node["resource_type"] == "model"]
        if not found:
            raise ProofError(
                f"This project has no model {EVENTS}. Expected a project that uses this warehouse: one that"
                " warehouse init has written, or a checkout; --project-dir says where it is."
            )
        self.events = found[0]
        self.marts = sorted(
            (node for node in self.nodes.values() if self._is_mart(node)),
            key=lambda node: (node["name"], node.get("version") or 0),
        )
        if not self.marts:
            raise ProofError(
                f"No model that reads {EVENTS} has a column with the role label and one with the role feature in its"
                " yml, so nothing can be proven. Expected training_examples, or a mart of your own with such columns."
            )

    def _is_mart(self, node: Node) -> bool:
        roles = {_role(column) for column in node.get("columns", {}).values()}
        is_of_events = "event_id" in node.get("columns", {}) and "label" in roles and roles & PROVEN_ROLES
        return bool(is_of_events) and self.events["unique_id"] in self.above(node["unique_id"])

    def parents(self, key: str) -> list[str]:
        return [name for name in self.nodes[key].get("depends_on", {}).get("nodes", []) if name in self.nodes]

    def above(self, key: str) -> frozenset[str]:
        """All that a node is made of, directly or not."""
        found: set[str] = set()
        waiting = self.parents(key)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += self.parents(name)
        return frozenset(found)

    def between(self) -> Iterator[Node]:
        """The models that read stg_events, directly or not, and that a mart is made of: parents first."""
        done: set[str] = set()

        def visit(key: str) -> Iterator[Node]:
            if key in done or self.events["unique_id"] not in self.above(key):
                return
            done.add(key)
            for parent in self.parents(key):
                yield from visit(parent)
            yield self.nodes[key]

        for mart in self.marts:
            yield from visit(mart["unique_id"])

    def inputs_of(self, node: Node) -> dict[str, None]:
        """What a model reads besides stg_events and its descendants.

        Raises: ProofError if that is what stg_events is made of: events that no alteration reaches.
        """
        # A dependency may be there for the order of the build alone: what is read, DuckDB's parser says.
        read = _tables_of(node["compiled_code"])
        past = self.above(self.events["unique_id"])
        found: dict[str, None] = {}
        for key in self.parents(node["unique_id"]):
            parent = self.nodes[key]
            relation = parent.get("relation_name") or ""
            is_read = bool(relation) and _plain(relation) in read
            if key in past and (is_read or parent["resource_type"] == "source"):
                raise ProofError(
                    f"{_name(node)} reads {_name(parent)}, which {EVENTS} is made of: events that come that way can't"
                    f" be altered, so nothing is proven. Read {{{{ ref('{EVENTS}') }}}} instead."
                )
            if is_read and key != self.events["unique_id"] and self.events["unique_id"] not in self.above(key):
                found[relation] = None
        return found


def _plain(relation: str) -> str:
    return relation.replace('"', "").lower()


def _tables_of(sql: str) -> set[str]:
    """The names of the tables that a query reads, unquoted; those of its CTEs too."""
    with duckdb.connect() as connection:
        parsed = connection.execute("select json_serialize_sql(?)", [sql]).fetchall()[0][0]

    def names(part: Any) -> Iterator[str]:
        if isinstance(part, list):
            for each in part:
                yield from names(each)
        elif isinstance(part, dict):
            if part.get("type") == "BASE_TABLE":
                words = (part.get(key) for key in ("catalog_name", "schema_name", "table_name"))
                yield ".".join(word for word in words if word)
            yield from names(list(part.values()))

    return {name.lower() for name in names(json.loads(parsed))}
