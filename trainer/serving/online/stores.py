"""Where the state's blobs lie: SQLite in a file, or a Redis server. Both change several keys at once or none.

`Store.get` reads keys as of one moment; `Store.update` reads keys, lets a function say what they become, and writes
that, as one step that neither a kill nor another writer can cut in two.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, final
from urllib.parse import urlsplit

from trainer.base.errors import TrainerError, require_extra

Blobs = dict[bytes, bytes | None]
Change = Callable[[Blobs], Blobs]
_SQLITE_KEYS = 30_000  # per statement; SQLite's own limit is 32,766
_CHECKPOINT_SECONDS = 1.0
_LONGEST_LOG = 1 << 26  # bytes of SQLite's log before it begins anew
_REMEMBERED = 1 << 26  # bytes of blobs that a process keeps in memory
_OVERHEAD = 200  # bytes of a key and a blob beside their own
_WAIT_SECONDS = 30.0


class StoreError(TrainerError):
    """The store can't be reached or written just now."""


class Store(ABC):
    """Blobs by key."""

    @abstractmethod
    def get(self, keys: Sequence[bytes]) -> Blobs:
        """The blobs of all keys as of one moment; None for a key that isn't there."""

    @abstractmethod
    def update(self, keys: Sequence[bytes], change: Change) -> None:
        """Write what `change` makes of the keys' blobs, all of it or nothing; None removes a key.

        `change` may be called more than once.
        """

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """One transaction for all changes meanwhile, where the store can: all of them, or after an error none."""
        yield

    def work_aside(self) -> None:  # noqa: B027  # not all stores have such work
        """Do from now on what makes a call wait in a thread of its own: for a process that serves."""

    @abstractmethod
    def close(self) -> None: ...


@final
class SQLiteStore(Store):
    """One table in a file, with a write-ahead log: readers don't wait for a writer.

    Blobs that were read or written are remembered until another process writes, which SQLite tells (`data_version`).
    A commit survives the end of the process, kill -9 included. After a power cut the last commits may be missing, never
    a part of one (`synchronous=NORMAL`).
    """

    def __init__(self, path: Path, wait: float = _WAIT_SECONDS):
        self._path, self._lock = path, threading.Lock()
        self._remembered, self._n_bytes, self._version = Blobs(), 0, -1
        self._is_held = False  # by `together`
        self._closed = threading.Event()
        self._aside: threading.Thread | None = None
        with self._reported():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=wait, isolation_level=None, check_same_thread=False)
            self._connection.execute("pragma journal_mode = wal")
            self._connection.execute("pragma synchronous = normal")
            self._connection.execute("pragma cache_size = -65536")  # KiB
            self._connection.execute("pragma wal_autocheckpoint = 16384")  # pages of 4 KiB; each waits for the disk
            self._connection.execute(
                "create table if not exists state (key blob primary key, value blob not null) without rowid"
            )

    def get(self, keys: Sequence[bytes]) -> Blobs:
        with self._reported(), self._lock:
            if self._holds(keys):
                return {key: self._remembered[key] for key in keys}
            with self._transaction("begin"):
                return self._read(keys)

    def update(self, keys: Sequence[bytes], change: Change) -> None:
        with self._reported(), self._lock:
            with self._transaction("begin immediate"):
                changed = change(self._read(keys))
                written = [(key, value) for key, value in changed.items() if value is not None]
                self._connection.executemany("insert or replace into state values (?, ?)", written)
                if removed := [(key,) for key, value in changed.items() if value is None]:
                    self._connection.executemany("delete from state where key = ?", removed)
            self._remember(changed)  # once it is committed

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """A page that many changes touch is written once. Other writers wait until the end; one thread may call."""
        with self._reported(), self._transaction("begin immediate"):
            self._is_held = True
            try:
                yield
            except BaseException:
                self._version = -1  # what is remembered isn't in the file
                raise
            finally:
                self._is_held = False

    def work_aside(self) -> None:
        """The log's pages go into the file every second, in place of at a commit, which would wait for the disk."""
        with self._reported():
            self._connection.execute("pragma wal_autocheckpoint = 0")
        self._aside = threading.Thread(target=self._checkpoint, name="checkpoints", daemon=True)
        self._aside.start()

    def _checkpoint(self) -> None:
        log = self._path.with_name(self._path.name + "-wal")
        with contextlib.closing(sqlite3.connect(self._path, isolation_level=None)) as connection:
            while not self._closed.wait(_CHECKPOINT_SECONDS):
                with contextlib.suppress(sqlite3.Error, OSError):  # the next commit says what is wrong with the file
                    connection.execute("pragma wal_checkpoint(passive)")
                    if log.stat().st_size > _LONGEST_LOG:  # what is left is little, and writers wait for that only
                        connection.execute("pragma wal_checkpoint(truncate)")

    def close(self) -> None:
        self._closed.set()
        if self._aside is not None:
            self._aside.join()
        self._connection.close()

    def _read(self, keys: Sequence[bytes]) -> Blobs:
        """In a transaction, which begins to see the file here."""
        if not self._holds([]):
            self._remembered, self._n_bytes, self._version = {}, 0, self._data_version()
        known = self._remembered
        new: Blobs = {key: None for key in keys if key not in known}
        wanted = list(new)
        for start in range(0, len(wanted), _SQLITE_KEYS):
            some = wanted[start : start + _SQLITE_KEYS]
            marks = ",".join("?" * len(some))
            new.update(self._connection.execute(f"select key, value from state where key in ({marks})", some))
        self._remember(new)
        return {key: known[key] for key in keys}

    def _holds(self, keys: Sequence[bytes]) -> bool:
        """Whether what is remembered is what the file has now, of all these keys, and not too much."""
        is_current = self._data_version() == self._version and self._n_bytes <= _REMEMBERED
        return is_current and all(map(self._remembered.__contains__, keys))

    def _data_version(self) -> int:
        """Another number once another connection has written."""
        ((version,),) = self._connection.execute("pragma data_version")
        return int(version)

    def _remember(self, blobs: Blobs) -> None:
        self._remembered.update(blobs)
        self._n_bytes += sum(len(key) + len(value or b"") + _OVERHEAD for key, value in blobs.items())

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        if self._is_held:
            yield
            return
        self._connection.execute(begin)
        try:
            yield
            self._connection.execute("commit")
        except BaseException:
            if self._connection.in_transaction:  # SQLite has rolled back by itself after some errors
                self._connection.execute("rollback")
            raise

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"The state in {self._path} can't be read or written ({error}).") from None


