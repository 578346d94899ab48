"""A store of each kind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from trainer.serving.online.stores import Store, open_store


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = open_store(url)
    yield store
    store.close()
