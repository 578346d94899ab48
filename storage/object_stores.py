"""Files in object stores and on HDFS, by pyarrow's file systems: listed, read and written, with retries and errors in
words. It comes with pyarrow, so that no package is added.

A request that fails is sent again: by the store's client, and then by `_asked`, which gives up at once where another
try can't help (no access, no bucket).
"""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

import pyarrow as pa
from pyarrow import fs

from storage import atomic
from storage.uris import RemoteError, Uri, check_key

Result = TypeVar("Result")

WAITS = (0.5, 2.0, 5.0)  # seconds before a request is sent again
ATTEMPTS = 3  # of S3's client, each time
TIMEOUTS = {"connect_timeout": 10, "request_timeout": 30}  # seconds without an answer, or without a byte
_CHUNK = 8 << 20
_NO_ACCESS = re.compile(
    r"ACCESS_DENIED|INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|EXPIRED_TOKEN|INVALID_CLIENT_TOKEN_ID|"
    r"UNRECOGNIZED_CLIENT|MISSING_AUTHENTICATION_TOKEN|HTTP status 40[13]|PERMISSION_DENIED|UNAUTHENTICATED|"
    r"Permission denied|default credentials"
)
_NO_BUCKET = re.compile(r"NO_SUCH_BUCKET|bucket does not exist")
_ELSEWHERE = re.compile(r"HTTP status 30[17]|PERMANENT_REDIRECT|AUTHORIZATION_HEADER_MALFORMED")
_NO_CLIENT = re.compile(r"Unable to load libhdfs|Unable to load libjvm")
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the role of this machine",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, or the account of this machine",
    "hdfs": "HADOOP_USER_NAME, or a Kerberos ticket",
}


class GoneError(RemoteError):
    """The object isn't there, or isn't what it was a moment ago."""


@dataclass(frozen=True, order=True)
class Entry:
    """An object below a folder. path: relative to it, with forward slashes."""

    path: str
    size: int
    modified_ns: int


def kind(uri: Uri) -> fs.FileType:
    """File, Directory or NotFound. Raises: RemoteError, also where there is no such bucket."""
    found = _info(uri).type
    if found == fs.FileType.NotFound and uri.scheme != "hdfs":
        bucket = Uri(uri.scheme, uri.place, "", uri.user, uri.options)
        try:
            there = _info(bucket).type if uri.key else found
        except RemoteError:  # who may read the key needn't be allowed to look at the bucket
            return found
        if there == fs.FileType.NotFound:
            raise _no_bucket(uri)
    return found


def listing(uri: Uri) -> list[Entry]:
    """Every object below a folder, in order. Raises: GoneError where the folder isn't there; RemoteError."""
    start = _path(uri)
    selector = fs.FileSelector(start, recursive=True)
    found = []
    for info in _asked(uri, "listed", lambda: _files(uri).get_file_info(selector)):
        path = info.path[len(start) :].lstrip("/") if info.path.startswith(start) else info.path
        check_key(uri, path)
        if info.type == fs.FileType.File:
            found.append(Entry(path, info.size, info.mtime_ns or 0))
    names = {entry.path for entry in found}
    for entry in found:
        parts = entry.path.split("/")
        if both := next((p for k in range(1, len(parts)) if (p := "/".join(parts[:k])) in names), None):
            raise RemoteError(f"{uri}/{both} is an object and a folder of {entry.path} at once. Rename one of them.")
    return sorted(found)


def folders(uri: Uri) -> list[str]:
    """The names of the folders in a folder, in order."""
    if uri.scheme == "gs":  # its client lists a folder by itself only where somebody made an object to mark it
        return sorted({entry.path.partition("/")[0] for entry in listing(uri) if "/" in entry.path})
    selector = fs.FileSelector(_path(uri), allow_not_found=True)
    infos = _asked(uri, "listed", lambda: _files(uri).get_file_info(selector))
    names = sorted(info.base_name for info in infos if info.type == fs.FileType.Directory)
    for name in names:
        check_key(uri, name)
    return names


def version(uri: Uri) -> str:
    """What tells an object from every other, and from itself before it was written anew: a hash of its place, size,
    time and, where the store has one, its ETag. Raises: GoneError; RemoteError."""

    def ask() -> str:
        with _files(uri).open_input_file(_path(uri)) as file:
            return _version(uri, file)

    return _asked(uri, "read", ask)


def download(uri: Uri, expected: str, target: Path) -> None:
    """Write an object to a local file, atomically: all of the version that is expected, or nothing.

    Raises: GoneError where it isn't there, or is another version before it was read to its end; RemoteError.
    """

    def check(file: pa.NativeFile) -> None:
        if _version(uri, file) != expected:
            raise GoneError(f"{uri} was written anew while it was read. Run the command again.")

    def once() -> None:
        with _files(uri).open_input_file(_path(uri)) as file, atomic.file(target) as aside:
            check(file)
            with aside.open("wb") as out:
                while chunk := file.read(_CHUNK):
                    out.write(chunk)
                if out.tell() != file.size():
                    raise OSError(f"{out.tell():,} of {file.size():,} bytes came")
            with _files(uri).open_input_file(_path(uri)) as again:
                check(again)

    _asked(uri, "read", once)


def put(source: Path, uri: Uri) -> None:
    """Write a local file to an object: all of it, or nothing that can be seen."""
    size, path = source.stat().st_size, _path(uri)

    def once() -> None:
        files, local = _files(uri), fs.LocalFileSystem()
        aside = path
        if uri.scheme == "hdfs":
            folder, _, name = path.rpartition("/")
            files.create_dir(folder or "/", recursive=True)
            aside = f"{folder}/.{name}.partial-{uuid4().hex}"
        # In one call, which Ctrl-C doesn't cut short: a stream that is closed half-way leaves half an object.
        fs.copy_files(str(source), aside, source_filesystem=local, destination_filesystem=files, use_threads=False)
        if aside != path:
            files.move(aside, path)
        found = files.get_file_info(path)
        if found.size != size:
            raise OSError(f"{found.size} of {size:,} bytes arrived")

    _asked(uri, "written", once)


