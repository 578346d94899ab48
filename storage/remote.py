"""Fetch what a path stands for (storage/places.py), and upload what was made. Nothing happens for a local path.

    <cache>/remote/objects/<hash>      each object once; its place, size, time and ETag are hashed

A view holds hard links to objects. Objects are written atomically, so that processes share them and a kill leaves
nothing half; those unused for longest are deleted when all together are larger than $FIRST_IMPRESSION_REMOTE_GB
(default 50).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from pyarrow.fs import FileType

from storage import atomic, object_stores
from storage.object_stores import Entry, GoneError
from storage.places import cache_root, is_remote, uri_of
from storage.uris import RemoteError, Uri

Item = TypeVar("Item")

LIMIT = "FIRST_IMPRESSION_REMOTE_GB"
_THREADS = 8
_FRESH = 60  # seconds: an object that another process may be about to link
_SNAPSHOTS = 3  # tries to get a folder that doesn't change meanwhile
_listed: dict[Path, Entry] = {}  # what `entries` said of a file
_have: dict[Path, object] = {}  # what was fetched: the Entry of a file, all Entries of a folder


def look(path: Path) -> None:
    """Make a folder be there, with the (empty) folders in it, or a file. Nothing where there is nothing."""
    uri = uri_of(path)
    if uri is None:
        return
    what = object_stores.kind(uri)
    if what == FileType.File:
        need(path)
    elif what == FileType.Directory:
        names = object_stores.folders(uri)
        path.mkdir(parents=True, exist_ok=True)
        for old in [old for old in path.iterdir() if old.is_dir() and old.name not in names]:
            shutil.rmtree(old, ignore_errors=True)
        for name in names:
            (path / name).mkdir(exist_ok=True)


def fetch(path: Path) -> None:
    """Make a file, or a folder with all that is below it, be there as the store has it now; not where it has nothing.

    A folder is of one moment: where objects come, go or change meanwhile, all is listed again.
    Raises: RemoteError in words; GoneError where the folder doesn't come to rest.
    """
    uri = uri_of(path)
    if uri is None:
        return
    gone: GoneError | None = None
    for _ in range(_SNAPSHOTS):
        what, found = object_stores.kind(uri), None
        if what == FileType.NotFound:
            _forget(path)
            return
        try:
            if what == FileType.File:
                _place(uri, path)
                return
            found = tuple(object_stores.listing(uri))
            if _have.get(path) == found and path.is_dir():
                return
            _fetch_folder(uri, path, found)
            if tuple(object_stores.listing(uri)) == found:
                _have[path] = found
                _make_room()
                return
            gone = None
        except GoneError as error:
            still = found is None or tuple(object_stores.listing(uri)) == found
            gone = error if still else None  # an object that is listed and can't be read, rather than one that went
    raise gone or GoneError(
        f"{uri} was changed each of the {_SNAPSHOTS} times that it was fetched. Wait until whoever writes there is "
        "done, then run the same command again."
    )


def need(path: Path) -> Path:
    """The path of a file, fetched unless it is there already, as `entries` listed it.

    Raises: GoneError where it was listed and isn't there any more, or is another now.
    """
    uri = uri_of(path)
    if uri is None:
        return path
    listed = _listed.get(path)
    if listed is not None and _have.get(path) == listed and path.exists():
        return path
    try:
        _place(uri, path)
    except GoneError:
        if listed is None:
            return path
        raise GoneError(
            f"{uri} was listed and is gone since, or was written anew. Expected files that stay as they are while they "
            "are read. Run the command again."
        ) from None
    if listed is not None:
        if path.stat().st_size != listed.size:
            raise GoneError(f"{uri} was written anew since it was listed. Run the command again.")
        _have[path] = listed
    _make_room()
    return path


def release(path: Path) -> None:
    """Say that a file isn't read any more, so that its object may go from the cache."""
    if is_remote(path):
        _forget(path)


def entries(folder: Path) -> list[Entry] | None:
    """What is below a folder, without fetching it; None for a local one."""
    uri = uri_of(folder)
    if uri is None:
        return None
    if object_stores.kind(uri) != FileType.Directory:
        return []
    found = object_stores.listing(uri)
    _listed.update({folder / entry.path: entry for entry in found})
    return found


def exists(path: Path) -> bool:
    """Whether there is such a file or folder: in the store, for a path that stands for a URI."""
    uri = uri_of(path)
    return path.exists() if uri is None else object_stores.kind(uri) != FileType.NotFound


