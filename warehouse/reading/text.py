"""SQL that turns a column of any type into text, by the type it has in its own file.

Nested columns keep their nesting, with text for leaves. What text each type becomes: docs/bring-your-own-log.md.
Spark's counterpart is in macros/raw_files_spark.sql.
"""

from dataclasses import dataclass

from duckdb import sqltype
from duckdb.sqltypes import DuckDBPyType

from warehouse.reading.errors import ReadingError

TIMES = {"date", "time", "time with time zone", "timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns"} | {
    "timestamp with time zone",
    "timestamptz_ns",
}
WITH_ZONE = {"timestamp with time zone", "timestamptz_ns"}
NUMBERS = {"tinyint", "smallint", "integer", "bigint", "hugeint", "utinyint", "usmallint", "uinteger", "ubigint"} | {
    "uhugeint",
    "float",
    "double",
    "decimal",
    "bignum",
}
# Below it, every whole number has its own float; from it on, one float represents several.
FIRST_INEXACT = {"float": 2**24, "double": 2**53}


@dataclass(frozen=True)
class Shape:
    """What kind of thing a column holds: `nothing` (Arrow null), text, number, time, boolean, list, map or struct."""

    kind: str
    fields: tuple[tuple[str, "Shape"], ...] = ()

    @property
    def is_nested(self) -> bool:
        return self.kind in ("list", "map", "struct")

    def sql_type(self) -> str:
        """The type that a column of this shape has once its leaves are text."""
        inner = [f"{quoted(name)} {shape.sql_type()}" for name, shape in self.fields]
        match self.kind:
            case "list":
                return self.fields[0][1].sql_type() + "[]"
            case "map":
                return f"map({self.fields[0][1].sql_type()}, {self.fields[1][1].sql_type()})"
            case "struct":
                return f"struct({', '.join(inner)})"
        return "varchar"


def _children(type_: DuckDBPyType) -> list[tuple[str, DuckDBPyType]]:
    """The types within a nested one, by name. An array has its length among them too, a map "key" and "value"."""
    return [(name, inner) for name, inner in type_.children if isinstance(inner, DuckDBPyType)]


def shape_of(type_: DuckDBPyType) -> Shape:
    kind = type_.id
    if kind in ("list", "array"):
        return Shape("list", (("", shape_of(_children(type_)[0][1])),))
    if kind in ("map", "struct"):
        return Shape(kind, tuple((name, shape_of(inner)) for name, inner in _children(type_)))
    if kind == "null":
        return Shape("nothing")
    return Shape(
        "time" if kind in TIMES else "number" if kind in NUMBERS else "boolean" if kind == "boolean" else "text"
    )


def merged(one: Shape, other: Shape) -> Shape | None:
    """The shape of a column that is the one in one file and the other in another; None if it can't be both."""
    if one == other or other.kind == "nothing":
        return one
    if one.kind == "nothing":
        return other
    if one.is_nested or other.is_nested:
        if one.kind != other.kind or [name for name, _ in one.fields] != [name for name, _ in other.fields]:
            return None
        fields = []
        for (name, mine), (_, theirs) in zip(one.fields, other.fields, strict=True):
            inner = merged(mine, theirs)
            if inner is None:
                return None
            fields.append((name, inner))
        return Shape(one.kind, tuple(fields))
    if "time" in (one.kind, other.kind) and {one.kind, other.kind} & {"number", "boolean"}:
        return None
    return Shape("text") if one.kind != other.kind else one


def as_text(column: str, type_name: str, shape: Shape, what: str) -> str:
    """SQL for `column`, an expression of the type named, as text or as nested text of `shape`.

    `what` is SQL for the words by which an error names the column and its file.
    """
    return _as_text(column, sqltype(type_name), shape, what, 0)


def _as_text(value: str, type_: DuckDBPyType, shape: Shape, what: str, depth: int) -> str:
    kind = type_.id
    if kind == "null":
        return f"cast(null as {shape.sql_type()})"
    if kind in ("list", "array"):
        element = f"e{depth}"
        inner = _as_text(element, _children(type_)[0][1], shape.fields[0][1], what, depth + 1)
        return f"list_transform({value}, lambda {element}: {inner})"
    if kind == "map":
        entry = f"e{depth}"
        (_, key_type), (_, value_type) = _children(type_)
        fields = [
            f"{name}: {_as_text(f'{entry}.{name}', part, wanted, what, depth + 1)}"
            for name, part, (_, wanted) in zip(("key", "value"), (key_type, value_type), shape.fields, strict=True)
        ]
        return f"map_from_entries(list_transform(map_entries({value}), lambda {entry}: {{{', '.join(fields)}}}))"
    if kind == "struct":
        fields = [
            f"{quoted(name)}: {_as_text(f'({value}).{quoted(name)}', part, wanted, what, depth)}"
            for (name, part), (_, wanted) in zip(_children(type_), shape.fields, strict=True)
        ]
        return f"case when {value} is not null then {{{', '.join(fields)}}} end"
    if kind in FIRST_INEXACT:
        return _float_as_text(value, FIRST_INEXACT[kind])
    if kind == "blob":
        said = f"error({what} || ' holds bytes that are not UTF-8 text. Write it as text.')"
        return (
            f"case when {value} is not null and try(decode({value})) is null then {said} else try(decode({value})) end"
        )
    text = f"cast({value} as varchar)"
    # DuckDB writes the offset of a zone of whole hours as +00; the session's zone is UTC
    return f"{text} || ':00'" if kind in WITH_ZONE else text


def _float_as_text(value: str, first_inexact: int) -> str:
    """Whole numbers that are exact are written as such; others in a form that can't be taken for an id."""
    text = f"cast({value} as varchar)"
    # A Parquet file's statistics leave NaN out, and DuckDB folds whole functions by them, but none of random()
    # 16 digits and `.0`, where DuckDB doesn't use an exponent yet
    # try_cast: a cast may be computed for values that an earlier branch of the case answers, and fails on NaN
    digits = f"cast(try_cast({value} as hugeint) as varchar)"
    scientific = (
        f"regexp_replace({digits}, '^(-?[0-9])([0-9]*?)0*$', '\\1.\\2') || 'e+' || "
        f"cast(length(ltrim({digits}, '-')) - 1 as varchar)"
    )
    return (
        f"case when isnan({value} + random()) then 'NaN'"
        f" when isinf({value}) or abs({value}) >= 1e16 then {text}"
        f" when {value} <> trunc({value}) then {text} when abs({value}) < {first_inexact} then {digits}"
        f" else {scientific} end"
    )


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def merged_shapes(found: list[tuple[str, str, str]], remedy: str) -> dict[str, Shape]:
    """Shape by column over all files, given (file, column, type name); an error names two that don't go together."""
    shapes: dict[str, Shape] = {}
    seen: dict[str, list[tuple[str, str, Shape]]] = {}
    for file, column, type_name in found:
        shape = shape_of(sqltype(type_name))
        for other, other_type, other_shape in seen.setdefault(column, []):
            if merged(other_shape, shape) is None:
                raise ReadingError(
                    f"Column {column} is {_described(shape)} ({type_name}) in raw file {file}, but "
                    f"{_described(other_shape)} ({other_type}) in {other}. Write it in one type in all files. {remedy}"
                )
        seen[column].append((file, type_name, shape))
        both = merged(shapes[column], shape) if column in shapes else shape
        assert both is not None, "pairs that go together go together in all"
        shapes[column] = both
    return shapes


def _described(shape: Shape) -> str:
    return {"nothing": "empty", "text": "text"}.get(shape.kind, f"a {shape.kind}")
