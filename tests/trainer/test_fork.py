"""A run that was loaded before a fork predicts after it, and the parent goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.trainer.serving.scoring import rows_of
from trainer.run.directory import fit_run

ROOT = Path(__file__).parents[2]
# In a process of its own, with a time limit: what went wrong here was to wait for ever.
SCRIPT = """
import multiprocessing, os, sys
import numpy as np, pyarrow.parquet as pq
from trainer import load_run

place, when = sys.argv[1:]
rows = pq.read_table("rows.parquet")
run = load_run(place)
expected = np.load("expected.npy") if os.path.exists("expected.npy") else None
if when == "before":
    expected = run.predict(rows)
    np.save("expected.npy", expected)

def same(_):
    return bool(np.allclose(run.predict(rows), expected, atol=1e-6))

def same_loaded_here(_):
    return bool(np.allclose(load_run(place).predict(rows), expected, atol=1e-6))

def child(work):
    pid = os.fork()
    if pid == 0:
        os._exit(0 if work() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

assert child(lambda: same(0)) == 0, "a child"
assert child(lambda: child(lambda: same(0)) == 0) == 0, "a child of a child"
assert child(lambda: same_loaded_here(0)) == 0, "loaded in the child"
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert all(pool.map(same, range(2))), "a pool"
assert same(0), "the parent"
print("right")
"""


@pytest.mark.parametrize("name", ["01_dnn", "00_gbdt"])
def test_predictions_after_a_fork(name: str, rich: Any, vectors: Any, stage: Any, tmp_path: Path) -> None:
    marts = rich(3000).write(tmp_path / "marts")
    small = {"epochs": 1} if name != "00_gbdt" else {"max_iter": 5}
    fit_run(stage(name, threads=2, **small), marts, tmp_path / "run", vectors=vectors(tmp_path / "vectors"))
    table = rows_of(marts)
    pq.write_table(table.take(list(range(len(table))) * 3), tmp_path / "rows.parquet")  # enough for several threads
    for when in ("before", "after"):  # predicted in the parent before it forks, and not
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(tmp_path / "run"), when],
            capture_output=True,
            text=True,
            timeout=200,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE"},
        )
        assert done.stdout == "right\n", done.stderr[-2000:]
