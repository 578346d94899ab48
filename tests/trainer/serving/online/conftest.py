"""A store of each kind, and a log of what was served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trainer.serving.online.logs import Log
from trainer.serving.online.stores import Store, open_store


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = open_store(url)
    yield store
    store.close()


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)
