"""What the tests of the simulated log share."""

import csv
import filecmp
import subprocess
from pathlib import Path

import numpy as np

from tests.forkserver import of
from warehouse.simulate import output, parameters

N = 200_000
P = parameters.Parameters()
PERIODS = {"train": (0, 24), "val": (24, 26), "test": (26, 31)}


def run(*arguments: object) -> subprocess.CompletedProcess:
    return of("simulate").run("simulate", *map(str, arguments), cwd=Path.cwd())


def make(out: Path, n: int, seed: int = 7, parts: int = 3, form: str = "csv", threads: int = 2) -> Path:
    """The same without a process of its own."""
    assert output.simulate(output.Request(n, seed, parts, form), out, threads)
    return out


def read_csv(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def files_of(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def assert_same_bytes(one: Path, other: Path) -> None:
    assert files_of(one) == files_of(other)
    assert filecmp.cmpfiles(one, other, files_of(one), shallow=False) == (files_of(one), [], [])


def truth_numbers(log):
    number = [np.unique(log[name], return_inverse=True)[1] for name in ("user_id", "item_id")]
    return *number, log["scene"].astype(int), log["day"].astype(int)
