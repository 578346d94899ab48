"""Spark's session in dbt's process, and files wherever Spark reads and writes them, by its own settings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from warehouse.places import in_project

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True)
class Entry:
    """A file below a folder. path: relative to the folder, with forward slashes."""

    path: str
    size: int
    modified_ns: int


def session() -> SparkSession:
    """The session that dbt-spark made when it connected."""
    from pyspark.sql import SparkSession

    return SparkSession.builder.getOrCreate()


def uri_of(path: str) -> str:
    """A path as Spark is given it. Relative ones are the project's; Spark would look for them below its warehouse."""
    return path if ":/" in path else "file:" + os.path.abspath(in_project(path))  # noqa: PTH100 - links stay


def local_path(uri: str) -> str | None:
    """The path of a file of this machine; None for another file system."""
    return "/" + uri.removeprefix("file:").lstrip("/") if uri.startswith("file:") else None


def entries(folder: str) -> list[Entry]:
    """All files below a folder, by path; none if there is no such folder."""
    system, root = _opened(folder)
    if not system.exists(root):
        return []
    base = _plain(system.getFileStatus(root)).rstrip("/")
    return sorted(
        (
            Entry(_plain(status)[len(base) + 1 :], status.getLen(), status.getModificationTime() * 1_000_000)
            for status in _iterated(system.listFiles(root, True))
        ),
        key=lambda entry: entry.path,
    )


def children(folder: str) -> list[str]:
    """The names of files and folders in a folder."""
    system, root = _opened(folder)
    return [status.getPath().getName() for status in system.listStatus(root)] if system.exists(root) else []


def read_head(file: str, n_bytes: int | None = None) -> bytes:
    """The first bytes of a file, or all of them."""
    system, path = _opened(file)
    stream = system.open(path)
    try:
        return bytes(stream.readAllBytes() if n_bytes is None else stream.readNBytes(n_bytes))
    finally:
        stream.close()


def read_text(file: str) -> str | None:
    """A text file; None if it isn't there."""
    system, path = _opened(file)
    return read_head(file).decode() if system.exists(path) else None


def write_text(file: str, text: str) -> None:
    """Write a file that appears whole: an object store shows it when it is closed, HDFS renames."""
    system, path = _opened(file)
    is_hdfs = system.getUri().getScheme() in ("hdfs", "viewfs")
    aside = _opened(file + ".partial")[1] if is_hdfs else path
    stream = system.create(aside, True)
    stream.write(text.encode())
    stream.close()
    if is_hdfs:
        _replace(aside, path)


def _replace(aside: Any, path: Any) -> None:
    spark = session()
    hadoop = spark._jvm.org.apache.hadoop.fs
    kind = getattr(hadoop, "Options$Rename")
    overwrite = spark.sparkContext._gateway.new_array(kind, 1)
    overwrite[0] = kind.OVERWRITE
    hadoop.FileContext.getFileContext(path.toUri(), spark._jsc.hadoopConfiguration()).rename(aside, path, overwrite)


def delete(path: str) -> None:
    """A file, or a folder with all that is in it; nothing if it isn't there."""
    system, opened = _opened(path)
    system.delete(opened, True)


def _opened(path: str) -> tuple[Any, Any]:
    spark = session()
    opened = spark._jvm.org.apache.hadoop.fs.Path(path)
    return opened.getFileSystem(spark._jsc.hadoopConfiguration()), opened


def _plain(status: Any) -> str:
    return status.getPath().toUri().getPath()


def _iterated(iterator: Any) -> Iterator[Any]:
    while iterator.hasNext():
        yield iterator.next()
