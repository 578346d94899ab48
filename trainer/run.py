"""The run directory: what a fit leaves behind, whole or absent.

config.yaml features.json vocab/ weights.safetensors metrics.json training.json dataset.json cold_start.csv
cold_start_pivot.csv predictions.parquet: the same seed and data give the same bytes.
lineage.json timing.json report.html: where it came from and how long it took. DONE is written last.
"""

from __future__ import annotations

import csv
import json
import platform
import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trainer import __version__, metrics
from trainer.checkpoint import SECONDS, Checkpoint
from trainer.config import Stage, dump_stage, load_stage
from trainer.data import Columns, facts, open_columns
from trainer.errors import TrainerError
from trainer.files import read_json, write_json, written_aside
from trainer.fitted import Execution, Fitted, fit
from trainer.mart import Contract, read_contract
from trainer.progress import console
from trainer.report import write_report
from trainer.team import team
from trainer.train import sigmoid
from trainer.vectors import DEFAULT_VECTORS

PROMISED = (
    "config.yaml", "features.json", "weights.safetensors", "metrics.json", "training.json", "dataset.json",
    "cold_start.csv", "cold_start_pivot.csv", "predictions.parquet",
)  # fmt: skip
HELD_OUT = ("val", "test")
BOOTSTRAP_SEED = 0  # one for all runs: runs on the same rows are then compared on the same samples of users


