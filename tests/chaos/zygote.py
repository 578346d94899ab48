"""A process that has imported one command and forks it on request, to be killed.

    python -m tests.chaos.zygote trainer < requests

A request is a line of JSON, and so is its answer. Start-up costs seconds that hold no file of ours; forked after it,
a child is at its work at once. A child is the command's own entry point with the given arguments; it dies by SIGKILL
either at a moment (kill_after, seconds since the fork) or just before its n-th act on a file below its folder (die_at:
open for writing, rename, remove, mkdir, rmdir, link, fsync). Acts of C++ libraries aren't seen, moments hit
those too. `alone` kills the process and leaves what it started running; otherwise the whole group goes. A request's
`import` brings modules in beforehand; to `modules`, a file, a child writes which ones it came to need.
"""

import contextlib
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
ACTS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link"}


def fetch() -> Callable[[], object]:
    """The fetch command, which knows one more log: `tiny`, in the wheel that the folder's tiny.json describes."""
    fetching = import_module("warehouse.fetch")

    def call() -> object:
        fetching.LOGS["tiny"] = fetching.WheelLog(**json.loads(Path("tiny.json").read_text()))
        return fetching.app()

    return call


def simulate() -> Callable[[], object]:
    return import_module("warehouse.simulate.__main__").app


def dbt() -> Callable[[], object]:
    return import_module("dbt.cli.main").cli


def embeddings() -> Callable[[], object]:
    return import_module("embeddings.cli").app


def trainer() -> Callable[[], object]:
    """The trainer; a checkpoint a step, since a fit as small as this ends before one is due."""
    main = import_module("trainer.cli").main
    import_module("trainer.run.directory").fit_run.__kwdefaults__["checkpoint_seconds"] = 0.0
    return main


def watch(root: str, die_at: int | None, told: int, alone: bool) -> None:
    """Write a byte to `told` before each act on a file below `root`, and die before the act number `die_at`."""
    acts = 0

    def act() -> None:
        nonlocal acts
        acts += 1
        os.write(told, b".")
        if acts == die_at:
            die(alone)

    def hook(event: str, args: tuple) -> None:
        if event == "open":
            path, _, flags = args
            if not flags & WRITING or not isinstance(path, str | bytes):
                return None
        elif event in ACTS:
            path = args[0]
            if args[-1] != -1:
                return act()  # relative to an open folder: rmtree at work
        else:
            return None
        if os.path.abspath(os.fsdecode(path)).startswith(root):  # noqa: PTH100 - a Path would raise events of its own
            act()
        return None

    real = os.fsync

    def fsync(file: int) -> None:
        act()
        real(file)

    os.fsync = fsync
    sys.addaudithook(hook)


def die(alone: bool) -> None:
    (os.kill if alone else os.killpg)(os.getpid(), signal.SIGKILL)
    signal.pause()


def become(call: Callable[[], object], request: dict, told: int) -> object:
    """In the child: the command, in its folder, with its arguments, output and limits."""
    os.setsid()
    os.chdir(request["cwd"])
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    null = os.open(os.devnull, os.O_RDONLY)
    for mine, theirs in ((null, 0), (log, 1), (log, 2)):
        os.dup2(mine, theirs)
    os.environ.update(request.get("env", {}))
    sys.argv = request["argv"]
    if limit := request.get("largest_file"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    here = set(sys.modules)
    watch(request["cwd"], request.get("die_at"), told, request.get("alone", False))
    try:
        return call()
    finally:
        if needed := request.get("modules"):
            Path(needed).write_text(json.dumps([name for name in sys.modules if name not in here]))


def serve(call: Callable[[], object]) -> object:
    """Answer requests until there are no more; returns in a child, too, when its command does."""
    answers = os.dup(1)
    for line in iter(sys.stdin.buffer.raw.readline, b""):  # unbuffered: a child must not inherit what is to come
        request = json.loads(line)
        for name in request.get("import", []):
            with contextlib.suppress(Exception):  # some modules make others under names that no import finds
                import_module(name)
        hears, told = os.pipe()
        started = time.monotonic()
        pid = os.fork()
        if not pid:
            os.close(hears)
            os.close(answers)
            return become(call, request, told)
        os.close(told)
        status, acts = None, 0
        deadline = started + (request.get("kill_after") or 300)
        while status is None:
            with contextlib.suppress(InterruptedError):
                if select.select([hears], [], [], 0.001)[0]:
                    heard = len(os.read(hears, 65536))
                    acts += heard
                    if not heard:
                        time.sleep(0.001)
            found, code = os.waitpid(pid, os.WNOHANG)
            if found:
                status = code
            elif time.monotonic() > deadline:
                (os.kill if request.get("alone") else os.killpg)(pid, signal.SIGKILL)
                status = os.waitpid(pid, 0)[1]
        seconds = time.monotonic() - started
        while select.select([hears], [], [], 0)[0] and (heard := len(os.read(hears, 65536))):
            acts += heard
        os.close(hears)
        answer = {"code": os.waitstatus_to_exitcode(status), "seconds": seconds, "acts": acts, "pid": pid}
        os.write(answers, json.dumps(answer).encode() + b"\n")
    return None


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    serve(globals()[sys.argv[1]]())