def _place(uri: Uri, path: Path) -> None:
    """Put the object as it is now at the path."""
    with atomic.file(path) as aside:
        _link(uri, aside)


def _link(uri: Uri, path: Path) -> None:
    """Link the object as it is now to a path that is free; download it first where the cache doesn't have it."""
    version = object_stores.version(uri)
    found = _object(version)
    if not found.exists():
        object_stores.download(uri, version, found)
    with contextlib.suppress(OSError):
        os.utime(found)  # used now: the last to be deleted
    try:
        path.hardlink_to(found)
    except FileNotFoundError:
        raise GoneError(
            f"{uri} went from the cache before it was read, since other objects needed the room. Set ${LIMIT} higher."
        ) from None
    except OSError:  # a file system without links
        shutil.copyfile(found, path)


def _object(version: str) -> Path:
    return cache_root() / "objects" / version[:2] / version


def _fetch_folder(uri: Uri, path: Path, found: tuple[Entry, ...]) -> None:
    with atomic.folder(path) as aside:
        for folder in {(aside / entry.path).parent for entry in found}:
            folder.mkdir(parents=True, exist_ok=True)
        _at_once(lambda entry: _link(_below(uri, entry.path), aside / entry.path), found)


def _below(uri: Uri, path: str) -> Uri:
    return Uri(uri.scheme, uri.place, f"{uri.key}/{path}".lstrip("/"), uri.user, uri.options)


def _at_once(act: Callable[[Item], None], items: Iterable[Item]) -> None:
    """The act on each item, by several threads; after an error no further one is begun."""
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            for _ in pool.map(act, items):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _forget(path: Path) -> None:
    _listed.pop(path, None)
    for known in (path, *path.parents):
        _have.pop(known, None)
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def version(path: Path) -> str | None:
    """What tells the object of a path from what it was before; None where there is none, and for a local path."""
    uri = uri_of(path)
    if uri is None or object_stores.kind(uri) == FileType.NotFound:
        return None
    return object_stores.version(uri)


def upload(path: Path, last: str = "", *, adds: bool = False) -> None:
    """Put a file, or all files below a folder, where its URI says, and remove them here. Nothing for a local path.

    last: the file of a folder that says that it is whole; it is written last, and an old one is deleted first, so that
    what is half there is never taken for whole. adds: the others have names that say what they hold, so those that are
    there stay as they are, and the old last file stands for them until the new one is there.
    Raises: RemoteError; the local files are then left.
    """
    uri = uri_of(path)
    if uri is None:
        return
    if path.is_dir():
        _upload_folder(uri, path, last, adds)
    else:
        _put(path, uri)
    _forget(path)


def _upload_folder(uri: Uri, path: Path, last: str, adds: bool) -> None:
    there = {}
    if object_stores.kind(uri) == FileType.Directory:
        there = {entry.path: entry.size for entry in object_stores.listing(uri)}
    ours = {
        found.relative_to(path).as_posix(): found.stat().st_size
        for found in sorted(path.rglob("*"))
        if found.is_file() and not found.name.startswith(".")
    }
    assert last in ours, (last, path)
    if last in there and not adds:
        object_stores.remove(_below(uri, last))
    todo = [name for name, size in ours.items() if name != last and not (adds and there.get(name) == size)]
    _at_once(lambda name: _put(path / name, _below(uri, name)), todo)
    if not adds:
        _at_once(object_stores.remove, [_below(uri, name) for name in there if name not in ours])
    _put(path / last, _below(uri, last))


def _put(path: Path, uri: Uri) -> None:
    """Upload a file, and keep it as an object of the cache: what was just made is often read next."""
    object_stores.put(path, uri)
    kept = _object(object_stores.version(uri))
    kept.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        kept.hardlink_to(path)


def _make_room() -> None:
    """Delete the objects that were unused for longest, until the rest is within the limit. Those in a view stay."""
    given = os.environ.get(LIMIT, "50")
    try:
        limit = float(given) * 1e9
    except ValueError:
        raise RemoteError(f"${LIMIT} is {given!r}. Expected a number of gigabytes, such as 50.") from None
    found = []
    for path in (cache_root() / "objects").glob("*/*"):
        with contextlib.suppress(FileNotFoundError):
            found.append((path.stat(), path))
    total = sum(state.st_size for state, _ in found)
    for state, path in sorted(found, key=lambda pair: pair[0].st_mtime_ns):
        if total <= limit:
            return
        in_use = state.st_nlink > 1 or time.time() - state.st_mtime < _FRESH
        if not in_use:
            path.unlink(missing_ok=True)
            total -= state.st_size
