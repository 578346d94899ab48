"""Kills, re-runs and what they left: the loop that every command goes through.

Two ways take turns. *Once*: kill, run again, compare. *In a row*: kill the same command again and again on what the
last kill left, then run it once and compare. Moments are drawn from the seed, half of them over the time that the
undisturbed run took, half over the acts it did on files (tests/chaos/zygote.py). A kill counts when the command was
still running; draws go on until KILLS of them have counted, or SECONDS are over, on a machine that is slow or busy: the
table says how many there were.
"""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
SEED = int(os.environ.get("CHAOS_SEED", "1"))
KILLS = int(os.environ.get("CHAOS_KILLS", "50"))
SECONDS = float(os.environ.get("CHAOS_SECONDS", "80"))  # the most that one command may take of the time for all
IN_A_ROW = 8


class Zygote:
    """The warm parent of a command's processes."""

    def __init__(self, command: str) -> None:
        environment = os.environ | {
            "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "0", "HF_HUB_OFFLINE": "1",
        }  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.zygote", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, cwd=ROOT, env=environment,
        )  # fmt: skip

    def run(self, **request: object) -> dict:
        """Fork, wait, and say how it ended: code (negative: a signal), seconds, acts, pid, log."""
        self.start(**request)
        return self.answer()

    def start(self, **request: object) -> None:
        self.request = {name: str(value) if isinstance(value, Path) else value for name, value in request.items()}
        self.process.stdin.write(json.dumps(self.request) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict:
        answer = json.loads(self.process.stdout.readline())
        return answer | {"said": Path(self.request["log"]).read_text(errors="replace")}

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@dataclass
class Tally:
    """A line of the table."""

    name: str
    kills: int = 0
    hits: int = 0
    reruns: int = 0
    equal: int = 0
    leftovers: set[str] = field(default_factory=set)
    seconds: float = 0.0
    acts: int = 0

    def row(self) -> str:
        left = ", ".join(sorted(self.leftovers)) or "none"
        return (
            f"{self.name:28} {self.seconds:6.2f} s {self.acts:5d} acts  kills {self.kills:4d}  while running "
            f"{self.hits:4d}  re-runs {self.reruns:3d}  equal {self.equal:3d}  leftovers: {left}"
        )


@dataclass
class Scene:
    """A command in a folder: `base` is what lies there before it, `work` is where it runs (always the same path).

    result: what was promised of the outcome, comparable. ignored: names whose coming and going says nothing.
    finished: what a re-run may answer that found the work done.
    """

    name: str
    zygote: Zygote
    argv: list[str]
    base: Path
    work: Path
    result: Callable[[Path], object]
    ignored: Callable[[str], bool] = lambda name: False
    finished: str = "\0"
    env: dict[str, str] = field(default_factory=dict)
    alone: bool = False

    def reset(self) -> None:
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.base, self.work, symlinks=True)

    def run(self, **how: object) -> dict:
        log = self.work.with_name(self.work.name + ".log")
        return self.zygote.run(argv=self.argv, cwd=self.work, log=log, env=self.env, **how)

    def listing(self) -> set[str]:
        names = (path.relative_to(self.work).as_posix() for path in self.work.rglob("*"))
        return {name for name in names if not self.ignored(name)}


def torment(scene: Scene, survived: Callable[[str], None], kills: int = KILLS) -> None:
    """Kill until `kills`, one at least, have hit; compare after each re-run; tell `survived` the line of the table.

    Raises: AssertionError with the draw that broke it.
    """
    draw, tally = random.Random(f"{SEED} {scene.name}"), Tally(scene.name)
    scene.reset()
    needed = scene.work.with_name("modules.json")
    warming = scene.run(modules=needed)
    assert warming["code"] == 0, warming["said"]
    scene.reset()
    undisturbed = scene.run(**{"import": json.loads(needed.read_text())})
    assert undisturbed["code"] == 0, undisturbed["said"]
    tally.seconds, tally.acts = undisturbed["seconds"], undisturbed["acts"]
    expected, there = scene.result(scene.work), scene.listing()
    broken = []
    turn = 0
    until = time.monotonic() + SECONDS
    while tally.hits < max(1, kills) and time.monotonic() < until:
        scene.reset()
        moments = []
        for _ in range(1 if turn % 2 == 0 else IN_A_ROW):
            by_act = tally.acts and draw.random() < 0.5
            how = {"die_at": draw.randint(1, tally.acts)} if by_act else {"kill_after": draw.uniform(0, tally.seconds)}
            if scene.alone:
                how["alone"] = draw.random() < 0.5
            ended = scene.run(**how)
            tally.kills += 1
            tally.hits += ended["code"] == -9
            moments.append(how)
            assert ended["code"] in (0, -9) or scene.finished in ended["said"], (moments, ended["said"])
            if ended["code"] != -9:
                break  # finished: nothing is left for a kill to hit
        turn += 1
        again = scene.run()
        tally.reruns += 1
        left = scene.listing() - there
        tally.leftovers |= left
        done = again["code"] == 0 or (scene.finished in again["said"])
        equal = done and scene.result(scene.work) == expected
        tally.equal += equal
        if left or not equal:
            broken.append(
                (moments, sorted(left), sorted(there - scene.listing()), again["code"], again["said"][-2000:])
            )
    survived(tally.row())
    assert not broken, (f"CHAOS_SEED={SEED}", scene.name, len(broken), broken[0])
    assert tally.hits, tally.row()


def contents(folder: Path, *names: str) -> dict[str, str]:
    """sha256 of the files below a folder, or of those named."""
    paths = [folder / name for name in names] or [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
