"""Formulas as NumPy, for the operations whose result is the same in DuckDB to the last bit.

Those are what IEEE 754 and whole numbers settle: + - * /, comparisons of whole numbers and texts, CASE, COALESCE, lists
of known length, the hour and the weekday. Everything else raises NotVectorisedError, and DuckDB computes it. So each
operation has DuckDB's meaning, NULL included, or isn't here.
Legend: B rows. A value is `data` and `null`, (B,) each or scalars; where `null` holds, `data` means nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from trainer.serving.online.sql_tree import Node

HOUR = 3_600_000_000  # microseconds
NUMBERS = ("int", "float")
_TYPES = {
    "bigint": "int", "int": "int", "integer": "int", "int64": "int", "long": "int",
    "double": "float", "float8": "float",
    "varchar": "text", "string": "text", "text": "text",
}  # fmt: skip  # DuckDB's names of types -> kinds; a narrower type would wrap or round in another way


class NotVectorisedError(Exception):
    """An operation that isn't one of these; the message names it."""


@dataclass(frozen=True)
class Value:
    """null: None where no row is NULL."""

    data: Any
    null: Any = None


@dataclass(frozen=True)
class List:
    """A list of the same length in each row."""

    elements: tuple[Value, ...]
    null: Any = None


@dataclass(frozen=True)
class _Step:
    """One operation over earlier values. kind: int, float, bool, text, date, instant, null, or (list, kind, length)."""

    run: Callable[..., Value | List]
    of: tuple[int, ...]
    kind: Any


