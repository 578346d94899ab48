"""What the installed package says about itself: its version, and which extras are there.

Both come from the package's metadata, so pyproject.toml is the only place that states them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import typer

DISTRIBUTION = "first-impression"


def version() -> str:
    """The version of the installed package; "unknown" where the code runs without being installed."""
    return version_of(DISTRIBUTION) or "unknown"


def version_option(program: str) -> Any:
    """The option `--version` of a command: prints the version and stops."""

    def show(wanted: bool) -> None:
        if wanted:
            typer.echo(f"{program} {version()}")
            raise typer.Exit

    return typer.Option("--version", callback=show, is_eager=True, help="Print the version and stop.")


def version_of(package: str) -> str | None:
    """The installed version of a package; None where it isn't installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def lacking(extra: str, what: str) -> str | None:
    """The error for a user who needs `what` without `extra` installed; None if all of its packages are there.

    Also None where the code runs without being installed: then nothing says what belongs to an extra.
    """
    missing = [name for name in _packages(extra) if version_of(name) is None]
    if not missing:
        return None
    return (
        f"{what} needs {', '.join(missing)}, which this environment doesn't have. "
        f"Run: pip install '{DISTRIBUTION}[{extra}]'"
    )


def _packages(extra: str) -> Iterator[str]:
    """The packages of an extra, those of the extras that it includes too."""
    try:
        requirements = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return
    for requirement in requirements:
        if not re.search(rf"\bextra == ['\"]{re.escape(extra)}['\"]", requirement):
            continue
        parts = re.match(r"([\w.-]+)(?:\[(.+?)\])?", requirement)
        assert parts is not None, requirement
        name, extras = parts.groups(default="")
        if name == DISTRIBUTION:
            for inner in extras.split(","):
                yield from _packages(inner.strip())
        else:
            yield name
