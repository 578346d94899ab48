"""The SQL of dbt's models read as formulas of one row: what remains once the state has counted.

A mart's column is followed back through final SELECTs, joins on whole keys and other models until it stands on columns
that are *supplied*: the request's own, or counts by the state. Nothing of a formula is written here. A column that
needs more than its own row and what is supplied (a window, a group, a filter of its own) is not served, and the reason
is said.
DuckDB's own parser reads the SQL, so what it means is what DuckDB means by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import duckdb

from trainer.serving.online.relations import NotServedError, Relation, Steps, Supplied, formula_of, supplied_relation
from trainer.serving.online.sql_tree import (
    Node,
    column_lists,
    columns_of,
    equalities,
    lambda_names,
    last_part,
    literal,
    nodes,
    not_by_row,
    parsed,
    reference,
    sql_of,
)


class RowWise:
    """Formulas by id, each made of others or supplied. SQL comes from `models`, by the identifier of the relation."""

    def __init__(self, models: Mapping[str, str], supplied: Mapping[tuple[str, str], Supplied]):
        self._parser = duckdb.connect()
        self._models = models
        self._supplied = supplied
        self._aggregates = {
            name
            for (name,) in self._parser.execute(
                "select distinct function_name from duckdb_functions() where function_type = 'aggregate'"
            ).fetchall()
        }
        self._relations: dict[str, Relation] = {}
        self.formulas: dict[str, Node] = {}
        self._instants: dict[str, str] = {}  # formula of an instant in microseconds -> formula of the instant

    def declare_micros(self, micros: str, instant: str) -> None:
        """`micros` is the supplied number of microseconds of `instant`: make_timestamp of it is the instant itself."""
        self._instants[micros] = instant

    def model(self, name: str) -> Relation:
        """The columns of a model as formulas of a row."""
        if name not in self._relations:
            self._relations[name] = self._read(name)
        return self._relations[name]

    def needed(self, ids: list[str]) -> list[str]:
        """The supplied columns that these formulas stand on, sorted."""
        seen, waiting = set[str](), list(ids)
        while waiting:
            one = waiting.pop()
            if one not in seen:
                seen.add(one)
                waiting += list(columns_of(self.formulas[one])) if one in self.formulas else []
        return sorted(seen - set(self.formulas))

    def texts(self) -> list[str]:
        """The texts that formulas name, each once, sorted."""
        constants = map(literal, nodes(list(self.formulas.values())))
        return sorted({text for kind, text in constants if kind == "STRING"})

    def sql(self, outputs: Mapping[str, str], source: str) -> str:
        """One query over `source`, which has the supplied columns: formulas of formulas are nested SELECTs."""
        depth: dict[str, int] = {}

        def measure(one: str) -> int:
            if one not in depth:
                below = list(columns_of(self.formulas[one])) if one in self.formulas else None
                depth[one] = 0 if below is None else 1 + max(map(measure, below), default=0)
            return depth[one]

        for one in outputs.values():
            measure(one)
        query = source
        for level in range(1, max(depth.values(), default=0) + 1):
            formulas = {one: self.formulas[one] for one, of in depth.items() if of == level}
            query = f"(select *, {self._text(formulas)} from {query})"
        return self._text({name: reference(one) for name, one in outputs.items()}, f" from {query}", "select ")

    def _text(self, expressions: Mapping[str, Node], after: str = "", before: str = "") -> str:
        if not expressions:
            return ""
        statement = parsed(self._parser, "select 1")
        statement["statements"][0]["node"]["select_list"] = [e | {"alias": name} for name, e in expressions.items()]
        text = sql_of(self._parser, statement)
        return before + text.removeprefix("SELECT ") + after

    def _read(self, name: str) -> Relation:
        if (name, "") in self._supplied:
            return supplied_relation(self._supplied[name, ""], name)
        if name not in self._models:
            return Relation(otherwise=NotServedError(f"it comes from {name}, whose SQL isn't known"))
        self._relations[name] = Relation(otherwise=NotServedError(f"{name} reads itself"))
        try:
            statement = parsed(self._parser, self._models[name])
        except NotServedError as error:
            return Relation(otherwise=NotServedError(f"{name}: {error}"))
        return self._query(statement["statements"][0]["node"], {}, name, "")

    def _query(self, node: Node, outer: Mapping[str, Relation], model: str, step: str) -> Relation:
        steps = Steps(outer)
        for entry in node.get("cte_map", {}).get("map", []):
            key = entry["key"].lower()
            if (model, key) in self._supplied:
                steps.done[key] = supplied_relation(self._supplied[model, key], f"step {key} of {model}")
            else:
                inner = entry["value"].get("query_node") or entry["value"]["query"]["node"]
                steps.waiting[key] = partial(self._query, inner, steps, model, key)
        where = f"{model}.{step}" if step else model
        if node["type"] != "SELECT_NODE":
            return Relation(otherwise=NotServedError(f"{where} puts several queries together"))
        if reason := not_by_row(node):
            return Relation(otherwise=NotServedError(f"{where} {reason}"))
        try:
            sources = self._from(node["from_table"], steps, where)
            self._check_filter(node.get("where_clause"), sources, where)
        except NotServedError as error:
            return Relation(otherwise=error)
        return self._selected(node["select_list"], sources, where)

    def _selected(self, select_list: list[Node], sources: list[tuple[str, Relation]], where: str) -> Relation:
        out = Relation()
        for expression in select_list:
            if expression["class"] == "STAR":
                if any(expression.get(part) for part in ("replace_list", "rename_list", "columns", "expr")):
                    return Relation(otherwise=NotServedError(f"{where} has a * with changes"))
                left_out = {last_part(name).lower() for name in expression.get("exclude_list", [])}
                of = expression.get("relation_name", "").lower()
                for alias, relation in sources:
                    if of in ("", alias):
                        new = {n: c for n, c in relation.columns.items() if n not in left_out | set(out.columns)}
                        out.columns |= new
                        out.otherwise = out.otherwise or relation.otherwise
                        out.keys |= relation.keys
                continue
            name = (expression["alias"] or last_part(expression.get("column_names", ["?"]))).lower()
            try:
                out.columns[name] = self._formula(expression, sources, out, f"{where}.{name}")
            except NotServedError as error:
                out.columns[name] = error
            if name in set().union(*(relation.keys for _, relation in sources)):
                out.keys |= {name}
        return out

    def _formula(self, expression: Node, sources: list[tuple[str, Relation]], earlier: Relation, name: str) -> str:
        def column(names: list[str]) -> Node:
            return reference(*formula_of(names, sources, earlier))

        formula = self._rewritten(expression, column) | {"alias": ""}
        if formula["class"] == "COLUMN_REF" and len(formula["column_names"]) == 1:
            return str(formula["column_names"][0])
        if formula["class"] == "FUNCTION" and formula["function_name"] == "make_timestamp":
            of = list(columns_of(formula))
            if len(of) == 1 and of[0] in self._instants:
                return self._instants[of[0]]
        one, n = name, 2
        while one in self.formulas:
            one, n = f"{name}#{n}", n + 1
        self.formulas[one] = formula
        return one

    def _rewritten(self, node: Any, column: Callable[[list[str]], Node], hidden: frozenset[str] = frozenset()) -> Any:
        """A copy with each column in place of the name that it goes by. `hidden`: parameters of lambdas."""
        if isinstance(node, list):
            return [self._rewritten(each, column, hidden) for each in node]
        if not isinstance(node, dict):
            return node
        kind = node.get("class")
        if kind == "COLUMN_REF":
            names = node["column_names"]
            return node if names[0] in hidden else column(names) | {"alias": node["alias"]}
        if kind == "WINDOW":
            raise NotServedError("it is a window over other rows")
        if kind == "SUBQUERY":
            raise NotServedError("it is a query of its own")
        if kind == "FUNCTION" and node["function_name"].lower() in self._aggregates:
            raise NotServedError(f"{node['function_name']} is of several rows")
        if kind == "LAMBDA":
            names = {name for names in column_lists(node["lhs"]) for name in names} | set(lambda_names(node))
            return node | {"expr": self._rewritten(node["expr"], column, hidden | names)}
        return {key: self._rewritten(value, column, hidden) for key, value in node.items()}

    def _from(self, table: Node, steps: Steps, where: str) -> list[tuple[str, Relation]]:
        if table["type"] == "BASE_TABLE":
            name = table["table_name"].lower()
            is_step = not table.get("schema_name") and name in steps
            return [((table["alias"] or name).lower(), steps[name] if is_step else self.model(name))]
        if table["type"] == "SUBQUERY":
            node = table["subquery"].get("node") or table["subquery"]
            return [(table["alias"].lower(), self._query(node, steps, where, table["alias"]))]
        if table["type"] == "EMPTY":
            return []
        if table["type"] != "JOIN" or table["join_type"] not in ("LEFT", "INNER") or table["ref_type"] != "REGULAR":
            raise NotServedError(f"{where} has a join of another kind than left or inner")
        left, right = self._from(table["left"], steps, where), self._from(table["right"], steps, where)
        pairs = [([name.lower()], [name.lower()]) for name in table.get("using_columns", [])]
        pairs += list(equalities(table["condition"], where)) if table.get("condition") else []
        for one, other in pairs:
            self._check_key(one, other, left, right, where)
        using = {name.lower() for name in table.get("using_columns", [])}
        return left + [
            (alias, Relation({n: c for n, c in of.columns.items() if n not in using}, of.otherwise, of.keys))
            for alias, of in right
        ]

    def _check_key(
        self,
        one: list[str],
        other: list[str],
        left: list[tuple[str, Relation]],
        right: list[tuple[str, Relation]],
        where: str,
    ) -> None:
        """A join finds this row's own match where both sides are one formula, or a key that was looked up already."""
        if len(one) > 1 and one[-2] in [alias for alias, _ in right]:
            one, other = other, one
        if any(other[-1] in relation.keys for _, relation in right):
            return
        known = Relation()
        try:
            of_left, of_right = formula_of(one, left, known), formula_of(other, right, known)
        except NotServedError as error:
            raise NotServedError(f"{where} joins on {'.'.join(other)}, but {error}") from None
        if of_left != of_right:
            raise NotServedError(f"{where} joins on {'.'.join(one)} = {'.'.join(other)}, which isn't the row's own key")

    def _check_filter(self, condition: Node | None, sources: list[tuple[str, Relation]], where: str) -> None:
        """A filter by days or instants chooses the days of a build; one by anything else would leave rows out."""
        if condition is None:
            return
        for names in column_lists(condition):
            try:
                of = formula_of(names, sources, Relation())
            except NotServedError:
                continue
            if of[0] not in DAYS:
                raise NotServedError(f"{where} leaves out rows by {'.'.join(names)}")


DAYS = frozenset({"request.event_at", "request.event_date"})
