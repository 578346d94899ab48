"""A row that holds a page of items: which columns are lists side by side, and how they are taken apart."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from warehouse.init.errors import InitError
from warehouse.init.files import RawLog
from warehouse.init.names import ITEM, ITEM_LIST, LABEL, plain, slug
from warehouse.init.sql import jinja_text, one_row, sql_name
from warehouse.reading.text import Shape, literal, quoted, shape_of

ALIKE = 0.95  # share of the sampled rows in which lists that belong together have the same length
SEPARATORS = (" ", "|", ";", ",")
PAIR = "(.+)[-:_]([01])"  # item and label in one word: N1234-1


@dataclass(frozen=True)
class ListColumn:
    """A column that is a list. `split`: the separator of a text that is one; "json" for a JSON list."""

    name: str
    split: str | None = None
    fields: tuple[str, ...] = ()  # of a list of structs
    is_pairs: bool = False

    @property
    def field(self) -> str:
        """What an impression calls it."""
        return slug(self.name)

    @property
    def sql(self) -> str:
        """SQL for the list in DuckDB."""
        name = quoted(self.name)
        if self.split == "json":
            return f"from_json({name}, '[\"VARCHAR\"]')"
        return f"string_split({name}, {literal(self.split)})" if self.split else name

    @property
    def adapter(self) -> str:
        """A Jinja expression for the same in an adapter."""
        if self.split == "json":
            return jinja_text(f"from_json({sql_name(self.name)}, '[\"VARCHAR\"]')")
        name = sql_name(self.name, in_jinja=True)
        return f"split_text({name}, {jinja_text(self.split)})" if self.split else name


@dataclass(frozen=True)
class Part:
    """One thing that an impression of a list has: what the user calls it, and SQL for it in table `flat`."""

    name: str
    sql: str
    adapter: str


def parts_of(column: ListColumn) -> list[Part]:
    outer = f"impression.{sql_name(column.field)}"
    inner = f"l.{quoted(column.field)}"
    if column.is_pairs:
        return [
            Part(f"{column.name}.{name}", f"nullif(regexp_extract({inner}, '^{PAIR}$', {n}), '')",
                 f"nullif(regexp_extract({outer}, '^{PAIR}$', {n}), '')")
            for n, name in ((1, "item"), (2, "label"))
        ]  # fmt: skip
    if column.fields:
        return [
            Part(f"{column.name}.{field}", f"{inner}.{quoted(field)}", f"{outer}.{sql_name(field)}")
            for field in column.fields
        ]
    return [Part(column.name, inner, outer)]


def find_lists(connection: duckdb.DuckDBPyConnection, log: RawLog, item: str | None) -> list[ListColumn]:
    """The lists that hold a page, the one of the items first; none where a row is one impression.

    item: the answer beforehand, a column or `column.field`.
    """
    shapes = {name: shape_of(duckdb.sqltype(type_)) for name, type_ in log.columns.items()}
    native = {name: _native(name, shape) for name, shape in shapes.items() if shape.kind == "list"}
    first = _list_of_items(connection, shapes, native, item)
    if first is None:
        return []
    others = [column for name, column in native.items() if name != first.name]
    if first.split:
        texts = [name for name, shape in shapes.items() if shape.kind == "text" and name != first.name]
        others += [column for name in texts if (column := _text_list(connection, name))]
    return [first, *(other for other in others if not first.is_pairs and _alike(connection, first, other))]


def _native(name: str, shape: Shape) -> ListColumn:
    inner = shape.fields[0][1]
    return ListColumn(name, fields=tuple(field for field, _ in inner.fields) if inner.kind == "struct" else ())


def _list_of_items(
    connection: duckdb.DuckDBPyConnection, shapes: dict[str, Shape], native: dict[str, ListColumn], item: str | None
) -> ListColumn | None:
    if item is not None:
        name = item.split(".")[0] if item not in shapes else item
        if name not in shapes:
            return None  # roles.py says that there is no such column
        return native.get(name) or (_text_list(connection, name) if shapes[name].kind == "text" else None)
    if any(plain(name) in ITEM for name in shapes if name not in native):
        return None
    fitting = [c for c in native.values() if plain(c.name) in ITEM_LIST or {plain(f) for f in c.fields} & ITEM]
    if not fitting:
        texts = [name for name, shape in shapes.items() if shape.kind == "text" and plain(name) in ITEM_LIST]
        fitting = [column for name in texts if (column := _text_list(connection, name))]
    if len(fitting) > 1:
        with_label = [c for c in fitting if {plain(field) for field in c.fields} & LABEL]
        fitting = with_label if len(with_label) == 1 else fitting
    if len(fitting) > 1:
        raise InitError(
            f"Several columns hold lists of items: {', '.join(c.name for c in fitting)}. "
            "Name the one whose entries were shown with --item."
        )
    return fitting[0] if fitting else None


def _text_list(connection: duckdb.DuckDBPyConnection, name: str) -> ListColumn | None:
    """A text column as a list, if its texts are lists."""
    text = f"trim({quoted(name)})"

    def share(condition: str, of: str = f"{text} <> ''") -> float:
        sql = f"select coalesce(avg(cast({condition} as int)), 0) from sample where {of}"
        return float(one_row(connection, sql)[0])

    if share(f"{text} like '[%]' and try(from_json({text}, '[\"VARCHAR\"]')) is not null") > ALIKE:
        return ListColumn(name, "json")
    for separator in SEPARATORS:
        column = ListColumn(name, separator)
        if share(f"contains({text}, {literal(separator)})") < 0.3:
            continue
        words = f"list_filter({column.sql}, lambda w: not regexp_full_match(w, '{PAIR}'))"
        return ListColumn(name, separator, is_pairs=share(f"len({words}) = 0") > ALIKE)
    return None


def _alike(connection: duckdb.DuckDBPyConnection, one: ListColumn, other: ListColumn) -> bool:
    both = f"{quoted(one.name)} is not null and {quoted(other.name)} is not null"
    sql = f"select coalesce(avg(cast(len({one.sql}) = len({other.sql}) as int)), 0) from sample where {both}"
    return float(one_row(connection, sql)[0]) >= ALIKE