@final
class RedisStore(Store):
    """One key per blob below a prefix. A change is a transaction that Redis refuses if a key has changed meanwhile."""

    def __init__(self, url: str, prefix: bytes, wait: float = _WAIT_SECONDS):
        require_extra("serving", "A state in Redis")
        import redis
        from redis.backoff import ExponentialWithJitterBackoff
        from redis.retry import Retry

        self._redis = redis
        self._url, self._prefix = url, prefix
        self._client: Any = redis.Redis.from_url(
            url,
            socket_connect_timeout=min(5, wait),
            socket_timeout=wait,
            retry=Retry(ExponentialWithJitterBackoff(base=wait / 30, cap=wait / 3), 2),
        )

    def get(self, keys: Sequence[bytes]) -> Blobs:
        with self._reported():
            return self._read(self._client, list(dict.fromkeys(keys)))

    def update(self, keys: Sequence[bytes], change: Change) -> None:
        wanted = list(dict.fromkeys(keys))
        with self._reported():
            while True:
                with self._client.pipeline(transaction=True) as pipe:
                    try:
                        if wanted:
                            pipe.watch(*(self._prefix + key for key in wanted))
                        changed = change(self._read(pipe, wanted))
                        pipe.multi()
                        written = {self._prefix + key: value for key, value in changed.items() if value is not None}
                        removed = [self._prefix + key for key, value in changed.items() if value is None]
                        if written:
                            pipe.mset(written)
                        if removed:
                            pipe.delete(*removed)
                        pipe.execute()
                        return
                    except self._redis.WatchError:
                        continue  # another writer was first: again, on what it wrote

    def close(self) -> None:
        self._client.close()

    def _read(self, client: Any, keys: list[bytes]) -> Blobs:
        values = client.mget([self._prefix + key for key in keys]) if keys else []
        return dict(zip(keys, values, strict=True))

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except self._redis.RedisError as error:
            raise StoreError(f"The state at {self._url} can't be read or written ({error}).") from None


def open_store(url: str, wait: float = _WAIT_SECONDS, *, new: bool = True) -> Store:
    """`sqlite:FILE` (or just a path ending in .sqlite), or `redis://HOST:PORT/DATABASE?prefix=NAME`.

    wait: seconds that a call waits for another writer's lock, or for the server. new: a file that isn't there is made.

    Raises: TrainerError for a URL of another kind, and where a file has to be there; StoreError where the store can't
    be reached.
    """
    if url.startswith(("redis://", "rediss://", "unix://")):
        base, _, query = url.partition("?")
        options = [part for part in query.split("&") if part]
        prefix = next((part.removeprefix("prefix=") for part in options if part.startswith("prefix=")), "state")
        rest = "&".join(part for part in options if not part.startswith("prefix="))
        return RedisStore(base + (f"?{rest}" if rest else ""), f"{prefix}:".encode(), wait)
    if url.startswith("sqlite:") or (not urlsplit(url).scheme and url.endswith((".sqlite", ".db"))):
        path = Path(url.removeprefix("sqlite:").removeprefix("//"))
        if not new and not path.exists():
            raise TrainerError(
                f"--state {url}: there is no such file. Correct the path, or make a state: `trainer state build`."
            )
        return SQLiteStore(path, wait)
    raise TrainerError(
        f"--state {url}: expected sqlite:FILE, such as sqlite:state.sqlite, or redis://HOST:PORT/0, which may end in "
        "?prefix=NAME."
    )
