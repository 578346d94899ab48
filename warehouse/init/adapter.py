"""The adapter's SQL: each canonical column with what gives it, and why those that are missing are."""

from __future__ import annotations

import re
from dataclasses import dataclass

from warehouse.init.columns import Column, Sample
from warehouse.init.context import feature_names
from warehouse.init.label import label_case
from warehouse.init.roles import Roles
from warehouse.init.scope import ONE_SCENE, time_sql
from warehouse.init.sql import comment, jinja_text

WIDTH = 110


@dataclass(frozen=True)
class Given:
    """One canonical column. source: the log's column(s) behind it, empty if there is none. why: about a missing one."""

    name: str
    sql: str
    source: str = ""
    why: str = ""


@dataclass(frozen=True)
class Adapter:
    """What the template needs: the canonical columns, and the names of the lists' parts."""

    columns: list[Given]
    ctx_dense: list[str]
    ctx_ids: list[str]
    user_text_parts: list[str]


def adapter_of(roles: Roles, sample: Sample) -> Adapter:
    def plain(name: str, column: Column | None, why: str) -> Given:
        if column is None:
            return Given(name, "cast(null as string)", why=why)
        return Given(name, _text(column), column.name)

    rows = "file, row and position in the list" if sample.lists else "file and row"
    time = Given("event_at", time_sql(roles.time.adapter, roles.time_format), roles.time.name)
    if roles.positive is None:
        label = Given("label", f"cast({roles.label.adapter} as string)", roles.label.name)
    else:
        label = Given("label", label_case(roles.label.adapter, roles.positive), f"{roles.label.name}, {roles.positive}")
    scene = Given("scene", f"cast('{ONE_SCENE}' as string)", why="one scene: the log names none")
    title = plain("item_title", roles.title, "no text of the item")
    if roles.title and roles.title.kind == "text":
        title = Given("item_title", roles.title.adapter, roles.title.name)
    entities = plain("item_entities", roles.entities, "no tags, genres or names of the item")
    if roles.entities:
        entities = Given("item_entities", roles.entities.adapter, roles.entities.name)
    taken: set[str] = set()
    user_text_parts = feature_names(roles.user_texts, taken)
    ctx_dense, ctx_ids = feature_names(roles.dense, taken), feature_names(roles.ids, taken)
    columns = [
        plain("event_id", roles.event_id, f"made of {rows}: no column is unique"),
        plain("user_id", roles.user, ""),
        plain("item_id", roles.item, ""),
        plain("scene", roles.scene, "") if roles.scene else scene,
        time,
        plain(
            "known_at", roles.known, "event_at plus var label_delay: the log has no time at which outcomes are known"
        ),
        label,
        title,
        entities,
        _list("user_texts", roles.user_texts, "no text of the user", cast=False),
        _list("ctx_dense", roles.dense, "no numbers that come with an impression", cast=True),
        _list("ctx_ids", roles.ids, "no ids that come with an impression", cast=True),
    ]
    return Adapter(columns, ctx_dense, ctx_ids, user_text_parts)


def _text(column: Column) -> str:
    return f"cast({column.adapter} as string)"


def _expression(column: Column) -> str:
    """A column's SQL as an expression of Jinja."""
    quoted = re.fullmatch(r"\{\{ (adapter\.quote\(.*\)) \}\}", column.adapter)
    if quoted:
        return quoted[1]
    parts = re.split(r"\{\{ (adapter\.quote\(.*?\)) \}\}", column.adapter)
    return " ~ ".join(part if n % 2 else jinja_text(part) for n, part in enumerate(parts) if part)


def _list(name: str, columns: list[Column], why: str, cast: bool) -> Given:
    if not columns:
        return Given(name, "{{ array_of([]) }}", why=why)
    listed = wrapped([_expression(column) for column in columns], indent=8)
    end = ", cast_to='string'" if cast else ""
    return Given(name, f"{{{{ array_of([{listed}]{end}) }}}}", ", ".join(column.name for column in columns))


def wrapped(parts: list[str], indent: int) -> str:
    """Parts with commas, on lines of their own if they don't fit on one."""
    line = ", ".join(parts)
    if len(line) <= WIDTH - 40:
        return line
    lines, current = [], ""
    for part in parts:
        if len(current) + len(part) > WIDTH - indent:
            lines.append(current.rstrip())
            current = ""
        current += f"{part}, "
    lines.append(current.rstrip(" ,"))
    blanks = " " * indent
    return "\n" + "\n".join(blanks + one for one in lines) + "\n" + " " * (indent - 4)


def scan_call(sample: Sample, used: list[str], remedy: str) -> str:
    """The macro that reads the files. `columns`, a Jinja variable of the adapter, is what it reads."""
    log = sample.log
    arguments = [jinja_text(log.pattern), "columns", jinja_text(remedy)]
    if log.kind == "csv":
        if log.delim != ",":
            arguments.append(f"delim={jinja_text(log.delim)}")
        if log.quote != '"':
            arguments.append(f"quote={jinja_text(log.quote)}")
        if log.header:
            arguments.append("header=header")
    partitions = [name for name in log.partitions if name in used]
    if partitions:
        arguments.append(f"partitions=[{', '.join(map(jinja_text, partitions))}]")
    return f"raw_{log.kind}({', '.join(arguments)})"


def used_columns(roles: Roles, sample: Sample) -> list[str]:
    """The log's columns that the adapter reads, in the log's order."""
    roles_of = [roles.user, roles.item, roles.label, roles.time, roles.known, roles.scene, roles.event_id, roles.title]
    columns = (*roles_of, roles.entities, *roles.user_texts, *roles.dense, *roles.ids)
    return sample.raw_names(c for c in columns if c)


def impressions(sample: Sample) -> str:
    """The argument of impressions_of()."""
    return ", ".join(f"{jinja_text(one.field)}: {one.adapter}" for one in sample.lists)


def remarks(roles: Roles, sample: Sample) -> list[str]:
    """The columns that aren't used, and why: lines of an SQL comment."""
    lines = [f"{name}: {why}" for name, why in roles.unused.items()]
    lines += [f"{name}: not in every file" for name in sample.log.only_in_some]
    pairs = [one.name for one in sample.lists if one.is_pairs]
    lines += [f"{name}: each word holds an item and its label, such as N123-1" for name in pairs]
    return [comment(line) for line in (*lines, *sample.log.notes)]
