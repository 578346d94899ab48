"""How a table is refreshed on Spark, which has no transaction: it is a view over layers.

The table <name>__rows holds the rows of the last full build, the table <name>__news those of each refresh since,
partitioned by `layer`. A layer's rows take the place of all older rows of its days. A refresh writes a layer, then the
view that reads it, then the record of its load. So a build that is killed leaves a record that is behind the rows at
worst, and the next one leaves out the layers of later loads. Nothing that a view reads is ever overwritten.
"""

from __future__ import annotations

import json

from warehouse.spark.files import children, delete, session
from warehouse.spark.plans import LAYERS, RECORD, Relation, literal, tables_in

MOST_LAYERS = 16  # then a refresh writes all rows as one layer: each one makes every query over the table longer


def clear_layers(relation: Relation, location: str) -> None:
    """Before a full build. location: of the table of rows; that of layers stands next to it."""
    for name in (f"{relation}__rows", f"{relation}__news"):
        session().sql(f"drop table if exists {name}")
    delete(f"{location}__news")


def layer(
    relation: Relation, location: str, column: str, days: list[str], load: int, options: dict, sql: str
) -> dict[str, str]:
    """The statements of a refresh: `insert` writes the rows of `sql` as a new layer, `view` reads it from then on.

    column: whose `days` are replaced, `append` or `all`. load: the one that the rows are current to.
    options: file_format and partition_by (a list) of the table. What killed builds left goes.
    """
    properties, _ = tables_in({relation.schema})[str(relation)]
    layers = json.loads(properties[LAYERS])
    news, rows = f"{relation}__news", session().table(f"{relation}__rows")
    number = max((each["layer"] for each in layers), default=0) + 1
    partition_by = options["partition_by"]
    names = [name for name in rows.columns if name not in partition_by] + partition_by
    typed = ", ".join(f"`{field.name}` {field.dataType.simpleString()}" for field in rows.schema.fields)
    session().sql(
        f"create table if not exists {news} ({typed}, layer int) using {options['file_format']}"
        f" partitioned by ({', '.join(['layer', *partition_by])}) location {literal(location + '__news')}"
    )
    kept = {f"layer={each['layer']}" for each in layers}
    for leftover in [name for name in children(f"{location}__news") if name not in kept]:
        delete(f"{location}__news/{leftover}")
    committed = json.loads(properties[RECORD])["load"]
    layers = [each for each in layers if each["load"] <= committed]
    written = f"({sql})"
    new: dict = {"layer": number, "load": load, "days": [] if column == "append" else days}
    if column == "all":
        new["days"] = None
    elif len(layers) >= MOST_LAYERS:
        older = _select(relation, rows.columns, column, [*layers, new], without_last=True)
        written = f"({older} union all select {_listed(rows.columns)} from {written})"
        new["days"] = None
    return {
        "insert": f"insert into {news} partition ({', '.join([f'layer = {number}', *partition_by])})"
        f" select {_listed(names)} from {written}",
        "view": view_of(relation, column, [*layers, new], properties[RECORD]),
    }


def view_of(relation: Relation, column: str, layers: list[dict], record: str = "") -> str:
    """The statement that makes the view; it keeps the record of the load before."""
    rows = _select(relation, session().table(f"{relation}__rows").columns, column, layers)
    properties = {LAYERS: json.dumps(layers)} | ({RECORD: record} if record else {})
    listed = ", ".join(f"'{name}' = {literal(value)}" for name, value in properties.items())
    return f"create or replace view {relation} tblproperties ({listed}) as {rows}"


def _select(relation: Relation, columns: list[str], column: str, layers: list[dict], without_last: bool = False) -> str:
    """The rows of all layers; without_last: those that the last one leaves in place."""
    first = max((number for number, each in enumerate(layers) if each["days"] is None), default=-1)
    selects = []
    if first < 0:
        selects.append(f"select {_listed(columns)} from {relation}__rows where {_not_in(column, layers)}")
    conditions = [
        f"layer = {each['layer']} and {_not_in(column, layers[number + 1 :])}"
        for number, each in enumerate(layers[: len(layers) - without_last])
        if number >= first
    ]
    if conditions:
        numbers = ", ".join(str(each["layer"]) for each in layers[max(first, 0) : len(layers) - without_last])
        of_layers = " or ".join(f"({each})" for each in conditions)
        selects.append(f"select {_listed(columns)} from {relation}__news where layer in ({numbers}) and ({of_layers})")
    return " union all ".join(selects)


def _not_in(column: str, layers: list[dict]) -> str:
    """SQL: the row is of none of the days of these layers. A row without a day stays, as on DuckDB."""
    days = sorted({day for each in layers for day in each["days"] or []})
    if not days:
        return "true"
    day = f"cast({column} as date)" if column.endswith("_at") else column
    listed = ", ".join(f"date '{each}'" for each in days)
    return f"({column} is null or {day} not in ({listed}))"


def _listed(columns: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in columns)
