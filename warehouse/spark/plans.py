"""What a build has to do to a table on Spark: the records of loads are properties of tables and views."""

from __future__ import annotations

import json
from typing import Any

import pyspark

from storage import mart_files
from warehouse import refresh
from warehouse.spark.files import read_text, session, uri_of

RECORD, LAYERS, TEST = "refresh", "layers", "test."  # names of properties, and how those of tests begin
Relation = Any  # dbt's


def plans_of(given: dict, tests_passed: Relation) -> dict[str, dict]:
    """A plan for each node asked for (warehouse/refresh.py), from the records of tables, marts and passed tests."""
    schemas = {node[0].rpartition(".")[0] for node in given["nodes"].values() if node[0]} | {tests_passed.schema}
    comments: dict[str, str | None] = {}
    views: dict[str, str] = {}
    for name, (properties, view) in tables_in(schemas).items():
        comments[name] = refresh.MARK + properties[RECORD] if RECORD in properties else None
        if name == str(tests_passed):
            comments |= {test: refresh.MARK + record for test, record in properties.items() if test.startswith(TEST)}
        elif view is not None and LAYERS not in properties:
            views[name] = view
    return refresh.plans_of(given, comments, views, f"Spark {pyspark.__version__}", _last_writer)


def _last_writer(mart: str) -> str | None:
    text = read_text(f"{uri_of(mart)}/{mart_files.RECORD}")
    return json.loads(text)["invocation_id"] if text else None


def tables_in(schemas: set[str]) -> dict[str, tuple[dict[str, str], str | None]]:
    """Our properties of each table and view, and the SQL of a view, by name; one call of the metastore per schema."""
    catalog = session()._jsparkSession.sessionState().catalog()
    found = {}
    for schema in schemas:
        if catalog.databaseExists(schema):
            tables = catalog.getTablesByName(catalog.listTables(schema, "*", False))
            for number in range(tables.size()):
                table = tables.apply(number)
                text = table.viewText()
                sql = text.get() if text.isDefined() else None
                found[f"{schema}.{table.identifier().table()}"] = _ours(table.properties()), sql
    return found


def _ours(properties: Any) -> dict[str, str]:
    keys, found = properties.keysIterator(), {}
    while keys.hasNext():
        key = keys.next()
        if key in (RECORD, LAYERS) or key.startswith(TEST):
            found[key] = properties.apply(key)
    return found


_rows: dict[tuple[str, str, str], list[tuple[int, str]]] = {}  # by relation, its record and the value asked for


def days_since(load: int, touched_days: Relation, events: Relation | None, first: str | None) -> list[str]:
    """The days of later loads; with `first` every day of the log from that one on too, whether it is new or not."""
    days = _later(load, touched_days, "cast(day as string)")
    if first and events:
        known = f"select explode(array(event_date, known_date)) as day from {events} where known_date >= '{first}'"
        days |= {row[0] for row in session().sql(f"select distinct cast(day as string) from ({known})").collect()}
    return sorted(days)


def files_since(load: int, raw_files: Relation) -> list[str]:
    """The raw files of later loads that are read."""
    return sorted(_later(load, raw_files, "case when reason is null then file end"))


def _later(load: int, relation: Relation, value: str) -> set[str]:
    """Read once per state of the table: every model and every test asks."""
    catalog = session()._jsparkSession.sharedState().externalCatalog()
    record = _ours(catalog.getTable(relation.schema, relation.identifier).properties()).get(RECORD, "")
    key = (str(relation), record, value)
    if key not in _rows or not record:
        rows = session().sql(f"select distinct load, {value} from {relation} where load is not null").collect()
        _rows[key] = [(row[0], row[1]) for row in rows if row[1] is not None]
    return {found for of_load, found in _rows[key] if of_load > load}


def write_record(relation: Relation, kind: str, record: dict) -> None:
    """kind: of the relation, `view` or `table`."""
    session().sql(f"alter {kind} {relation} set tblproperties ('{RECORD}' = {literal(json.dumps(record))})")


def record_tests(tests_passed: Relation, records: dict[str, dict]) -> None:
    """Up to which load each test has passed. They are properties of a table without rows, which may be dropped."""
    session().sql(f"create table if not exists {tests_passed} (nothing string) using parquet")
    properties = ", ".join(f"'{test}' = {literal(json.dumps(record))}" for test, record in records.items())
    session().sql(f"alter table {tests_passed} set tblproperties ({properties})")


def literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