def remove(uri: Uri) -> None:
    """Delete an object, if it is there."""

    def once() -> None:
        try:
            _files(uri).delete_file(_path(uri))
        except FileNotFoundError:
            return

    _asked(uri, "deleted", once)


def _info(uri: Uri) -> fs.FileInfo:
    return _asked(uri, "read", lambda: _files(uri).get_file_info(_path(uri)))


def _version(uri: Uri, file: pa.NativeFile) -> str:
    about = sorted((file.metadata() or {}).items())
    if not about:
        about = [("modified", _files(uri).get_file_info(_path(uri)).mtime_ns)]
    return hashlib.sha256(repr((_endpoint(uri), str(uri), file.size(), about)).encode()).hexdigest()


def _path(uri: Uri) -> str:
    if uri.scheme == "hdfs":
        return f"/{uri.key}"
    return f"{uri.place}/{uri.key}" if uri.key else uri.place


def _endpoint(uri: Uri) -> str:
    """Where the store answers, without credentials; empty for the provider's own."""
    given = dict(uri.options).get("endpoint_override", "")
    if uri.scheme == "s3" and not given:
        given = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    return given.rpartition("@")[2].rstrip("/") if "://" not in given else _without_user(given)


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _files(uri: Uri) -> fs.FileSystem:
    return _opened(os.getpid(), uri.scheme, uri.place, uri.user, uri.options, _endpoint(uri))


@functools.lru_cache(maxsize=16)
def _opened(
    process: int, scheme: str, place: str, user: str, options: tuple[tuple[str, str], ...], endpoint: str
) -> fs.FileSystem:  # process: a client doesn't survive a fork
    given = dict(options)
    where = {}
    if endpoint:
        known, has_scheme, rest = endpoint.rpartition("://")
        where = {"endpoint_override": rest, "scheme": given.get("scheme") or (known if has_scheme else "https")}
    anonymous = given.get("anonymous", "").lower() in ("1", "true", "yes")
    if scheme == "s3":
        key, _, secret = user.partition(":")
        keys = {"access_key": key, "secret_key": secret} if key else {}
        attempts = fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS)
        how = {"region": given.get("region"), "retry_strategy": attempts}
        return fs.S3FileSystem(anonymous=anonymous, **how, **keys, **where, **TIMEOUTS)
    if scheme == "gs":
        return fs.GcsFileSystem(anonymous=anonymous, retry_time_limit=timedelta(seconds=10), **where)
    host, _, port = place.partition(":")
    return fs.HadoopFileSystem(host, int(port) if port.isdecimal() else 0, user=user or None)


def _asked(uri: Uri, doing: str, call: Callable[[], Result]) -> Result:
    """What `call` gives, sent again where that may help.

    Raises: GoneError, RemoteError; errors of this machine's disk as they are.
    """
    for tried, wait in enumerate((*WAITS, None), start=1):
        try:
            return call()
        except FileNotFoundError as error:
            if error.filename:
                raise  # of this machine's disk
            raise GoneError(
                f"{uri} isn't there (any more). Look what is in its folder, and correct the name."
            ) from None
        except (OSError, pa.ArrowException, ValueError) as error:
            if isinstance(error, OSError) and (error.filename or error.errno in (errno.ENOSPC, errno.EDQUOT)):
                raise  # of this machine's disk
            permanent = _permanent(uri, doing, str(error))
            if permanent is not None or wait is None:
                raise permanent or RemoteError(
                    f"{uri} can't be {doing}: after {tried} tries, {_why(str(error))}. Look whether "
                    f"{_endpoint(uri) or 'the store'} can be reached from here, then run the same command again; what "
                    "was fetched whole is kept."
                ) from None
            time.sleep(wait)
    raise AssertionError("unreachable")


def _permanent(uri: Uri, doing: str, text: str) -> RemoteError | None:
    if _NO_BUCKET.search(text):
        return _no_bucket(uri)
    if _ELSEWHERE.search(text):
        return RemoteError(
            f"{uri} can't be {doing}: the bucket is in another region ({_why(text)}). Set AWS_REGION to the bucket's."
        )
    if _NO_ACCESS.search(text):
        return RemoteError(
            f"{uri} can't be {doing}: the store refuses access ({_why(text)}). Expected credentials that may list, "
            f"read and, for output, write there. Set {_CREDENTIALS[uri.scheme]}."
        )
    if _NO_CLIENT.search(text):
        return RemoteError(
            f"{uri} can't be {doing}: hdfs:// needs Hadoop's client (libhdfs and Java). Install it and set "
            "HADOOP_HOME, JAVA_HOME, and CLASSPATH to the output of `hadoop classpath --glob`."
        )
    return None


def _no_bucket(uri: Uri) -> RemoteError:
    at = f" at {_endpoint(uri)}" if _endpoint(uri) else ""
    return RemoteError(f"There is no bucket {uri.place}{at}, which {uri} names. Correct the name, or make the bucket.")


def _why(text: str) -> str:
    """The store's own word for an error, without its numbers of requests."""
    found = re.search(r"AWS Error (.*)", text, re.S) or re.search(r"google::cloud::Status\((.*)\)", text, re.S)
    return " ".join((found[1] if found else text).split()).partition(" (Request ID")[0].rstrip(".")[:200]
