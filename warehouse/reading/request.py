"""What an adapter's macro asks for."""

from dataclasses import dataclass, field

from warehouse.places import in_project


@dataclass(frozen=True)
class Request:
    """What an adapter's macro asks for; macros/raw_files.sql has the meaning of each."""

    kind: str  # csv, parquet; parts: all files are one of both, and `pattern` is without the suffix
    folder: str
    pattern: str
    columns: list[str]
    remedy: str
    partitions: list[str] = field(default_factory=list)
    delim: str = ","
    quote: str = '"'
    rename: dict[str, str] = field(default_factory=dict)
    header: list[str] | None = None
    only: list[str] | None = None  # of the files found, those to read; all others count as read before


def place_of(folder: str) -> str:
    """The raw folder as the paths in SQL begin."""
    return in_project(folder).rstrip("/") or "/"
