"""Which Parquet files are a mart."""

from __future__ import annotations

from pathlib import Path

from storage import installed

DELTA_LOG = "_delta_log"
_UNDERSTOOD = {"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck", "appendOnly"}  # change nothing about the rows


def mart_files(folder: Path, error: type[Exception]) -> list[Path]:
    """The mart's files, in order: those that the log of a Delta table names, else all that lie in the folder.

    Raises: `error`, the caller's own, where the log can't be read, or rows depend on more than the files.
    """
    if not (folder / DELTA_LOG).is_dir():
        return parquet_files(folder)
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


def parquet_files(folder: Path) -> list[Path]:
    """All Parquet files below a folder; _build, _delta_log and what is hidden hold no rows."""
    return sorted(
        path
        for path in folder.rglob("*.parquet")
        if not any(part.startswith(("_", ".")) for part in path.relative_to(folder).parts)
    )
