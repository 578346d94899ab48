"""The service under test: started here or found by its port, and what it costs."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import psutil

TRAINER = Path(sys.executable).with_name("trainer")
START_S = 300  # a service has so long to start


class Watch:
    """The service's processes: CPU time since the watch began, and the largest memory seen, twice per second."""

    def __init__(self, pid: int | None):
        self._root = psutil.Process(pid) if pid else None
        self.peak, self._before = 0, self._cpu()

    def _tree(self) -> list[psutil.Process]:
        return [self._root, *self._root.children(recursive=True)] if self._root else []

    def _cpu(self) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in self._tree())

    @contextmanager
    def following(self) -> Iterator[None]:
        done = threading.Event()

        def follow() -> None:
            while not done.wait(0.5):
                self.peak = max(self.peak, sum(process.memory_info().rss for process in self._tree()))

        thread = threading.Thread(target=follow)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def figures(self) -> dict[str, float]:
        return {"cpu_s": self._cpu() - self._before, "rss_gb": self.peak / 1e9} if self._root else {}


@contextmanager
def service(args: argparse.Namespace) -> Iterator[tuple[str, int | None]]:
    """The URL of the service and its process: the one that is named, else a new one, which is stopped at the end."""
    if args.url:
        yield args.url, args.pid or listening_on(args.url)
        return
    command = [TRAINER, "serve", "--run", args.run, "--state", args.state, "--port", "0"]
    command += ["--vectors", args.vectors] if args.vectors else []
    command += ["--served", args.served] if args.served else []
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen([str(word) for word in command], stderr=said)
        try:
            yield started(process, said), process.pid
        finally:
            process.terminate()
            process.wait()


def started(process: subprocess.Popen, said: IO[str]) -> str:
    """The URL that a new service says it listens on. Raises: SystemExit with what it said, if it ends instead."""
    until = time.perf_counter() + START_S
    while process.poll() is None and time.perf_counter() < until:
        said.seek(0)
        if found := re.search(r"http://[\w.:\[\]-]+:\d+", said.read()):
            return found[0]
        time.sleep(0.1)
    said.seek(0)
    raise SystemExit(f"The service didn't start:\n{said.read()}")


def listening_on(url: str) -> int | None:
    """The process behind a port of this machine; None where it can't be seen."""
    port = urlsplit(url).port
    try:
        found = [c.pid for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port == port]
    except psutil.Error:
        return None
    return min((pid for pid in found if pid), default=None)
