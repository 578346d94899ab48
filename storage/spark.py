"""What a command needs of Spark besides its own work: a session, and what a worker said of a failure."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from storage.places import is_remote

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

TASKS_PER_CORE = 4
Batches = Iterator[pa.RecordBatch]
_OURS = re.compile(r"^\s*(?:trainer|storage|embeddings)\.[\w.]+Error: (.+)$", re.M)


class a_session:  # noqa: N801 reads as a word after `with`
    """The active Spark session, which stays; else a new one, which is stopped at the end.

    Its master is what spark-submit, PYSPARK_SUBMIT_ARGS or spark-defaults.conf say, or $SPARK_MASTER; else local[2].
    """

    def __init__(self, name: str):
        self._name = name

    def __enter__(self) -> SparkSession:
        from pyspark.sql import SparkSession

        self.made = None
        active = SparkSession.getActiveSession()
        if active is not None:
            return active
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        builder = SparkSession.builder.appName(self._name)
        master = os.environ.get("SPARK_MASTER") or (None if master_is_set() else "local[2]")
        if master is not None:
            builder = builder.master(master)
        if master is not None and master.startswith("local"):
            quiet = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "FATAL"}
            here = {f"spark.driver.{name}": "127.0.0.1" for name in ("host", "bindAddress")}
            builder = builder.config(map=quiet | here)
        self.made = builder.getOrCreate()
        return self.made

    def __exit__(self, *_: object) -> None:
        if self.made is not None:
            self.made.stop()


def master_is_set() -> bool:
    """Whether something else than a command of ours says where Spark runs."""
    if "PYSPARK_GATEWAY_PORT" in os.environ:  # spark-submit started this process
        return True
    if re.search(r"--master|spark\.master", os.environ.get("PYSPARK_SUBMIT_ARGS", "")):
        return True
    home = Path(os.environ.get("SPARK_HOME", "."))
    defaults = Path(os.environ.get("SPARK_CONF_DIR", home / "conf")) / "spark-defaults.conf"
    return defaults.is_file() and bool(re.search(r"^\s*spark\.master\b", defaults.read_text(), re.M))


def check_writable(spark: SparkSession, option: str, place: Path, error: type[Exception]) -> None:
    """Raises: `error` where workers on other machines would have to write behind a URI."""
    master = spark.sparkContext.master
    if is_remote(place) and not master.startswith("local"):
        raise error(
            f"{option} {place}: the workers of {master} can't write there. Name a folder that all of them see, and "
            "copy it."
        )


def by_workers(
    spark: SparkSession, n: int, work: Callable[[Batches], Iterable[pa.RecordBatch]], schema: pa.Schema
) -> DataFrame:
    """What `work` makes, in Python workers, of the numbers of tasks, 0 to n - 1: a partition each, in that order."""
    from pyspark.sql.pandas.types import from_arrow_schema

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of pandas, which isn't used here
        return spark.range(0, n, 1, n).mapInArrow(work, from_arrow_schema(schema))


def why(error: Exception) -> str:
    """What went wrong: in a worker's own words, which come within one of several errors of Spark's, or in Spark's."""
    if said := _OURS.findall(str(error)):
        return said[-1]
    found = " ".join(str(error).split())[:500]
    return f"Spark didn't finish: {type(error).__name__}: {found}. Its own log says more."
