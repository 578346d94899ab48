"""Which Parquet files are a mart."""

from __future__ import annotations

import json
from pathlib import Path

from storage import installed

DELTA_LOG, RECORD = "_delta_log", "_build/build.json"
_UNDERSTOOD = {"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck", "appendOnly"}  # change nothing about the rows


def mart_files(folder: Path, error: type[Exception]) -> list[Path]:
    """The mart's files, in order: those that a Delta table's log or the build record names, else all in the folder.

    Raises: `error`, the caller's own, where the log can't be read, or rows depend on more than the files.
    """
    if not (folder / DELTA_LOG).is_dir():
        named = _named(folder)
        return parquet_files(folder) if named is None else named
    if lacking := installed.lacking("delta", f"{folder} is a Delta table. Reading it"):
        raise error(lacking)
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        table = DeltaTable(folder)
        features = set(table.protocol().reader_features or ()) - _UNDERSTOOD
        names = table.get_add_actions()["path"].to_pylist()
    except DeltaError as found:
        why = str(found).splitlines()[0]
        raise error(f"{folder}/{DELTA_LOG}: the Delta log can't be read ({why}).") from None
    if features:
        raise error(
            f"{folder} is a Delta table with {', '.join(sorted(features))}; expected one whose rows are those of its "
            "Parquet files. Write it anew without, or let `dbt build` write it."
        )
    return sorted(folder / name for name in names)


def _named(folder: Path) -> list[Path] | None:
    """The files of a mart that was published where nothing can be renamed: its record names them (warehouse/spark)."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # whoever needs the record says what is wrong with it
        return None
    names = record.get("files") if isinstance(record, dict) else None
    return sorted(folder / name for name in names) if names is not None else None


def parquet_files(folder: Path) -> list[Path]:
    """All Parquet files below a folder; _build, _delta_log and what is hidden hold no rows."""
    return sorted(
        path
        for path in folder.rglob("*.parquet")
        if not any(part.startswith(("_", ".")) for part in path.relative_to(folder).parts)
    )
