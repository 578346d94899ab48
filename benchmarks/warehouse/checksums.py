"""Are two training tables the same? Row counts and a checksum a column that doesn't depend on the order of rows."""

from __future__ import annotations

from pathlib import Path

import duckdb


def checksums(files: str, columns: list[str], connection: duckdb.DuckDBPyConnection) -> dict[str, tuple]:
    """Of each column of a table with event_id: how many values are present, and the sum of their hashes by event.

    Numbers are rounded to nine digits and compared as doubles, whatever type a tool gave them.
    """
    types = {name: kind for name, kind, *_ in connection.execute(f"describe select * from '{files}'").fetchall()}
    missing = [name for name in columns if name not in types]
    if missing:
        raise SystemExit(f"{files} lacks {', '.join(missing)}")
    sums = []
    for name in columns:
        value = f'"{name}"'
        if types[name].endswith("[]"):
            value = f"list_transform({value}, lambda x: round(x::double, 9))"
        elif types[name] != "VARCHAR":
            value = f"round({value}::double, 9)"
        sums.append(
            f'count("{name}"), sum(case when "{name}" is not null then (hash(event_id, {value}) >> 20)::bigint end)'
        )
    row = connection.execute(f"select count(*), {', '.join(sums)} from '{files}'").fetchone()
    found = {"rows": (row[0],)}
    for number, name in enumerate(columns):
        found[name] = row[1 + 2 * number : 3 + 2 * number]
    return found


def require_equal(ours: str, theirs: str, columns: list[str], who: str, scratch: Path) -> int:
    """The number of rows, if every column agrees. Raises: SystemExit naming the columns that don't."""
    with duckdb.connect(config={"memory_limit": "6GB", "temp_directory": str(scratch)}) as connection:
        expected, found = (checksums(files, columns, connection) for files in (ours, theirs))
    differing = [f"{name}: {found[name]}, ours {expected[name]}" for name in expected if expected[name] != found[name]]
    if differing:
        raise SystemExit(f"{who} computed something else than we did in\n  " + "\n  ".join(differing))
    return expected["rows"][0]
