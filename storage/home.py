"""The user's cache folder, where there is a home directory to have it in."""

from __future__ import annotations

import os
from pathlib import Path

CACHE = "FIRST_IMPRESSION_CACHE"
REMEDY = f"Set {CACHE} to a folder that can be written."


class NoHomeError(Exception):
    """Says that there is no home directory, and what to do."""

    def __init__(self) -> None:
        super().__init__(
            "There is no home directory to keep a cache in (HOME isn't set, and this user isn't in the password file). "
            + REMEDY
        )


def user_cache() -> Path:
    """$FIRST_IMPRESSION_CACHE, else `first-impression` in ~/.cache. Raises: NoHomeError."""
    if os.environ.get(CACHE):
        return Path(os.environ[CACHE])
    try:
        return Path.home() / ".cache" / "first-impression"
    except RuntimeError:
        raise NoHomeError from None
