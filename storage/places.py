"""What a user names as a file or folder, as a local Path; and a path as what the user named.

For a local path, and for `file://`, that is the path itself. For a URI it is a path below the user's cache folder,
which says by itself where it belongs, in every process:

    <cache>/remote/views/<process>/s3/<bucket>/<key>       what this process reads
    <cache>/remote/made/s3/<bucket>/<key>                  what is made here and then uploaded

Nothing is there yet: code that reads calls `look`, `fetch` or `need` of storage/remote.py where it would begin to open
files, code that writes `upload` when its output is whole, and between the two there are local files alone.
A view goes with its process.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

from storage import home
from storage.uris import REMOTE, RemoteError, Uri, is_uri, parse, without_secrets

# Credentials and options of the URIs that were given, by what they are for; never written anywhere.
_given: dict[tuple[str, str], tuple[str, tuple[tuple[str, str], ...]]] = {}


def local(given: str | os.PathLike[str]) -> Path:
    """The path to read what the user named. Nothing is fetched yet. Raises: RemoteError for a URI of another kind."""
    return _as_path(given, _view)


def target(given: str | os.PathLike[str]) -> Path:
    """The path to write what the user named, for `upload` to take from there. Raises: as `local`."""
    return _as_path(given, lambda: cache_root() / "made")


def recorded(text: str) -> Path:
    """The path to read what a file names, such as a run's lineage. Where a store is, and with what credentials, is the
    user's to say: options in the text don't count."""
    return local(without_secrets(text))


def shown(path: Path) -> str:
    """A path as the user knows it: the URI, without credentials and options, or the path."""
    uri = uri_of(path)
    return str(uri).rstrip("/") if uri else str(path)


def told(text: str) -> str:
    """Text with the URIs that its paths stand for."""
    if "/remote/" not in text:
        return text
    with contextlib.suppress(RemoteError):
        own = rf"{re.escape(str(cache_root()))}/(?:views/\w+|made)/({'|'.join(REMOTE)})/"
        return re.sub(own, r"\1://", text)
    return text


def is_remote(path: Path) -> bool:
    return uri_of(path) is not None


def uri_of(path: Path) -> Uri | None:
    """The URI that a path stands for; None for a local one."""
    text = str(path)
    if "/remote/" not in text:
        return None
    try:
        root = str(cache_root())
    except RemoteError:
        return None
    found = re.fullmatch(rf"{re.escape(root)}/(?:views/\w+|made)/({'|'.join(REMOTE)})/([^/]+)(?:/(.*))?", text, re.S)
    if not found:
        return None
    scheme, place, key = found[1], found[2], found[3] or ""
    return Uri(scheme, place, key, *_given.get((scheme, place), ("", ())))


def _as_path(given: str | os.PathLike[str], root: Callable[[], Path]) -> Path:
    if not is_uri(given):
        return Path(given)
    uri = parse(given)
    if isinstance(uri, Path):
        return uri
    if uri.user or uri.options:
        _given[uri.scheme, uri.place] = uri.user, uri.options
    return root() / uri.scheme / uri.place / uri.key


def cache_root() -> Path:
    """The folder of everything that has to do with URIs. Raises: RemoteError where there is no home directory."""
    try:
        return Path(os.path.realpath(home.user_cache() / "remote"))
    except home.NoHomeError as error:
        raise RemoteError(str(error)) from None


def _view() -> Path:
    return _view_of(os.getpid(), cache_root())


@functools.lru_cache(maxsize=4)
def _view_of(process: int, root: Path) -> Path:
    """A folder for this process, which holds a lock on it: views that nobody holds are of processes that are gone."""
    views = root / "views"
    try:
        views.mkdir(parents=True, exist_ok=True)
        for lock in list(views.glob("*.lock")):
            with _held(lock) as is_ours:
                if is_ours:
                    shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                    lock.unlink(missing_ok=True)
        while True:
            view = views / uuid4().hex
            lock = view.with_suffix(".lock")
            held = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
            fcntl.flock(held, fcntl.LOCK_EX)  # until the process ends
            if lock.exists():  # else another process took it for a leftover before it was held
                break
            os.close(held)
        view.mkdir()
    except OSError as error:
        raise RemoteError(f"The cache {views} can't be made: {error.strerror or error}. {home.REMEDY}") from None
    atexit.register(_leave, process, view)
    return view


@contextlib.contextmanager
def _held(lock: Path) -> Iterator[bool]:
    try:
        opened = os.open(lock, os.O_RDWR)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(opened)


def _leave(process: int, view: Path) -> None:
    if os.getpid() == process:
        shutil.rmtree(view, ignore_errors=True)
        view.with_suffix(".lock").unlink(missing_ok=True)
