"""A standalone Spark cluster on loopback: a master and workers that share no folder but the one they are given."""

import importlib.util
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Daemons do next to nothing; what they start, executors, get their own options.
DAEMON = {"SPARK_DAEMON_MEMORY": "256m", "SPARK_DAEMON_JAVA_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}


@contextmanager
def cluster(folder: Path, n_workers: int = 2) -> Iterator[str]:
    """The master's URL, while it and `n_workers` of one core each run.

    Worker k runs in `folder`/worker-k, with its applications below work/ and its shuffle files below local/.

    Raises: TimeoutError with the log of a process that doesn't say within a minute that it is ready.
    """
    running: list[subprocess.Popen] = []
    try:
        master = _started(running, folder / "master", "master.Master", "--port", "0")
        url = _said(folder / "master", r"Starting Spark master at (spark://\S+)", master)
        for number in range(1, n_workers + 1):
            place = folder / f"worker-{number}"
            work = ("--work-dir", str(place / "work"), "--cores", "1", "--memory", "1g", "--port", "0")
            worker = _started(running, place, "worker.Worker", *work, url)
            _said(place, "Successfully registered with (master)", worker)
        yield url
    finally:
        for process in reversed(running):  # a worker ends its executors
            process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait(timeout=60)


def _started(running: list[subprocess.Popen], place: Path, daemon: str, *arguments: str) -> subprocess.Popen:
    place.mkdir(parents=True)
    home = Path(importlib.util.find_spec("pyspark").origin).parent
    environment = os.environ | DAEMON | {"SPARK_HOME": str(home), "SPARK_LOCAL_DIRS": str(place / "local")}
    options = ("--host", "127.0.0.1", "--webui-port", "0", *arguments)
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(
            [home / "bin/spark-class", f"org.apache.spark.deploy.{daemon}", *options],
            cwd=place,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    running.append(process)
    return process


def _said(place: Path, pattern: str, process: subprocess.Popen) -> str:
    """The group of `pattern` in the process's log."""
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if found := re.search(pattern, (place / "log").read_text(errors="replace")):
            return found.group(1)
        time.sleep(0.1)
    raise TimeoutError(f"{place.name} never said {pattern!r}:\n{(place / 'log').read_text(errors='replace')[-2000:]}")
