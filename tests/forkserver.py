"""A process that has imported one command and forks it on request: what a command costs is its work, not its imports.

    python -m tests.forkserver trainer < requests

`of("dbt").run(...)` is how tests use it. A request is a line of JSON, and so is its answer. A child is the command's
own entry point, in a process, a folder and an environment of its own, with the given arguments; its output goes to
files. A request's `import` brings modules in beforehand; to `modules`, a file, a child writes which ones it came to
need. To `tells_pid` the child's id is the first answer, so that a test kills it when it likes.

Tests that kill say `watched`, since start-up holds no file of ours and a forked child is at its work at once. A watched
child leads a process group, says how many acts it did on files below its folder (open for writing, rename, remove,
mkdir, rmdir, link, fsync) and dies by SIGKILL either at a moment (kill_after, seconds since the fork) or just before
its n-th act (die_at). Acts of C++ libraries aren't seen, moments hit those too. `alone` kills the process and leaves
what it started running; otherwise the whole group goes.
"""

import atexit
import contextlib
import functools
import gc
import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from tests import warm

ROOT = Path(__file__).parents[1]
# What a server and its children run under, besides the caller's environment.
ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "0",
    "DBT_LOG_LEVEL_FILE": "none",
    "HF_HUB_OFFLINE": "1",
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
ACTS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link"}


def watch(root: str, die_at: int | None, act_writer: int, alone: bool) -> None:
    """Write a byte to `act_writer` before each act on a file below `root`, and die before the act number `die_at`."""
    acts = 0

    def act() -> None:
        nonlocal acts
        acts += 1
        os.write(act_writer, b".")
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


