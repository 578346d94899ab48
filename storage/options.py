"""What a command takes as a path: a local one or a URI, or a local one alone. For `typer.Option(..., **READ)`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from storage import places
from storage.uris import RemoteError, parse


def _checked(make: Callable[[str], Path]) -> dict[str, Any]:
    def parsed(given: str) -> Path:
        try:
            return make(given)
        except RemoteError as error:
            raise typer.BadParameter(str(error)) from None

    return {"parser": parsed, "metavar": "PATH"}


def _on_this_machine(given: str) -> Path:
    if not places.is_uri(given):
        return Path(given)
    found = parse(given)
    if isinstance(found, Path):
        return found
    raise RemoteError(f"{found} is no path of this machine, which is expected here. Copy it from or to there yourself.")


READ = _checked(places.local)
WRITE = _checked(places.target)
LOCAL = _checked(_on_this_machine)
