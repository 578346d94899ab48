"""Errors met while a run's files are read, as one error that says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from trainer.base.errors import TrainerError


@contextmanager
def readable(run: Path) -> Iterator[None]:
    """What goes wrong while a run's files are read becomes a TrainerError: damaged bytes lead to any of these."""
    try:
        yield
    except (
        SafetensorError,
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RuntimeError,
        MemoryError,
    ) as error:
        found = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise TrainerError(
            f"{run} can't be read as a finished run ({found}). Train it again with `trainer fit`."
        ) from None