def become(call: Callable[[], object], request: dict, act_writer: int) -> object:
    """In the child: the command, in its folder, with its arguments, environment, output and limits."""
    os.chdir(request["cwd"])
    null = os.open(os.devnull, os.O_RDONLY)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND  # the two may be one file
    out, error = (os.open(request[name], flags) for name in ("stdout", "stderr"))
    for mine, theirs in ((null, 0), (out, 1), (error, 2)):
        os.dup2(mine, theirs)
        os.close(mine)
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = request["argv"]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a server in the background ignores Ctrl-C
    if limit := request.get("largest_file"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    here = set(sys.modules)
    if request.get("watched"):
        os.setsid()
        watch(request["cwd"], request.get("die_at"), act_writer, request.get("alone", False))
    try:
        return call()
    finally:
        if needed := request.get("modules"):
            Path(needed).write_text(json.dumps([name for name in sys.modules if name not in here]))


def wait(pid: int, request: dict, act_reader: int) -> dict:
    """How the child ended; a watched one is killed when its time is over."""
    started = time.monotonic()
    deadline = started + (request.get("kill_after") or 300)
    acts, found, status, used = 0, 0, 0, None
    while not found:
        if request.get("watched"):
            with contextlib.suppress(InterruptedError):
                if select.select([act_reader], [], [], 0.001)[0]:
                    n_read = len(os.read(act_reader, 65536))
                    acts += n_read
                    if not n_read:
                        time.sleep(0.001)
            if time.monotonic() > deadline:
                (os.kill if request.get("alone") else os.killpg)(pid, signal.SIGKILL)
                deadline = float("inf")
        found, status, used = os.wait4(pid, os.WNOHANG if request.get("watched") else 0)
    seconds = time.monotonic() - started
    while select.select([act_reader], [], [], 0)[0] and (n_read := len(os.read(act_reader, 65536))):
        acts += n_read
    cpu = used.ru_utime + used.ru_stime
    return {"code": os.waitstatus_to_exitcode(status), "seconds": seconds, "cpu": cpu, "acts": acts, "pid": pid}


def stay(call: Callable[[], object], request: dict) -> dict:
    """Run the command in this process, and say how it ended."""
    began, used, code = time.monotonic(), time.process_time(), 0
    try:
        become(call, request, act_writer=-1)
    except SystemExit as end:
        code = end.code or 0
    except Exception:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return {
        "code": code,
        "seconds": time.monotonic() - began,
        "cpu": time.process_time() - used,
        "acts": 0,
        "pid": os.getpid(),
    }


def serve(command: Callable[[], Callable[[], object]]) -> object:
    """Answer requests until there are no more; returns in a child, too, when its command does."""
    requests, answers = os.dup(0), os.dup(1)
    os.dup2(2, 1)  # whatever is said while the command is made ready is no answer
    call = command()
    gc.freeze()  # or each child's garbage collector copies all that was imported
    pipe = os.fdopen(requests, "rb", buffering=0)  # a child must not inherit what is to come
    for line in iter(pipe.readline, b""):
        request = json.loads(line)
        for name in request.get("import", []):
            with contextlib.suppress(Exception):  # some modules make others under names that no import finds
                import_module(name)
        if command is warm.spark:
            os.write(answers, json.dumps(stay(call, request)).encode() + b"\n")
            continue
        act_reader, act_writer = os.pipe()
        pid = os.fork()
        if not pid:
            for ours in (act_reader, requests, answers):
                os.close(ours)
            return become(call, request, act_writer)
        os.close(act_writer)
        if request.get("tells_pid"):
            os.write(answers, json.dumps({"pid": pid, "cpu": 0.0}).encode() + b"\n")
        answer = wait(pid, request, act_reader)
        os.close(act_reader)
        os.write(answers, json.dumps(answer).encode() + b"\n")
    return None


@dataclass
class Running:
    """A process of a server. output: the file that it writes to. code, said: how it ended, and all of its output."""

    pid: int
    output: Path
    code: int | None = None
    said: str = ""

    def is_alive(self) -> bool:
        """Its server takes note of its end at once."""
        return Path(f"/proc/{self.pid}").exists()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


class ForkServer:
    """The warm parent of a command's processes."""

    def __init__(self, command: str, number: int = 1, site: Path = ROOT) -> None:
        self.number = number
        self.cpu = 0.0  # seconds that its children took
        path = {"PYTHONPATH": os.pathsep.join(dict.fromkeys((str(site), str(ROOT))))}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.forkserver", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=site,
            env=os.environ | ENVIRONMENT | path,
        )

    def run(self, *argv: str, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess:
        """The command with these arguments, as `subprocess.run` would do it; `env` is added to the environment."""
        with tempfile.TemporaryDirectory() as folder:
            logs = {name: Path(folder) / name for name in ("stdout", "stderr")}
            self.start(argv=argv, cwd=cwd, env=env or {}, **logs)
            code = self.answer()["code"]
            return subprocess.CompletedProcess(argv, code, *(log.read_text(errors="replace") for log in logs.values()))

    @contextlib.contextmanager
    def running(self, *argv: str, cwd: Path, env: dict[str, str] | None = None) -> Iterator["Running"]:
        """The command with these arguments while it runs, for a test to kill; ends when it has ended."""
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "output"
            output.touch()
            self.start(argv=argv, cwd=cwd, env=env or {}, stdout=output, stderr=output, tells_pid=True)
            running = Running(self.answer()["pid"], output)
            try:
                yield running
            finally:
                running.code = self.answer()["code"]
                running.said = output.read_text(errors="replace")

    def start(self, env: dict[str, str], **request: object) -> None:
        """Fork: argv, cwd, stdout and stderr, and what else a request may hold."""
        request["env"] = os.environ | ENVIRONMENT | env
        self.process.stdin.write(json.dumps(request, default=str) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict:
        """Wait, and say how it ended: code (negative: a signal), seconds, cpu, acts, pid."""
        answer = json.loads(self.process.stdout.readline())
        self.cpu += answer["cpu"]
        return answer

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def of(command: str, number: int = 1, site: Path = ROOT) -> ForkServer:
    """The command's server in this test process, started when it is first asked for; `of("trainer", 2)`: another.

    site: where the packages come from: the checkout, or a folder into which the wheel was installed.
    """
    return _started(command, number, site)


@functools.cache
def _started(command: str, number: int, site: Path) -> ForkServer:
    server = ForkServer(command, number, site)
    atexit.register(server.close)
    return server


if __name__ == "__main__":
    serve(getattr(warm, sys.argv[1]))
