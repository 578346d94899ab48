"""What a build has to do to a table: all rows, some days of them, or nothing (macros/refresh.sql asks).

A table's record stands in its comment and is written in the transaction that writes its rows (on Spark in a property,
after the rows):

    load   up to which load it is current: never ahead of what it reads
    sql    hash of the SQL, vars, types and the engine's version that it was built from, and of the views it reads
    built  the dbt invocation that last built it in full
    read   `built` of each table that it reads: once one of those is built in full again, so is this one
    wrote  the dbt invocation that last wrote rows; a mart's folder must be of the same one
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from storage.mart_files import RECORD
from warehouse.places import in_project

MARK = "refresh: "
RAW_LOG = "source."  # raw files are no table: raw_files says what is new about them


@dataclass(frozen=True)
class Node:
    """A model of the graph: what it is stored as, and what it reads."""

    relation: str
    materialized: str
    checksum: str
    parents: list[str]

    @property
    def is_transparent(self) -> bool:
        """A view holds no rows, so it stands for what it reads."""
        return self.materialized in ("view", "ephemeral")


@dataclass
class Upstream:
    """What a node reads, through views: tables by relation (None: it has no record), and the SQL of the views."""

    tables: dict[str, dict | None] = field(default_factory=dict)
    views: dict[str, str] = field(default_factory=dict)

    @property
    def load(self) -> int | None:
        """Up to which all of it is current; None if that is unknown."""
        records = [record for record in self.tables.values() if record]
        loads = [record["load"] for record in records if record["load"] is not None]
        return min(loads) if loads and len(loads) == len(self.tables) else None


def plan_refresh(request: str, tables: str, views: str) -> str:
    """plans_of on DuckDB: JSON in and out."""
    engine = duckdb.__version__
    return json.dumps(plans_of(json.loads(request), json.loads(tables), json.loads(views), engine, _last_writer))


def plans_of(
    given: Mapping[str, Any],
    comments: Mapping[str, str | None],
    views: Mapping[str, str],
    engine: str,
    last_writer: Callable[[str], str | None],
) -> dict[str, dict]:
    """One plan for each node asked for, by its id.

    given: invocation, nodes (id: fields of Node), asked (id: what macros/refresh.sql says of the node).
    comments: by relation, None where there is none. views: their SQL by relation. engine: what computes the rows.
    last_writer: the dbt invocation that wrote the folder of a mart.
    """
    nodes = {key: Node(*fields) for key, fields in given["nodes"].items()}
    records = {relation: record_of(comment) for relation, comment in comments.items()}
    plans = {}
    for key, asked in given["asked"].items():
        mine = records.get(asked["relation"])
        if mine and asked["mart"] and last_writer(asked["mart"]) != mine["wrote"]:
            mine = None
        upstream = upstream_of(asked["parents"], nodes, records, views)
        plans[key] = _plan(asked, mine, upstream, given["invocation"], engine)
    return plans


def record_of(comment: str | None) -> dict | None:
    """The record at the end of a table's comment; None if there is none."""
    found = re.search(rf"{MARK}(\{{.*\}})$", comment or "")
    return json.loads(found.group(1)) if found else None


def upstream_of(
    parents: Iterable[str], nodes: Mapping[str, Node], records: Mapping[str, dict | None], views: Mapping[str, str]
) -> Upstream:
    """Collect what stands behind `parents`."""
    found = Upstream()
    for parent in parents:
        node = nodes.get(parent)
        if node is None:
            found.tables[parent] = None  # a seed, say, of which nobody knows whether it changed
        elif node.is_transparent:
            found.views[parent] = views.get(node.relation, node.checksum)
            behind = upstream_of(node.parents, nodes, records, views)
            found.tables |= behind.tables
            found.views |= behind.views
        else:
            found.tables[node.relation] = records.get(node.relation)
    return found


def _plan(asked: Mapping[str, Any], mine: dict | None, upstream: Upstream, invocation: str, engine: str) -> dict:
    """is_full: all rows, and why, if the reason is the node's own. Otherwise what is new since load `since`."""
    text = json.dumps([asked["text"], engine, sorted(upstream.views.items())])
    record = {
        "load": upstream.load,
        "sql": hashlib.md5(text.encode()).hexdigest(),
        "built": invocation,
        "read": {relation: read and read["built"] for relation, read in sorted(upstream.tables.items())},
        "wrote": invocation,
    }
    why = None
    if mine is None:
        why = "no earlier build to refresh"
    elif asked["full_refresh"]:
        why = "--full-refresh"
    elif mine["sql"] != record["sql"]:
        why = "its SQL, or a var or a table that it reads, changed"
    elif mine["read"] == record["read"] and (asked["is_root"] or None not in (upstream.load, mine["load"])):
        load = mine["load"] if asked["is_root"] else max(mine["load"], upstream.load or 0)
        kept = {"built": mine["built"], "wrote": mine["wrote"], "load": load}
        return {"is_full": False, "why": None, "since": mine["load"], "record": record | kept}
    return {"is_full": True, "why": why, "since": 0, "record": record}


def _last_writer(mart: str) -> str | None:
    """Return the dbt invocation that wrote a mart's folder: another database's, or Spark's, may have been the last."""
    record = Path(in_project(mart)) / RECORD
    return json.loads(record.read_text())["invocation_id"] if record.is_file() else None
