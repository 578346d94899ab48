"""Formulas as NumPy, for the operations whose result is the same in DuckDB to the last bit.

Those are what IEEE 754 and whole numbers settle: + - * /, comparisons of whole numbers and texts, CASE, COALESCE, lists
of known length, the hour and the weekday. Everything else raises NotVectorisedError, and DuckDB computes it. So each
operation has DuckDB's meaning, NULL included, or isn't here.

The formulas of a model become one Python function, a line for each distinct operation; which values can be NULL is
settled when it is written, so that nothing is spent on those that can't.
Legend: B rows. A value is `data` and `null`, (B,) each or scalars; where `null` holds, `data` means nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from trainer.serving.online.sql_tree import Node, literal, type_name
from trainer.serving.online.terms import NOWHERE, NotVectorisedError, Term, as_texts, result
from trainer.serving.online.values import List, Value, as_value

HOUR = 3_600_000_000  # microseconds
_NUMBERS = ("int", "float")
_TYPES = {
    "bigint": "int", "int": "int", "integer": "int", "int64": "int", "long": "int",
    "double": "float", "float8": "float",
    "varchar": "text", "string": "text", "text": "text",
}  # fmt: skip  # DuckDB's names of types -> kinds; a narrower type would wrap or round in another way
_COMPARISONS = {
    "COMPARE_EQUAL": "==",
    "COMPARE_NOTEQUAL": "!=",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
}


class Program:
    """Formulas as a function of what is supplied."""

    def __init__(self, formulas: Mapping[str, Node], kinds: Mapping[str, str], never_null: Callable[[str], bool]):
        """kinds: of what is supplied, by name; a supplied column that isn't there can't be read."""
        self._formulas, self._kinds, self._never_null = formulas, kinds, never_null
        self._terms: dict[str, Term] = {}  # of formulas and inputs
        self._names: dict[str, str] = {}  # of what was computed, by its text
        self._lines: list[str] = []
        self._constants: dict[str, Any] = {"np": np, "as_texts": as_texts}
        self.inputs: list[str] = []
        self.outputs: dict[str, Term] = {}
        self._run: Callable[[list[Value]], list[Any]] | None = None

    def add(self, name: str, formula: str) -> None:
        """One more output. Raises: NotVectorisedError."""
        self.outputs[name] = self._formula(formula)

    def run(self, supplied: Mapping[str, Value | pa.Array]) -> dict[str, Value | List]:
        """The outputs."""
        if self._run is None:
            self._run = self._compiled()
        given = [one if isinstance(one, Value) else as_value(one) for one in map(supplied.__getitem__, self.inputs)]
        with np.errstate(all="ignore"):  # in rows that are NULL, data may be anything
            found = self._run(given)
        return dict(zip(self.outputs, found, strict=True))

    def _compiled(self) -> Callable[[list[Value]], list[Any]]:
        lines = "\n    ".join([*self._lines, f"return [{', '.join(map(result, self.outputs.values()))}]"])
        namespace: dict[str, Any] = dict(self._constants) | {"Value": Value, "List": List}
        exec(compile(f"def run(given):\n    {lines}\n", "<formulas>", "exec"), namespace)
        run: Callable[[list[Value]], list[Any]] = namespace["run"]
        return run

    def _formula(self, formula: str) -> Term:
        if formula not in self._terms:
            if formula in self._formulas:
                self._terms[formula] = self._node(self._formulas[formula])
            elif formula in self._kinds:
                self._terms[formula] = self._input(formula)
            else:
                raise NotVectorisedError(formula)
        return self._terms[formula]

    def _input(self, name: str) -> Term:
        given = f"given[{len(self.inputs)}]"
        self.inputs.append(name)
        data = self._line(f"{given}.data")
        null = None if self._never_null(name) else self._line(f"{NOWHERE} if {given}.null is None else {given}.null")
        return Term(self._kinds[name], data, null)

    def _line(self, text: str) -> str:
        """The name of what the text computes."""
        if text not in self._names:
            name = self._names[text] = f"v{len(self._names)}"
            self._lines.append(f"{name} = {text}")
        return self._names[text]

    def _constant_named(self, value: Any, text: str) -> str:
        if text not in self._names:
            self._names[text] = f"c{len(self._names)}"
            self._constants[self._names[text]] = value
        return self._names[text]

    def _either(self, *nulls: str | None) -> str | None:
        """Where any of them is NULL."""
        some = list(dict.fromkeys(null for null in nulls if null is not None))
        return some[0] if len(some) == 1 else self._line(" | ".join(some)) if some else None

    def _node(self, node: Node) -> Term:
        reader = {
            "COLUMN_REF": self._column,
            "CONSTANT": self._constant,
            "CASE": self._case,
            "CAST": self._cast,
            "COMPARISON": self._comparison,
            "CONJUNCTION": self._conjunction,
            "OPERATOR": self._operator,
            "FUNCTION": self._function,
        }.get(node.get("class", ""))
        if reader is None:
            raise NotVectorisedError(node.get("class"))
        return reader(node)

    def _column(self, node: Node) -> Term:
        if len(node["column_names"]) != 1:
            raise NotVectorisedError("a field of a column")
        return self._formula(node["column_names"][0])

    def _constant(self, node: Node) -> Term:
        kind, text = literal(node)
        if kind == "NULL_LITERAL":
            return Term("null", "None", "True")
        if kind == "INTEGER":
            return Term("int", self._constant_named(np.int64(text), f"int {text}"))
        if kind == "NUMERIC" and "e" in text.lower():  # without an exponent it is a DECIMAL
            return Term("float", self._constant_named(np.float64(text), f"float {text}"))
        if kind == "STRING":
            as_object = np.array(text, object)  # NumPy's own texts would be cut to one length
            return Term("text", self._constant_named(as_object, f"text {text}"))
        raise NotVectorisedError(f"the constant {text or kind}")

    def _case(self, node: Node) -> Term:
        checks = node["case_checks"]
        conditions = [self._holds(self._node(check["when_expr"])) for check in checks]
        results = [self._node(check["then_expr"]) for check in checks] + [self._node(node["else_expr"])]
        results = self._of_one_kind(results)
        out = results[-1]
        for holds, then in zip(reversed(conditions), reversed(results[:-1]), strict=True):
            out = self._if(holds, then, out)
        return out

    def _of_one_kind(self, terms: list[Term]) -> list[Term]:
        """The same values, whole numbers as floating-point ones where some of them are."""
        kinds = {term.kind for term in terms} - {"null"}
        if kinds == {"int", "float"} and not any(term.elements for term in terms):
            return [self._as_float(term) if term.kind == "int" else term for term in terms]
        if len(kinds) != 1 or len({len(term.elements or ()) for term in terms if term.kind != "null"}) != 1:
            raise NotVectorisedError(f"one of {kinds or 'nothing'}")
        return terms

    def _if(self, holds: str, then: Term, otherwise: Term) -> Term:
        if "null" in (then.kind, otherwise.kind):
            if then.kind == otherwise.kind:
                return then
            of, absent = (then, self._line(f"~{holds}")) if otherwise.kind == "null" else (otherwise, holds)
            return Term(of.kind, of.data, self._either(absent, of.null), of.elements)
        null = None
        if then.null != otherwise.null:
            null = self._line(f"np.where({holds}, {then.null or NOWHERE}, {otherwise.null or NOWHERE})")
        elif then.null:
            null = then.null
        if then.elements and otherwise.elements:
            pairs = zip(then.elements, otherwise.elements, strict=True)
            return Term(then.kind, "", null, tuple(self._if(holds, one, other) for one, other in pairs))
        return Term(then.kind, self._line(f"np.where({holds}, {then.data}, {otherwise.data})"), null)

    def _holds(self, condition: Term) -> str:
        if condition.kind != "bool":
            raise NotVectorisedError("a condition that isn't one")
        return condition.data if condition.null is None else self._line(f"{condition.data} & ~{condition.null}")

    def _as_float(self, term: Term) -> Term:
        return Term("float", self._line(f"np.asarray({term.data}, np.float64)"), term.null)

    def _cast(self, node: Node) -> Term:
        of, to = self._node(node["child"]), _TYPES.get(type_name(node), "")
        if node.get("try_cast") or not to or of.elements:
            raise NotVectorisedError("a cast to " + type_name(node))
        if (of.kind, to) in (("int", "int"), ("float", "float"), ("text", "text")):
            return of
        if (of.kind, to) == ("int", "float"):
            return self._as_float(of)
        if (of.kind, to) == ("int", "text"):
            return Term("text", self._line(f"as_texts({of.data})"), of.null)
        raise NotVectorisedError(f"a cast from {of.kind} to {to}")

    def _comparison(self, node: Node) -> Term:
        sign = _COMPARISONS.get(node["type"])
        one, other = self._node(node["left"]), self._node(node["right"])
        # NaN is the largest number in DuckDB, so floating-point numbers are compared there.
        if sign is None or one.kind != other.kind or one.kind not in ("int", "text", "date", "instant") or one.elements:
            raise NotVectorisedError(f"{node['type']} of {one.kind} and {other.kind}")
        if one.kind == "text" and sign not in ("==", "!="):
            raise NotVectorisedError("an order of texts")
        return Term("bool", self._line(f"{one.data} {sign} {other.data}"), self._either(one.null, other.null))

    def _conjunction(self, node: Node) -> Term:
        of = [self._node(child) for child in node["children"]]
        sign, opposite = ("&", "|") if node["type"].endswith("AND") else ("|", "&")
        data = self._line(f" {sign} ".join(self._holds(one) for one in of))
        if all(one.null is None for one in of):
            return Term("bool", data)
        fails = [self._line(f"~{one.data}" + (f" & ~{one.null}" if one.null else "")) for one in of]
        false = self._line(f" {opposite} ".join(fails))
        return Term("bool", data, self._line(f"~({data} | {false})"))

    def _operator(self, node: Node) -> Term:
        of = [self._node(child) for child in node["children"]]
        if node["type"] == "OPERATOR_COALESCE" and not any(one.elements for one in of):
            of = self._of_one_kind(of)
            out = of[-1]
            for one in reversed(of[:-1]):
                if one.kind != "null":
                    there = one if one.null is None else Term(one.kind, one.data)
                    out = there if one.null is None else self._if(self._line(f"~np.asarray({one.null})"), there, out)
            return out
        if node["type"] == "OPERATOR_NOT" and of[0].kind == "bool":
            return Term("bool", self._line(f"~{of[0].data}"), of[0].null)
        if node["type"] in ("OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL"):
            sign = "~" if node["type"] == "OPERATOR_IS_NOT_NULL" else ""
            return Term("bool", self._line(f"{sign}np.asarray({of[0].null or NOWHERE})"))
        raise NotVectorisedError(node["type"])

    def _function(self, node: Node) -> Term:
        name = node["function_name"].lower()
        if node.get("distinct") or node.get("filter"):
            raise NotVectorisedError(name)
        of = [self._node(one.get("expression", one)) for one in node.get("arguments") or node.get("children") or []]
        kinds = [one.kind for one in of]
        if name == "list_extract" and len(of) == 2 and of[0].elements and kinds[1] == "int":
            return self._element(of[0], of[1])
        if any(one.elements for one in of):
            raise NotVectorisedError(f"{name} of a list")
        null = self._either(*(one.null for one in of))
        if name in ("+", "-", "*", "/") and len(of) == 2 and all(kind in _NUMBERS for kind in kinds):
            kind = "int" if kinds == ["int", "int"] and name != "/" else "float"
            return Term(kind, self._line(f"{of[0].data} {name} {of[1].data}"), null)
        if name == "-" and kinds == ["date", "date"]:
            return Term("int", self._line(f"{of[0].data} - {of[1].data}"), null)
        if name == "nullif" and kinds == ["int", "int"]:
            same = self._line(f"{of[0].data} == {of[1].data}")
            if of[1].null:
                same = self._line(f"{same} & ~{of[1].null}")
            return Term("int", of[0].data, self._either(of[0].null, same))
        if name == "list_value" and len(set(kinds)) == 1 and kinds[0] in _NUMBERS:
            return Term(kinds[0], "", None, tuple(of))
        if name == "hour" and kinds == ["instant"]:
            return Term("int", self._line(f"{of[0].data} // {HOUR} % 24"), null)
        if name == "isodow" and kinds == ["instant"]:
            return Term("int", self._line(f"({of[0].data} // {24 * HOUR} + 3) % 7 + 1"), null)
        raise NotVectorisedError(f"{name} of {kinds}")

    def _element(self, of: Term, at: Term) -> Term:
        """Positions count from 1, and from the end where negative; there is none at 0 and beyond the ends."""
        assert of.elements
        n = len(of.elements)
        known = self._constants.get(at.data)
        if known is not None:
            if not 1 <= int(known) <= n:
                raise NotVectorisedError("a position outside a list")
            one = of.elements[int(known) - 1]
            return Term(of.kind, one.data, self._either(one.null, of.null))
        place = self._line(f"np.where({at.data} > 0, {at.data} - 1, {n} + {at.data})")
        outside = self._line(f"({at.data} == 0) | ({place} < 0) | ({place} >= {n})")
        inside = self._line(f"np.where({outside}, 0, {place})")
        data = self._line(f"np.choose({inside}, [{', '.join(one.data for one in of.elements)}])")
        nulls = [one.null or NOWHERE for one in of.elements]
        null = self._line(f"np.choose({inside}, [{', '.join(nulls)}])") if set(nulls) != {NOWHERE} else None
        return Term(of.kind, data, self._either(null, of.null, at.null, outside))
