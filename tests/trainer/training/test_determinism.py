"""The same seed gives the same run, whoever fits it and wherever (docs/how-the-numbers-are-proven.md says what of)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from embeddings import Recipe, Template, VectorStore
from trainer.base.files import read_json
from trainer.evaluation.calibration import fit_calibration
from trainer.inputs.vectors import fit_text_space
from trainer.run.directory import fit_run

ROOT = Path(__file__).parents[3]
PLACE_AND_TIME = {"lineage.json", "timing.json", "report.html", "DONE"}  # DONE has the hashes of the others


def contents(run: Path) -> dict[str, bytes]:
    return {
        p.relative_to(run).as_posix(): p.read_bytes()
        for p in sorted(run.rglob("*"))
        if p.is_file() and p.name not in PLACE_AND_TIME
    }


# The commands of a machine one after the other: what a process imports takes longer than a fit of this size.
COMMANDS = """
import json, sys
from trainer.cli import main
for words in json.loads(sys.argv[1]):
    sys.argv = ["trainer", *words]
    try:
        main()
    except SystemExit as end:
        assert not end.code, words
"""


def fitted_elsewhere(
    stages: dict[str, Path], marts: Path, vectors: Path, script: Path, home: Path, umask: int, **environment: str
) -> Path:
    """The runs of `stages` by a process of its own, in a folder and a home of its own, with a cache of its own."""
    cache = home / ".cache/first-impression"
    cache.mkdir(parents=True)
    (cache / "report").symlink_to(script)
    inputs = ["--marts", str(marts), "--vectors", str(vectors), "--calibrate"]
    fits = [["fit", "--stage", str(path), "--run", f"made/{name}", *inputs] for name, path in stages.items()]
    subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(fits)],
        cwd=home,
        umask=umask,
        check=True,
        capture_output=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(home)} | environment,
    )
    return home / "made"


@pytest.fixture(scope="module")
def machines(rich: Any, vectors: Any, stage: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same fits on two machines; the other one holds the same rows in other files and another order."""
    base = tmp_path_factory.mktemp("machines")
    script = base / "script"  # kept for both: no report is compared, and making it takes longer than a small fit
    script.mkdir()
    stages = {}
    for name in ("00_gbdt", "09_interest", "11_sequence"):
        small = {"max_iter": 20} if name == "00_gbdt" else {"epochs": 1, "min_steps": 8}
        stages[name] = base / f"{name}.yaml"
        stages[name].write_text(json.dumps(stage(name, **small).model_dump(exclude_none=True)))
    here = fitted_elsewhere(
        stages,
        rich(900).write(base / "marts"),
        vectors(base / "vectors"),
        script,
        base / "here",
        0o022,
        PYTHONHASHSEED="1",
        LC_ALL="C",
        TZ="UTC",
        OMP_NUM_THREADS="1",
        MKL_NUM_THREADS="1",
        OPENBLAS_NUM_THREADS="1",
    )
    there = fitted_elsewhere(
        stages,
        rich(900).write(base / "b" / "other marts", shuffle=5, files=3),
        vectors(base / "b" / "v"),
        script,
        base / "thére",
        0o077,
        PYTHONHASHSEED="4242",
        LC_ALL="C.UTF-8",
        LANG="de_DE.UTF-8",
        TZ="Pacific/Kiritimati",
        OMP_NUM_THREADS="4",
        MKL_NUM_THREADS="4",
        OPENBLAS_NUM_THREADS="4",
    )
    return here, there


@pytest.mark.parametrize("name", ["00_gbdt", "09_interest", "11_sequence"])
def test_two_machines_make_the_same_bytes(name: str, machines: tuple[Path, Path]) -> None:
    """Texts, histories and calibration too."""
    here, there = (machine / name for machine in machines)
    one, two = contents(here), contents(there)
    assert one.keys() == two.keys() and len(one) >= 14
    assert [file for file in one if one[file] != two[file]] == []
    lineages = [read_json(run / "lineage.json") for run in (here, there)]
    assert lineages[0]["content_hash"] == lineages[1]["content_hash"]
    assert lineages[0]["data_hash"] != lineages[1]["data_hash"], "the files differ, their rows don't"


@pytest.mark.parametrize("name", ["00_gbdt", "01_dnn"])
def test_another_number_of_threads_moves_metrics_by_rounding_alone(
    name: str, toy: Any, stage: Any, tmp_path: Path
) -> None:
    """Sums in another order differ in their last bits: no bytes are promised, but the same figures."""
    marts = toy(1500).write(tmp_path / "marts")
    splits = [
        fit_run(stage(name, threads=threads), marts, tmp_path / str(threads))["splits"]["test"] for threads in (1, 2)
    ]
    for metric in ("auc", "gauc", "log_loss", "ece"):
        assert splits[1][metric] == pytest.approx(splits[0][metric], abs=2e-3), metric
    weights = [(tmp_path / str(threads) / "weights.safetensors").read_bytes() for threads in (1, 2)]
    assert name != "00_gbdt" or weights[0] == weights[1], "the trees' sums don't depend on threads"


def test_whitening_is_the_same_on_any_number_of_cores(tmp_path: Path) -> None:
    """NumPy multiplies on all cores, and wide vectors show it in the last bits."""
    ids = [f"t{k}" for k in range(1500)]
    vectors_ND = 3 + np.random.default_rng(0).normal(size=(1500, 384)) * np.geomspace(1, 0.05, 384)
    with VectorStore.writer(tmp_path, Recipe("e5-small", "r1", "mean", Template(), True, 64, "fp32"), 384) as store:
        store.append(ids, vectors_ND.astype(np.float32))
    matrices = []
    for cores in (1, 4):
        with threadpool_limits(cores, user_api="blas"):
            space = fit_text_space(
                ids,
                {"title": np.arange(1, 1501)},
                tmp_path,
                encoder="e5-small",
                dimensions=64,
                min_coverage=0.9,
                build="",
            )
            matrices.append((space.whitening.matrix_, space.table(ids, "all", tmp_path)))
    np.testing.assert_array_equal(matrices[0][0], matrices[1][0])
    np.testing.assert_array_equal(matrices[0][1], matrices[1][1])


def test_calibration_is_the_same_on_any_number_of_cores() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=60_000)
    label = (rng.random(60_000) < 1 / (1 + np.exp(-logits / 2))).astype(np.uint8)
    found = []
    for cores in (1, 4):
        with threadpool_limits(cores, user_api="blas"):
            found.append(fit_calibration(logits, label, np.zeros(60_000, int), np.arange(60_000) % 700, ("a",)))
    assert found[0] == found[1]
