"""Ids of texts at request time, by the SQL of the models that make them, each distinct text once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from trainer.serving.online.sql_tree import nodes, parsed, sql_of

_MODELS = ("int_entity_lists", "int_user_texts")
_MOST = 200_000  # distinct texts kept of each kind


class Texts:
    """Entity lists and users' texts -> ids, as `int_entity_lists` and `int_user_texts` have them."""

    def __init__(self, models: Mapping[str, str]):
        self._connection = duckdb.connect(config={"threads": 1})
        steps = ", ".join(f"_{name} as ({self._renamed(models[name])})" for name in _MODELS)
        self._query = f"with _stg_events as (select * from texts), {steps}"
        self._lists: dict[str | None, list[int] | None] = {None: None}
        self._users: dict[tuple[str | None, ...] | None, tuple[int | None, list[int] | None]] = {None: (None, None)}

    def of_lists(self, entity_lists: Sequence[str | None]) -> list[list[int] | None]:
        """The ids of each list's entities."""
        new = {one for one in entity_lists if one not in self._lists}
        if new:
            if len(self._lists) > _MOST:
                self._lists, new = {None: None}, set(entity_lists) - {None}
            rows = self._run(sorted(new, key=str), [], "select entity_list, text_ids from _int_entity_lists")
            self._lists |= dict.fromkeys(new) | dict(rows)
        return [self._lists[one] for one in entity_lists]

    def of_users(self, user_texts: Sequence[Sequence[str | None] | None]) -> list[tuple[int | None, list[int] | None]]:
        """The id of each user's text as a whole, and those of its entities."""
        wanted = [None if one is None else tuple(one) for one in user_texts]
        new = {one for one in wanted if one not in self._users}
        if new:
            if len(self._users) > _MOST:
                self._users, new = {None: (None, None)}, set(wanted) - {None}
            rows = self._run([], list(new), "select user_texts, text_id, entity_text_ids from _int_user_texts")
            self._users |= dict.fromkeys(new, (None, None)) | {tuple(texts): (one, ids) for texts, one, ids in rows}
        return [self._users[one] for one in wanted]

    def _run(self, lists: list[Any], users: list[Any], select: str) -> list[tuple[Any, ...]]:
        n = max(len(lists), len(users))
        nothing: list[Any] = [None] * n
        table = pa.table(
            {
                "item_entities": pa.array(lists or nothing, pa.string()),
                "user_texts": pa.array([list(one) for one in users] or nothing, pa.list_(pa.string())),
                "event_date": pa.nulls(n, pa.date32()),
            }
        )
        self._connection.register("texts", table)
        try:
            return self._connection.execute(f"{self._query} {select}").fetchall()
        finally:
            self._connection.unregister("texts")

    def _renamed(self, sql: str) -> str:
        """The SQL, reading the steps of the query here instead of the warehouse's relations."""
        tree = parsed(self._connection, sql)
        for node in nodes(tree):
            if node.get("type") == "BASE_TABLE" and node.get("schema_name"):
                node["alias"] = node["alias"] or node["table_name"]
                node["table_name"] = f"_{node['table_name']}"
                node["schema_name"] = node["catalog_name"] = ""
                if "qualified_name" in node:
                    node["qualified_name"] = {"path": [node["table_name"]]}
        return sql_of(self._connection, tree)
