"""What both stores promise: several keys change at once or not at all, and a reader sees one moment."""

from __future__ import annotations

import threading

import pytest

from trainer.base.errors import TrainerError
from trainer.serving.online.stores import Blobs, Store, StoreError, open_store


def test_blobs_come_back(store: Store) -> None:
    assert store.get([b"a", b"b"]) == {b"a": None, b"b": None}
    store.update([b"a"], lambda blobs: {b"a": b"1", b"b\0": bytes(range(256))} if blobs == {b"a": None} else {})
    assert store.get([b"a", b"b\0", b"a"]) == {b"a": b"1", b"b\0": bytes(range(256))}
    store.update([b"a"], lambda blobs: {b"a": None})
    assert store.get([b"a"]) == {b"a": None}
    assert store.get([]) == {}


def test_a_change_that_fails_changes_nothing(store: Store) -> None:
    def change(blobs: Blobs) -> Blobs:
        raise ValueError("no")

    store.update([], lambda _: {b"a": b"1"})
    with pytest.raises(ValueError, match="no"):
        store.update([b"a"], change)
    store.update([b"a"], lambda blobs: {b"a": (blobs[b"a"] or b"") + b"2"})
    assert store.get([b"a"]) == {b"a": b"12"}


def test_writers_and_a_reader_at_once(url: str) -> None:
    """Each writer adds one to two keys; a reader must never see them differ, and no step may be lost."""

    def step(blobs: Blobs) -> Blobs:
        n = int(blobs[b"a"] or 0) + 1
        return {b"a": str(n).encode(), b"b": str(n).encode()}

    def write() -> None:
        mine = open_store(url)
        for _ in range(60):
            mine.update([b"a", b"b"], step)
        mine.close()

    open_store(url).close()
    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    reader = open_store(url)
    while any(writer.is_alive() for writer in writers):
        seen = reader.get([b"a", b"b"])
        assert seen[b"a"] == seen[b"b"]
    assert reader.get([b"a"]) == {b"a": b"180"}
    reader.close()


def test_a_store_that_is_not_there(tmp_path, redis_url: str) -> None:
    with pytest.raises(StoreError, match=r"redis://127.0.0.1:1/0 can't be read"):
        open_store("redis://127.0.0.1:1/0").get([b"a"])
    (tmp_path / "file").write_text("no database, and long enough to be read as one" * 100)
    with pytest.raises(StoreError, match="file can't be read or written"):
        open_store(f"sqlite:{tmp_path}/file")
    with pytest.raises(TrainerError, match="expected sqlite:FILE"):
        open_store("mysql://here")
