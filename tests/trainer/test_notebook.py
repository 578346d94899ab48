"""docs/notebook.py from its first cell to its last, on a toy."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from trainer.run.directory import fit_run

ROOT = Path(__file__).parents[2]


def run_notebook(**variables: str | Path) -> str:
    found = subprocess.run(
        [sys.executable, ROOT / "docs" / "notebook.py"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | {name: str(value) for name, value in variables.items()},
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


def test_the_notebook_with_vectors_and_without(rich: Any, texts: Any, stage: Any, vectors: Any, tmp_path: Path) -> None:
    marts = texts(rich(1000).write(tmp_path / "marts"))
    fit_run(stage("01_dnn", epochs=1, min_steps=4), marts, tmp_path / "run")
    without = run_notebook(RUN=tmp_path / "run")
    saved = pq.read_table(tmp_path / "run" / "predictions.parquet", filters=[("split", "=", "test")]).to_pandas()
    for scene, rows in saved.groupby("scene"):
        line = re.search(rf"│ {scene} +│ +(\d+) │ +([\d.]+) │ +([\d.]+) │", without)
        assert int(line[1]) == len(rows)
        assert abs(float(line[2]) - rows.probability.mean()) < 1e-4, "what was said is what the run predicted"
        assert abs(float(line[3]) - rows.label.mean()) < 1e-4
    assert "No vectors to look at: No vectors of 'e5-small'" in without
    vectors(tmp_path / "vectors")
    with_vectors = run_notebook(RUN=tmp_path / "run", VECTORS=tmp_path / "vectors")
    crowded, spread = (float(re.search(rf"{n}: .* (-?[\d.]+)\n", with_vectors)[1]) for n in ("as encoded", "whitened"))
    assert crowded > 0.5 > abs(spread)
    assert re.search(r"^Title <\d+>: Title <\d+> \| Title <\d+> \| Title <\d+>$", with_vectors, re.MULTILINE)
    assert "No encoder to ask: " in with_vectors, "its weights are not in this test's cache"
