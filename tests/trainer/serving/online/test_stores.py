"""What both stores promise: several keys change at once or not at all, and a reader sees one moment."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from trainer.base.errors import TrainerError
from trainer.serving.online import stores
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


def test_what_another_writes_is_seen(url: str) -> None:
    """Though what was read before is remembered: keys that were there, that were not, and those of a failed change."""
    mine, other = open_store(url), open_store(url)
    mine.update([], lambda _: {b"a": b"1"})
    assert mine.get([b"a", b"b"]) == {b"a": b"1", b"b": None}
    with pytest.raises(ValueError, match="no"):
        mine.update([b"a"], lambda blobs: {b"a": bytes(int("no"))})
    other.update([b"a"], lambda blobs: {b"a": (blobs[b"a"] or b"") + b"2", b"b": b"3"})
    assert mine.get([b"a", b"b"]) == {b"a": b"12", b"b": b"3"}
    mine.update([b"a"], lambda blobs: {b"a": (blobs[b"a"] or b"") + b"4", b"b": None})
    assert mine.get([b"b", b"a"]) == other.get([b"b", b"a"]) == {b"a": b"124", b"b": None}
    for store in (mine, other):
        store.close()


def test_changes_together(url: str) -> None:
    """They are seen at once by who makes them; in SQLite an error takes all of them back."""
    mine, other = open_store(url), open_store(url)
    with mine.together():
        for n in range(3):
            mine.update([b"a"], lambda blobs, n=n: {b"a": (blobs[b"a"] or b"") + b"%d" % n})
        assert mine.get([b"a"]) == {b"a": b"012"}
    assert other.get([b"a"]) == {b"a": b"012"}
    if url.startswith("sqlite"):
        with pytest.raises(ValueError, match="no"), mine.together():  # the error is in the middle
            mine.update([b"a"], lambda _: {b"a": b"lost"})
            raise ValueError("no")
        for store in (mine, other):
            assert store.get([b"a"]) == {b"a": b"012"}
        mine.update([b"a"], lambda blobs: {b"a": (blobs[b"a"] or b"") + b"3"})
        assert other.get([b"a"]) == {b"a": b"0123"}
    for store in (mine, other):
        store.close()


def test_what_is_remembered_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "_REMEMBERED", 10_000)
    store = stores.SQLiteStore(tmp_path / "state.sqlite")
    for start in range(0, 500, 10):
        store.update([], lambda _, start=start: {b"%d" % k: b"x" * 100 for k in range(start, start + 10)})
    keys = [b"%d" % k for k in range(500)]
    assert all(len(store.get(keys[k : k + 10])) == 10 for k in range(0, 500, 10))
    assert store.get(keys) == dict.fromkeys(keys, b"x" * 100)
    store.get([])
    assert len(store._remembered) == 0
    assert store.get(keys[:1]) == {b"0": b"x" * 100}
    assert len(store._remembered) == 1
    store.close()


def test_work_aside(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost, and SQLite's log doesn't grow without end."""
    monkeypatch.setattr(stores, "_CHECKPOINT_SECONDS", 0.01)
    monkeypatch.setattr(stores, "_LONGEST_LOG", 1_000_000)
    store = open_store(url)
    store.work_aside()
    for n in range(300):
        store.update([b"a"], lambda _, n=n: {b"a": b"%d" % n + bytes(50_000)})
        time.sleep(0.001)
    assert store.get([b"a"])[b"a"] == b"299" + bytes(50_000)
    assert all(log.stat().st_size < 10_000_000 for log in tmp_path.glob("*-wal"))
    store.close()
    again = open_store(url)
    assert again.get([b"a"])[b"a"] == b"299" + bytes(50_000)
    again.close()


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
    for url in (f"sqlite:{tmp_path}/mistyped.sqlite", f"{tmp_path}/mistyped.sqlite"):
        with pytest.raises(
            TrainerError, match=r"mistyped.sqlite: there is no such file. Correct the path, or make a state"
        ):
            open_store(url, new=False)
    assert not (tmp_path / "mistyped.sqlite").exists()
    with pytest.raises(TrainerError, match="expected sqlite:FILE"):
        open_store("mysql://here")