@dataclass
class Stopwatch:
    """Seconds of each named part, in order."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 3)


def fit_run(
    stage: Stage,
    marts: Path,
    run: Path,
    *,
    mart: str | None = None,
    manifest: Path | None = None,
    force: bool = False,
    command: str = "",
    bayes: Path | None = None,
    vectors: Path = DEFAULT_VECTORS,
    resume: bool = False,
    amp: bool = False,
    checkpoint_seconds: float = SECONDS,
) -> dict[str, Any] | None:
    """Train a stage on a mart and write the run directory; returns what metrics.json holds.

    Checkpoints go to `<run>.checkpoint`, which is removed when the run is finished; `resume` goes on from there.
    Under torchrun the first process writes, and the others return None.
    Raises: TrainerError for bad input, and for a `run` that is finished already unless `force`.
    """
    check_free(run, force)
    watch, started = Stopwatch(), datetime.now(UTC).isoformat(timespec="seconds")
    with watch("contract"):
        contract = read_contract(marts, mart, manifest)
    execution = Execution(run.with_name(f"{run.name}.checkpoint"), resume, checkpoint_seconds, amp)
    with team() as processes, written_aside(run) if processes.leads else nullcontext() as aside:
        with watch("columns"), processes.leader_first():
            columns = open_columns(contract)
        with watch("fit"):
            fitted, history = fit(stage, contract, columns, vectors, replace(execution, team=processes))
        if aside is None:
            return None
        with watch("predict"):
            predictions = predict_held_out(fitted, columns)
        with watch("evaluate"):
            results = evaluate(stage, contract, columns, predictions)
            cells = cold_start_cells(stage, columns, predictions)
        (aside / "config.yaml").write_text(dump_stage(stage), encoding="utf-8")
        fitted.save(aside)
        write_json(aside / "metrics.json", results)
        write_json(aside / "training.json", {
            "parameters": fitted.n_parameters, "best_step": history.best_step, "stopped": history.stopped,
            "evaluations": history.evaluations,
        })  # fmt: skip
        write_json(aside / "dataset.json", {
            "dataset": contract.dataset, "mart": f"{contract.model}_v{contract.version}",
            "inputs": len(contract.inputs), "stand_ins": fitted.inputs.stand_ins, "splits": facts(columns),
            "text_coverage": fitted.inputs.text_coverage,
        })  # fmt: skip
        _write_cells(aside, cells, columns.scenes)
        _write_predictions(aside / "predictions.parquet", columns, predictions)
        write_json(aside / "lineage.json", lineage(stage, contract, columns, command, vectors) | {"amp": amp})
        write_json(aside / "timing.json", {
            "started_at": started, "seconds": watch.seconds,
            "train_rows_per_second": round(history.rows_per_second) or None,
            "peak_rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        })  # fmt: skip
        write_report([aside], aside / "report.html", bayes=bayes, names=[run.name])
        (aside / "DONE").touch()
    Checkpoint(execution.checkpoint, "").remove()
    return results


def evaluate_run(
    run: Path,
    marts: Path | None = None,
    mart: str | None = None,
    manifest: Path | None = None,
    vectors: Path | None = None,
) -> tuple[dict[str, Any], bool | None]:
    """Recompute a run's metrics from its weights on a mart, by default the one it was trained on.

    Returns the metrics, and whether they equal metrics.json: None where the mart holds other rows than the run's.
    """
    check_finished(run)
    stage = load_stage(run / "config.yaml")
    came_from = read_json(run / "lineage.json")
    contract = read_contract(
        marts or Path(came_from["marts"]), mart or (came_from["mart"] if not marts else None), manifest
    )
    columns = open_columns(contract)
    vectors = vectors or Path(came_from.get("vectors", DEFAULT_VECTORS))
    predictions = predict_held_out(Fitted.load(run, stage, vectors), columns)
    results = evaluate(stage, contract, columns, predictions)
    if columns.content_hash != came_from["content_hash"]:
        return results, None
    return results, json.loads(json.dumps(results)) == read_json(run / "metrics.json")


@dataclass(frozen=True)
class Predictions:
    """Held-out rows, validation then test, each in the order of the columns. Legend: B rows."""

    rows_B: np.ndarray
    split_B: np.ndarray  # position in HELD_OUT
    probability_B: np.ndarray  # float64


def predict_held_out(fitted: Fitted, columns: Columns) -> Predictions:
    """Predict validation and test."""
    rows = [columns.rows(split) for split in HELD_OUT]
    split_B = np.repeat(np.arange(len(HELD_OUT)), [len(r) for r in rows])
    probability = [sigmoid(fitted.logits(columns, r)) for r in rows]
    return Predictions(np.concatenate(rows), split_B, np.concatenate(probability))


def evaluate(stage: Stage, contract: Contract, columns: Columns, predictions: Predictions) -> dict[str, Any]:
    """What metrics.json holds: every metric of each held-out split, overall and by scene."""
    users = columns.codes_of("user")
    out: dict[str, Any] = {
        "stage": stage.stage, "seed": stage.seed, "dataset": contract.dataset,
        "mart": f"{contract.model}_v{contract.version}", "splits": {},
    }  # fmt: skip
    for k, split in enumerate(HELD_OUT):
        in_B = predictions.split_B == k
        rows = predictions.rows_B[in_B]
        out["splits"][split] = metrics.evaluation(
            columns.label_N[rows], predictions.probability_B[in_B], users[rows], columns.scene_N[rows], columns.scenes,
            resamples=stage.evaluation.resamples, seed=BOOTSTRAP_SEED,
        )  # fmt: skip
    return out


def cold_start_cells(stage: Stage, columns: Columns, predictions: Predictions) -> list[dict[str, Any]]:
    """The cold-start cube of each held-out split."""
    users, out = columns.codes_of("user"), []
    for k, split in enumerate(HELD_OUT):
        in_B = predictions.split_B == k
        rows = predictions.rows_B[in_B]
        cells = metrics.cold_start(
            columns.label_N[rows], predictions.probability_B[in_B], users[rows], columns.level_NG[rows],
            columns.level_groups, columns.scene_N[rows], columns.scenes, resamples=stage.evaluation.resamples,
            min_class=stage.evaluation.min_class, seed=BOOTSTRAP_SEED,
        )  # fmt: skip
        out += [{"split": split} | cell for cell in cells]
    return out


def _write_cells(folder: Path, cells: list[dict[str, Any]], scenes: tuple[str, ...]) -> None:
    with (folder / "cold_start.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, cells[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(cells)
    by_key = {tuple(c[k] for k in ("split", "user_level", "item_level", "scene")): c for c in cells}
    columns = [metrics.ANY, *scenes]
    with (folder / "cold_start_pivot.csv").open("w", newline="", encoding="utf-8") as file:
        pivot = csv.writer(file, lineterminator="\n")
        pivot.writerow(
            ["split", "user_level", "item_level", *(f"auc {s}" for s in columns), *(f"n {s}" for s in columns)]
        )
        for key in dict.fromkeys(key[:3] for key in by_key):
            row = [by_key[(*key, scene)] for scene in columns]
            pivot.writerow([*key, *(c["auc"] for c in row), *(c["n"] for c in row)])


def _write_predictions(path: Path, columns: Columns, predictions: Predictions) -> None:
    rows = predictions.rows_B
    pq.write_table(pa.table({
        "event_id": columns.event_ids(rows),
        "split": pa.array(HELD_OUT).take(pa.array(predictions.split_B)),
        "scene": pa.array(columns.scenes).take(pa.array(columns.scene_N[rows])),
        "label": pa.array(columns.label_N[rows].astype(np.int32)),
        "probability": pa.array(predictions.probability_B),
    }), path)  # fmt: skip


def lineage(
    stage: Stage, contract: Contract, columns: Columns, command: str, vectors: Path = DEFAULT_VECTORS
) -> dict[str, Any]:
    """Where a run came from: dbt's side of it, the data, the code."""
    packages = ("torch", "numpy", "scikit-learn", "pyarrow", "safetensors")
    return {
        "dataset": contract.dataset, "marts": str(contract.folder.parent), "mart": contract.folder.name,
        "n_rows": contract.n_rows, "dbt": contract.lineage,
        "manifest_note": None if contract.lineage["manifest"] else "no manifest; the mart's own build record was used",
        "data_hash": contract.data_hash, "content_hash": columns.content_hash,
        "columns": [asdict(c) for c in contract.columns],
        "vectors": str(vectors), "variables": contract.variables, "seed": stage.seed, "threads": stage.threads,
        "command": command,
        "git_commit": _git_commit(), "machine": platform.machine(),
        "versions": {"trainer": __version__, "python": platform.python_version()} | {p: version(p) for p in packages},
    }  # fmt: skip


def _git_commit() -> str | None:
    """The commit of the code that runs, with `-dirty` where tracked files differ from it; None outside a checkout."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def check_free(run: Path, force: bool) -> None:
    """Raise TrainerError unless a run may be written at `run`. Only runs are ever replaced."""
    if not run.exists() or (run.is_dir() and not any(run.iterdir())):
        return
    if not (run / "DONE").exists():
        raise TrainerError(f"{run} exists and isn't a finished run. Name another folder with --run, or remove it.")
    if not force:
        raise TrainerError(f"{run} is a finished run. Name another folder with --run, or replace it with --force.")
    console.print(f"Replacing {run} when the new run is finished.", style="yellow")


def check_finished(run: Path) -> None:
    """Raise TrainerError unless `run` is a finished run."""
    if not (run / "DONE").exists():
        what = "isn't a finished run" if run.exists() else "doesn't exist"
        raise TrainerError(
            f"{run} {what}: expected a folder that `trainer fit --run {run}` wrote to its end (with DONE)."
        )