class Program:
    """Formulas in the order in which they can be computed, each distinct operation once."""

    def __init__(self, formulas: Mapping[str, Node], kinds: Mapping[str, str]):
        """kinds: of what is supplied, by name; a supplied column that isn't there can't be read."""
        self._formulas, self._kinds = formulas, kinds
        self._steps: list[_Step] = []
        self._places: dict[Any, int] = {}
        self.inputs: dict[str, int] = {}

    def add(self, formula: str) -> int:
        """The place of a formula's value in what `run` returns. Raises: NotVectorisedError."""
        if formula not in self._places:
            if formula in self._formulas:
                self._places[formula] = self._node(self._formulas[formula])
            elif formula in self._kinds:
                place = self._places[formula] = self._put(_Step(_unset, (), self._kinds[formula]), ("input", formula))
                self.inputs[formula] = place
            else:
                raise NotVectorisedError(formula)
        return self._places[formula]

    def kind(self, place: int) -> Any:
        return self._steps[place].kind

    def run(self, supplied: Mapping[str, Value], wanted: Iterable[int]) -> list[Value | List]:
        """The values at the places wanted."""
        values: list[Any] = [None] * len(self._steps)
        for name, place in self.inputs.items():
            values[place] = supplied[name]
        with np.errstate(all="ignore"):  # in rows that are NULL, data may be anything
            for place, step in enumerate(self._steps):
                if values[place] is None:
                    values[place] = step.run(*[values[of] for of in step.of])
        return [values[place] for place in wanted]

    def pruned(self, wanted: Iterable[int]) -> tuple[Program, list[int]]:
        """The program without what nobody wants, and the new places of what is wanted."""
        kept, waiting = set[int](), list(wanted)
        while waiting:
            one = waiting.pop()
            if one not in kept:
                kept.add(one)
                waiting += self._steps[one].of
        place = {old: new for new, old in enumerate(sorted(kept))}
        out = Program(self._formulas, self._kinds)
        for old in sorted(kept):
            step = self._steps[old]
            out._steps.append(_Step(step.run, tuple(place[of] for of in step.of), step.kind))
        out.inputs = {name: place[old] for name, old in self.inputs.items() if old in kept}
        return out, [place[one] for one in wanted]

    def _put(self, step: _Step, key: Any) -> int:
        if key not in self._places:
            self._places[key] = len(self._steps)
            self._steps.append(step)
        return self._places[key]

    def _apply(self, name: str, run: Callable[..., Value | List], of: Iterable[int], kind: Any, *more: Any) -> int:
        of = tuple(of)
        return self._put(_Step(run, of, kind), (name, of, more))

    def _node(self, node: Node) -> int:
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

    def _column(self, node: Node) -> int:
        if len(node["column_names"]) != 1:
            raise NotVectorisedError("a field of a column")
        return self.add(node["column_names"][0])

    def _constant(self, node: Node) -> int:
        kind, data = _literal(node)
        value = Value(None, True) if kind == "null" else Value(data)
        return self._put(_Step(lambda: value, (), kind), ("constant", kind, str(data)))

    def _case(self, node: Node) -> int:
        checks = node["case_checks"]
        conditions = [self._node(check["when_expr"]) for check in checks]
        results = [self._node(check["then_expr"]) for check in checks] + [self._node(node["else_expr"])]
        if any(self.kind(one) != "bool" for one in conditions):
            raise NotVectorisedError("a condition that isn't one")
        kind = self._common(results)
        return self._apply("case", _chosen, [*conditions, *self._as(kind, results)], kind)

    def _common(self, places: list[int]) -> Any:
        """The kind of what is one of several."""
        kinds = {self.kind(one) for one in places} - {"null"}
        if kinds == {"int", "float"}:
            return "float"
        if len(kinds) != 1:
            raise NotVectorisedError(f"one of {kinds or 'nothing'}")
        (kind,) = kinds
        if isinstance(kind, tuple) and any(self.kind(one) == "null" for one in places[:-1]):
            raise NotVectorisedError("a NULL before a list")
        return kind

    def _as(self, kind: Any, places: list[int]) -> list[int]:
        """The same values, whole numbers as floating-point ones where some of them are."""
        whole = [kind == "float" and self.kind(one) == "int" for one in places]
        return [
            self._apply("to float", _to_float, [one], "float") if w else one
            for one, w in zip(places, whole, strict=True)
        ]

    def _cast(self, node: Node) -> int:
        of, to = self._node(node["child"]), _TYPES.get(_type_name(node), "")
        kind = self.kind(of)
        if node.get("try_cast") or not to:
            raise NotVectorisedError("a cast to " + _type_name(node))
        if (kind, to) in (("int", "int"), ("float", "float"), ("text", "text")):
            return of
        if (kind, to) == ("int", "float"):
            return self._apply("to float", _to_float, [of], "float")
        if (kind, to) == ("int", "text"):
            return self._apply("to text", _to_text, [of], "text")
        raise NotVectorisedError(f"a cast from {kind} to {to}")

    def _comparison(self, node: Node) -> int:
        function = _COMPARISONS.get(node["type"])
        of = [self._node(node["left"]), self._node(node["right"])]
        kinds = {self.kind(one) for one in of}
        # NaN is the largest number in DuckDB, so floating-point numbers are compared there.
        if function is None or kinds not in ({"int"}, {"text"}, {"date"}, {"instant"}):
            raise NotVectorisedError(f"{node['type']} of {kinds}")
        if kinds == {"text"} and node["type"] not in ("COMPARE_EQUAL", "COMPARE_NOTEQUAL"):
            raise NotVectorisedError("an order of texts")
        return self._apply(node["type"], partial(_binary, function), of, "bool")

    def _conjunction(self, node: Node) -> int:
        of = [self._node(child) for child in node["children"]]
        if any(self.kind(one) != "bool" for one in of):
            raise NotVectorisedError("a condition that isn't one")
        return self._apply(node["type"], _all if node["type"].endswith("AND") else _any, of, "bool")

    def _operator(self, node: Node) -> int:
        of = [self._node(child) for child in node["children"]]
        if node["type"] == "OPERATOR_COALESCE" and not any(isinstance(self.kind(one), tuple) for one in of):
            kind = self._common(of)
            return self._apply("coalesce", _first, self._as(kind, of), kind)
        if node["type"] == "OPERATOR_NOT" and self.kind(of[0]) == "bool":
            return self._apply("not", lambda one: Value(~np.asarray(one.data), one.null), of, "bool")
        if node["type"] in ("OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL"):
            wanted = node["type"] == "OPERATOR_IS_NULL"
            return self._apply(node["type"], partial(_is_null, wanted), of, "bool")
        raise NotVectorisedError(node["type"])

    def _function(self, node: Node) -> int:
        name = node["function_name"].lower()
        if node.get("distinct") or node.get("filter"):
            raise NotVectorisedError(name)
        of = [self._node(one.get("expression", one)) for one in node.get("arguments") or node.get("children") or []]
        kinds = [self.kind(one) for one in of]
        if name in _ARITHMETIC and len(of) == 2 and all(kind in NUMBERS for kind in kinds):
            kind = "int" if kinds == ["int", "int"] and name != "/" else "float"
            return self._apply(name, partial(_binary, _ARITHMETIC[name]), of, kind)
        if name == "-" and kinds == ["date", "date"]:
            return self._apply(name, partial(_binary, np.subtract), of, "int")
        if name == "nullif" and kinds == ["int", "int"]:
            return self._apply(name, _null_if, of, "int")
        if name == "list_value" and len(set(kinds)) == 1 and kinds[0] in NUMBERS:
            return self._apply(name, lambda *elements: List(elements), of, ("list", kinds[0], len(of)))
        if name == "list_extract" and len(of) == 2 and isinstance(kinds[0], tuple) and kinds[1] == "int":
            return self._apply(name, _element, of, kinds[0][1])
        if name == "hour" and kinds == ["instant"]:
            return self._apply(name, partial(_of_one, lambda at: at // HOUR % 24), of, "int")
        if name == "isodow" and kinds == ["instant"]:
            return self._apply(name, partial(_of_one, lambda at: (at // (24 * HOUR) + 3) % 7 + 1), of, "int")
        raise NotVectorisedError(f"{name} of {kinds}")


_ARITHMETIC = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.true_divide}
_COMPARISONS = {
    "COMPARE_EQUAL": np.equal,
    "COMPARE_NOTEQUAL": np.not_equal,
    "COMPARE_LESSTHAN": np.less,
    "COMPARE_GREATERTHAN": np.greater,
    "COMPARE_LESSTHANOREQUALTO": np.less_equal,
    "COMPARE_GREATERTHANOREQUALTO": np.greater_equal,
}


def _literal(node: Node) -> tuple[str, Any]:
    literal = node.get("literal") or {}
    kind, text = literal.get("kind"), literal.get("text", "")
    if kind == "INTEGER":
        return "int", np.int64(text)
    if kind == "NUMERIC" and "e" in text.lower():  # without an exponent it is a DECIMAL
        return "float", np.float64(text)
    if kind == "STRING":
        return "text", np.array(text, object)  # NumPy's own texts would be cut to one length
    if kind == "NULL_LITERAL":
        return "null", None
    raise NotVectorisedError(f"the constant {json.dumps(literal)}")


def _type_name(node: Node) -> str:
    type_expr = node.get("type_expr") or {}
    return "" if type_expr.get("children") else str(type_expr.get("type_name", "?")).lower()


def _unset() -> Value:
    raise AssertionError("an input that wasn't supplied")


def _either(*nulls: Any) -> Any:
    """Where any of them is NULL."""
    out = None
    for null in nulls:
        if null is not None:
            out = null if out is None else out | null
    return out


def _binary(function: Callable[[Any, Any], Any], one: Value, other: Value) -> Value:
    return Value(function(one.data, other.data), _either(one.null, other.null))


def _of_one(function: Callable[[Any], Any], one: Value) -> Value:
    return Value(function(one.data), one.null)


def _holds(condition: Value) -> Any:
    return condition.data if condition.null is None else condition.data & ~np.asarray(condition.null)


def _is_null(wanted: bool, one: Value | List) -> Value:
    null = np.asarray(False if one.null is None else one.null)
    return Value(null if wanted else ~null)


def _chosen(*of: Any) -> Value | List:
    """The result of the first condition that holds, else the last one."""
    n = len(of) // 2
    out = of[-1]
    for condition, then in zip(reversed(of[:n]), reversed(of[n:-1]), strict=True):
        holds = _holds(condition)
        out = _if(holds, then, out)
    return out


def _if(holds: Any, then: Any, otherwise: Any) -> Value | List:
    if otherwise.null is True:  # the constant NULL
        if then.null is True:
            return otherwise
        null = _either(~holds, then.null)
        return List(then.elements, null) if isinstance(then, List) else Value(then.data, null)
    if then.null is True:
        null = _either(holds, otherwise.null)
        return List(otherwise.elements, null) if isinstance(otherwise, List) else Value(otherwise.data, null)
    null = None
    if then.null is not None or otherwise.null is not None:
        null = np.where(holds, *(False if one.null is None else one.null for one in (then, otherwise)))
    if isinstance(then, List):
        elements = zip(then.elements, otherwise.elements, strict=True)
        return List(tuple(_value(_if(holds, one, other)) for one, other in elements), null)
    return Value(np.where(holds, then.data, otherwise.data), null)


def _value(one: Value | List) -> Value:
    assert isinstance(one, Value)
    return one


def _first(*of: Value) -> Value:
    out = of[-1]
    for one in reversed(of[:-1]):
        if one.null is None:
            out = one
        elif one.null is not True:
            out = _value(_if(~one.null, Value(one.data), out))
    return out


def _all(*of: Value) -> Value:
    data, false = _holds(of[0]), _fails(of[0])
    for one in of[1:]:
        data, false = data & _holds(one), false | _fails(one)
    return _three_valued(data, false, of)


def _any(*of: Value) -> Value:
    data, false = _holds(of[0]), _fails(of[0])
    for one in of[1:]:
        data, false = data | _holds(one), false & _fails(one)
    return _three_valued(data, false, of)


def _fails(condition: Value) -> Any:
    return ~condition.data if condition.null is None else ~condition.data & ~np.asarray(condition.null)


def _three_valued(data: Any, false: Any, of: tuple[Value, ...]) -> Value:
    return Value(data, None if all(one.null is None for one in of) else ~(data | false))


def _null_if(one: Value, other: Value) -> Value:
    return Value(one.data, _either(one.null, _holds(_binary(np.equal, one, other))))


def _to_float(one: Value) -> Value:
    return Value(np.asarray(one.data).astype(np.float64), one.null)


def _to_text(one: Value) -> Value:
    return Value(np.array([str(each) for each in np.atleast_1d(one.data).tolist()], object), one.null)


def _element(of: Any, at: Value) -> Value:
    """Positions count from 1, and from the end where negative; there is none at 0 and beyond the ends."""
    n = len(of.elements)
    if np.ndim(at.data) == 0:
        place = int(at.data) - 1 if at.data > 0 else n + int(at.data)
        if at.data == 0 or not 0 <= place < n:
            return Value(of.elements[0].data, np.True_)
        one = of.elements[place]
        return Value(one.data, _either(one.null, of.null))
    place = np.where(at.data > 0, at.data - 1, n + at.data)
    outside = (at.data == 0) | (place < 0) | (place >= n)
    inside = np.where(outside, 0, place)
    data = np.choose(inside, [one.data for one in of.elements])
    null = None
    if any(one.null is not None for one in of.elements):
        null = np.choose(inside, [np.False_ if one.null is None else one.null for one in of.elements])
    return Value(data, _either(null, of.null, at.null, outside))
