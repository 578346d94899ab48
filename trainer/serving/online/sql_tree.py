"""A query as DuckDB's own parser reads it: a tree of nodes, so what it means is what DuckDB means by it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import duckdb

from trainer.serving.online.relations import NotServedError

Node = dict[str, Any]


def parsed(connection: duckdb.DuckDBPyConnection, sql: str) -> Node:
    """Raises: NotServedError for SQL that DuckDB doesn't read."""
    ((text,),) = connection.execute("select json_serialize_sql($1)", [sql]).fetchall()
    found: Node = json.loads(text)
    if found["error"]:
        raise NotServedError(f"DuckDB can't read its SQL ({found.get('error_message')})")
    return found


def sql_of(connection: duckdb.DuckDBPyConnection, tree: Node) -> str:
    """The query that a tree stands for."""
    ((text,),) = connection.execute("select json_deserialize_sql($1)", [json.dumps(tree)]).fetchall()
    return str(text)


def reference(*names: str) -> Node:
    """A node that names a column, or a field of one."""
    return {
        "class": "COLUMN_REF",
        "type": "COLUMN_REF",
        "alias": "",
        "query_location": 0,
        "column_names": list(names),
    }


def columns_of(node: Node) -> Iterator[str]:
    """The formulas that a formula is made of (a lambda's parameters have no place among formulas)."""
    hidden = {name for each in nodes(node) if each.get("class") == "LAMBDA" for name in lambda_names(each)}
    for names in column_lists(node):
        if names[0] not in hidden:
            yield names[0]


def column_lists(node: Any) -> Iterator[list[str]]:
    """The names of every column below a node, each with the parts that stand between its dots."""
    for each in nodes(node):
        if each.get("class") == "COLUMN_REF":
            yield each["column_names"]


def nodes(node: Any) -> Iterator[Node]:
    """A node and all below it."""
    if isinstance(node, list):
        for each in node:
            yield from nodes(each)
    elif isinstance(node, dict):
        yield node
        for each in node.values():
            yield from nodes(each)


def lambda_names(node: Node) -> list[str]:
    """The parameters of a lambda."""
    return [names[0] for names in column_lists(node.get("lhs"))]


def last_part(name: Any) -> str:
    """Of a name as DuckDB's parser gives it: a text, a list of its parts, or a mapping with its parts."""
    if isinstance(name, dict):
        return str(name.get("column") or name.get("name") or "?")
    return str(name[-1]) if isinstance(name, list) else str(name)


def equalities(condition: Node, where: str) -> Iterator[tuple[list[str], list[str]]]:
    """The columns that a join's condition says are equal. Raises: NotServedError for any other condition."""
    if condition["type"] == "CONJUNCTION_AND":
        for child in condition["children"]:
            yield from equalities(child, where)
        return
    sides = [condition.get(side) or {} for side in ("left", "right")]
    if condition["type"] != "COMPARE_EQUAL" or any(side.get("class") != "COLUMN_REF" for side in sides):
        raise NotServedError(f"{where} joins by something else than equal columns")
    yield tuple([name.lower() for name in side["column_names"]] for side in sides)  # type: ignore[misc]  # two of them


def not_by_row(node: Node) -> str | None:
    """Why a SELECT's rows aren't its source's rows one by one; None where they are."""
    if node.get("group_expressions") or node.get("aggregate_handling", "STANDARD_HANDLING") != "STANDARD_HANDLING":
        return "groups rows"
    if node.get("having") or node.get("qualify") or node.get("sample"):
        return "chooses rows"
    if any(modifier["type"] != "ORDER_MODIFIER" for modifier in node.get("modifiers", [])):
        return "takes distinct or a part of the rows"
    return None


def literal(node: Node) -> tuple[str, str]:
    """Of a constant: INTEGER, NUMERIC, STRING, BOOLEAN or NULL_LITERAL, and its text; kind "" for another node."""
    found = node.get("literal") or {}
    return str(found.get("kind", "")), str(found.get("text", ""))


def type_name(node: Node) -> str:
    """The type of a cast, in lower case; "" for one with parameters."""
    type_expr = node.get("type_expr") or {}
    return "" if type_expr.get("children") else str(type_expr.get("type_name", "")).lower()
