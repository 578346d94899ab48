"""Several processes as torchrun starts them, forked from one that has imported what takes seconds to import."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.forkserver import of

SECONDS = 120.0  # processes that take longer hang


def together(
    commands: Sequence[Sequence[object]], *, kill: tuple[int, int] | None = None, eager: bool = False
) -> list[subprocess.CompletedProcess]:
    """Each process's command line, by rank, behind `trainer`; how it ended and what it said.

    kill: a process, by its rank, and the step of training before which it dies by SIGKILL. eager: with a checkpoint per
    step. Raises: AssertionError where one hasn't ended in time.
    """
    here = Path.cwd()
    job = {"commands": [[str(word) for word in words] for words in commands], "kill": kill, "eager": eager}
    done = of("trainer").run("processes", json.dumps(job), cwd=here)
    assert done.returncode == 0, done.stderr
    codes = json.loads(done.stdout)
    said = [[(here / f"{rank}.{name}").read_text() for name in ("out", "error")] for rank in range(len(codes))]
    return [subprocess.CompletedProcess(commands[rank], code, *said[rank]) for rank, code in enumerate(codes)]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def main() -> None:
    """In a child of the server: fork the processes, and print their exit codes, None for one that hung."""
    job, port = json.loads(sys.argv[1]), free_port()
    pids = []
    for rank, words in enumerate(job["commands"]):
        if not (pid := os.fork()):
            _become(job, rank, words, port)
        pids.append(pid)
    codes: list[int | None] = [None] * len(pids)
    deadline = time.monotonic() + SECONDS
    while None in codes and time.monotonic() < deadline:
        for rank, pid in enumerate(pids):
            if codes[rank] is None and (found := os.waitpid(pid, os.WNOHANG))[0]:
                codes[rank] = os.waitstatus_to_exitcode(found[1])
        time.sleep(0.01)
    for pid in (pid for pid, code in zip(pids, codes, strict=True) if code is None):
        os.kill(pid, signal.SIGKILL)
    print(json.dumps(codes))


def _become(job: dict[str, Any], rank: int, words: list[str], port: int) -> None:
    from trainer.cli import main as trainer
    from trainer.run.directory import fit_run
    from trainer.training.step import Step

    size = len(job["commands"])
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    for number, name in ((1, "out"), (2, "error")):
        os.dup2(os.open(f"{rank}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    if job["eager"]:
        fit_run.__kwdefaults__["checkpoint_seconds"] = 0.0
    if job["kill"] and job["kill"][0] == rank:
        step, done = Step.__call__, []

        def counted(*arguments: Any) -> Any:
            done.append(1)
            if len(done) == job["kill"][1]:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(*arguments)

        Step.__call__ = counted  # type: ignore[method-assign]  # in this process alone
    sys.argv = ["trainer", *words]
    code: Any = 1
    try:
        trainer()
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
