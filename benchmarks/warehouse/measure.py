"""Wall time, CPU time and peak memory of a command and all processes it starts."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

EVERY_S = 0.1
MOST_MEMORY = 0.9  # of the machine's; a command that takes more is stopped before the kernel picks a victim


@dataclass(frozen=True)
class Cost:
    """Units: seconds; GB of 10**9 bytes. `rss_gb`: the largest sum over the process tree, ten samples per second."""

    wall_s: float
    cpu_s: float
    rss_gb: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s, max(self.rss_gb, other.rss_gb))


class _Watch(threading.Thread):
    """Follows a process tree until it is stopped."""

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self.root, self.done = psutil.Process(pid), threading.Event()
        self.peak, self.cpu = 0, {}
        self.most, self.took_too_much = MOST_MEMORY * psutil.virtual_memory().total, False

    def run(self) -> None:
        while not self.done.wait(EVERY_S):
            total = 0
            try:
                tree = [self.root, *self.root.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            for process in tree:
                try:
                    total += process.memory_info().rss
                    times = process.cpu_times()
                    self.cpu[process.pid] = times.user + times.system
                except psutil.NoSuchProcess:
                    continue
            self.peak = max(self.peak, total)
            if total > self.most:
                self.took_too_much = True
                for process in reversed(tree):
                    with suppress(psutil.NoSuchProcess):
                        process.kill()


def measured(command: list[str | Path], log: Path, cwd: Path, env: dict[str, str] | None = None) -> Cost:
    """Run `command` with its output in `log`.

    CPU is the larger of what the kernel says of children that were waited for and of what was seen of the tree (a JVM
    is not waited for).
    Raises: SystemExit with the end of the log if the command fails, or is stopped because it takes too much memory.
    """
    began = time.perf_counter()
    with log.open("w") as out:
        process = subprocess.Popen(
            [str(word) for word in command], cwd=cwd, env=os.environ | (env or {}), stdout=out, stderr=subprocess.STDOUT
        )
        watch = _Watch(process.pid)
        watch.start()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    watch.done.set()
    watch.join()
    if watch.took_too_much:
        raise SystemExit(f"{' '.join(map(str, command))} was stopped after {wall:.0f} s at {watch.peak / 1e9:.1f} GB")
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{log.read_text()[-3000:]}")
    return Cost(wall, max(usage.ru_utime + usage.ru_stime, sum(watch.cpu.values())), watch.peak / 1e9)
