"""Kills, re-runs and what they left: the loop that every command goes through.

Two ways take turns. *Once*: kill, run again, compare. *In a row*: kill the same command again and again on what the
last kill left, then run it once and compare. Moments are drawn from the seed, half of them over the time that the
undisturbed run took, half over the acts it did on files (tests/forkserver.py). A kill counts when the command was
still running; draws go on until KILLS of them have counted, or SECONDS are over, on a machine that is slow or busy: the
table says how many there were.
"""

import hashlib
import json
import os
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.forkserver import ForkServer

SEED = int(os.environ.get("CHAOS_SEED", "1"))
KILLS = int(os.environ.get("CHAOS_KILLS", "50"))
SECONDS = float(os.environ.get("CHAOS_SECONDS", "80"))  # the most that one command may take of the time for all
IN_A_ROW = 8


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
    server: ForkServer
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
        self.start(**how)
        return self.answer()

    def start(self, **how: object) -> None:
        log = self.work.with_name(f"{self.work.name}-{self.server.number}.log")
        self.server.start(argv=self.argv, cwd=self.work, stdout=log, stderr=log, env=self.env, watched=True, **how)

    def answer(self) -> dict:
        """How the command ended (`ForkServer.answer`), and what it said."""
        log = self.work.with_name(f"{self.work.name}-{self.server.number}.log")
        return self.server.answer() | {"said": log.read_text(errors="replace")}

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
