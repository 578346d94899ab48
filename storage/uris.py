"""URIs of files and folders: which kinds are read, what each part means, and what of one may be shown.

`s3://bucket/key`, `gs://bucket/key` and `hdfs://host:port/path` name a key as it is, without percent-encoding, as
`aws s3` and `gcloud storage` do. `file:///path` is percent-encoded and stands for a local path.

A user may put credentials before the `@` and options behind the `?`. Neither is ever shown: `str` of a Uri leaves
both out, and so does every message here.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote

REMOTE = ("s3", "gs", "hdfs")
OPTIONS = {
    "s3": ("region", "endpoint_override", "scheme", "anonymous"),
    "gs": ("endpoint_override", "scheme", "anonymous"),
    "hdfs": (),
}
_SAME = {"s3a": "s3", "s3n": "s3", "gcs": "gs"}
_EXPECTED = "Expected a local path, or a URI that begins with s3://, gs://, hdfs:// or file://."
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_LOST_SLASH = re.compile(r"(s3|s3a|s3n|gs|gcs|hdfs|file):/(?!/)")  # pathlib made one slash of two
# A secret key may hold a slash that wasn't written as %2F. A bucket's name holds no colon, a host's may.
_USER = {scheme: re.compile(r"([^/?@:]*:[^?@]*|[^/?@]*)@") for scheme in ("s3", "gs")}
_USER_OF_OTHERS = re.compile(r"([^/?@]*)@")


class RemoteError(Exception):
    """What is wrong with a URI or with what it names: what was expected, what was found, what to do."""


@dataclass(frozen=True)
class Uri:
    """place: the bucket, or host and port. key: the path in it, without slashes at its ends."""

    scheme: str
    place: str
    key: str
    user: str = field(default="", repr=False)
    options: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.place}/{self.key}"


def is_uri(given: object) -> bool:
    """Whether this is text that begins with a scheme and `://`, or a Path made of such text."""
    text = str(given)
    if _SCHEME.match(text):
        return True
    return bool(isinstance(given, Path) and _LOST_SLASH.match(text) and not Path(text.split("/")[0]).exists())


def parse(given: object) -> Uri | Path:
    """What a URI names: a local path for `file://`, else a Uri.

    Raises: RemoteError for another scheme, and for what isn't the name of one file or folder.
    """
    text = _LOST_SLASH.sub(r"\1://", str(given), count=1) if isinstance(given, Path) else str(given)
    found = _SCHEME.match(text)
    assert found is not None, "not a URI"
    scheme, rest = found[1].lower(), text[found.end() :]
    scheme = _SAME.get(scheme, scheme)
    if scheme == "file":
        return _local(rest)
    if scheme not in REMOTE:
        raise RemoteError(f"{found[1]}:// can't be read or written here. {_EXPECTED}")
    user, rest, query = _split(scheme, rest)
    place, _, key = rest.partition("/")
    key = key.rstrip("/")
    if ":" in place and scheme != "hdfs":  # a secret, perhaps: nothing of it is shown
        raise RemoteError(
            f"A URI of {scheme}:// has a colon in the name of its bucket. Expected {scheme}://bucket/key. Credentials "
            "end with an @; better set them in the environment."
        )
    if user and scheme == "gs":
        raise RemoteError(
            f"{scheme}://{place}/{key} has credentials before an @, which gs:// doesn't take. Set "
            "GOOGLE_APPLICATION_CREDENTIALS."
        )
    if not place:
        if scheme != "hdfs":
            raise RemoteError(f"{scheme}:///{key} names no bucket. Expected {scheme}://bucket/key.")
        place = "default"  # the name node of Hadoop's own configuration
    uri = Uri(scheme, place, key, unquote(user), tuple(parse_qsl(query, keep_blank_values=True)))
    check_key(uri, key)
    for name, _ in uri.options:
        if name not in OPTIONS[scheme]:
            known = ", ".join(OPTIONS[scheme]) or "none"
            raise RemoteError(
                f"{uri} has an option behind its ? that isn't known. Expected {known}; a name with a ? in it can't "
                "be given."
            )
    return uri


def check_key(where: object, key: str) -> None:
    """Raises: RemoteError for a key that can't be a path below a folder."""
    parts = key.split("/") if key else []
    odd = next((part for part in parts if part in ("", ".", "..") or "\0" in part), None)
    if odd is not None:
        what = "two slashes in a row" if odd == "" else f"the part {odd!r}"
        raise RemoteError(f"{where} has {what} in its path ({key!r}), which no folder can hold. Rename the object.")


def command_line(arguments: Iterable[str]) -> str:
    """Arguments as one would type them, their URIs without credentials and options."""
    return shlex.join(without_secrets(argument) for argument in arguments)


def without_secrets(argument: str) -> str:
    """One argument, such as `--marts=s3://bucket/marts`; what isn't a URI stays as it is."""
    found = _SCHEME.search(argument)
    if not found:
        return argument
    return argument[: found.end()] + _split(found[1].lower(), argument[found.end() :])[1]


def _split(scheme: str, rest: str) -> tuple[str, str, str]:
    """The user, place and key, the query: of what follows `://`."""
    rest, _, query = rest.partition("?")
    found = _USER.get(_SAME.get(scheme, scheme), _USER_OF_OTHERS).match(rest)
    return (found[1], rest[found.end() :], query) if found else ("", rest, query)


def _local(rest: str) -> Path:
    host, slash, path = rest.partition("/")
    if host not in ("", "localhost") or not slash:
        raise RemoteError(
            f"A URI of file:// names a file of this machine. Expected file:///path, found the host {host!r}."
        )
    if "?" in path or "#" in path:
        raise RemoteError(
            f"file:///{re.split('[?#]', path)[0]} goes on with a ? or #. In a name, write them as %3F and %23."
        )
    decoded = unquote(path, errors="surrogateescape")
    if "\0" in decoded:
        raise RemoteError(f"file:///{path} holds a zero byte (%00), which no path can.")
    return Path("/" + decoded)
