"""The run directory: what a fit leaves behind, written atomically.

config.yaml features.json vocab/ weights.safetensors metrics.json training.json dataset.json cold_start.csv
cold_start_pivot.csv predictions.parquet drift.csv, and texts.json where the stage reads texts: the same seed and data
give the same bytes.
lineage.json timing.json report.html: where it came from and how long it took. DONE, with the sha256 of the
others, is written last (integrity.py).
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from storage import atomic, remote
from storage.installed import lacking
from storage.places import is_remote, recorded
from storage.uris import RemoteError
from trainer.base.errors import TrainerError
from trainer.base.files import read_json, write_json
from trainer.base.paging import peak_rss_mib
from trainer.base.progress import console
from trainer.base.readable import readable
from trainer.columns.build import open_mart
from trainer.columns.shares import open_held_out
from trainer.config import NetworkStage, Stage, dump_stage, load_stage
from trainer.contract.read import read_contract
from trainer.contract.schema import Contract
from trainer.evaluation.calibration import Calibration
from trainer.evaluation.drift import write_drift
from trainer.evaluation.predict import cold_start_cells, evaluate, predict_held_out, write_cells, write_predictions
from trainer.inputs.vectors import DEFAULT_VECTORS
from trainer.run.integrity import DONE, check_finished, seal
from trainer.run.provenance import lineage, vectors_of
from trainer.run.shared import check_alike, describe, open_own
from trainer.training.checkpoint import SECONDS, Checkpoint
from trainer.training.distributed import check_divisible, team
from trainer.training.feed import Place
from trainer.training.fit import Execution, fit
from trainer.training.fitted import Fitted
from trainer.training.loop import UNCHOSEN, TrainingHistory
from trainer.training.placebo import seen_by
from trainer.training.schedule import for_batch_size

PROMISED = (
    "config.yaml",
    "features.json",
    "weights.safetensors",
    "metrics.json",
    "training.json",
    "dataset.json",
    "cold_start.csv",
    "cold_start_pivot.csv",
    "predictions.parquet",
    "drift.csv",
)


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
    batch_size: int | None = None,
    columns_on: Place = "auto",
    checkpoint_seconds: float = SECONDS,
) -> dict[str, Any] | None:
    """Train a stage on a mart and write the run directory; returns what metrics.json holds.

    batch_size: instead of the stage's own, with learning rates to match (schedule.for_batch_size).
    Checkpoints go to `<run>.checkpoint`, which is removed when the run is finished; `resume` goes on from there.
    Under torchrun the first process writes, and the others return None.
    Raises: TrainerError for bad input, and for a `run` that is finished already unless `force`.
    """
    watch, started = Stopwatch(), datetime.now(UTC).isoformat(timespec="seconds")
    checkpoint = run.with_name(f"{run.name}.checkpoint")
    with ExitStack() as stack:
        processes = stack.enter_context(team())
        check_divisible(stage, processes)
        processes.together(lambda: check_free(run, force, resume) if processes.leads else None)
        with watch("contract"):
            contract = processes.together(lambda: read_contract(marts, mart, manifest))
        check_alike(stage, contract, {"amp": amp, "batch_size": batch_size}, processes)
        if processes.agreed(resume and is_remote(run) and _was_finished(run, contract, command)):
            return _uploaded(run, read_json(run / "metrics.json")) if processes.leads else None
        aside = stack.enter_context(atomic.folder(run)) if processes.leads else None
        with watch("columns"):
            contract, columns, share = open_own(contract, marts, mart, manifest, processes)
            columns = seen_by(stage, columns)
        if batch_size is not None:
            stage = _for_batch_size(stage, batch_size, sum(processes.gather(len(columns.rows("train")))))
        execution = Execution(checkpoint, resume, checkpoint_seconds, amp, processes, columns_on)
        with watch("fit"):
            fitted, history = fit(stage, contract, columns, vectors, execution)
        with watch("describe"):
            about = describe(fitted, contract, columns, share)
        if aside is None:
            return None
        _say_what_is_odd(about.not_finite, history)
        if processes.size > 1:  # the others are done: the first one measures
            columns = open_held_out(contract, columns, share)
        with watch("predict"):
            predictions = predict_held_out(fitted, columns)
        with watch("evaluate"):
            results = evaluate(stage, contract, columns, predictions)
            cells = cold_start_cells(stage, columns, predictions)
        (aside / "config.yaml").write_text(dump_stage(stage), encoding="utf-8")
        fitted.save(aside)
        if predictions.calibration is not None:
            predictions.calibration.save(aside)
        write_json(aside / "metrics.json", results)
        write_json(
            aside / "training.json",
            {
                "parameters": fitted.n_parameters,
                "best_step": history.best_step,
                "stopped": history.stopped,
                "evaluations": history.evaluations,
            },
        )
        write_json(
            aside / "dataset.json",
            {
                "dataset": contract.dataset,
                "mart": f"{contract.model}_v{contract.version}",
                "inputs": len(contract.inputs),
                "stand_ins": fitted.inputs.stand_ins,
                "splits": about.splits,
                "text_coverage": fitted.inputs.text_coverage,
                "not_finite": about.not_finite,
            },
        )
        write_cells(aside, cells, columns.scenes)
        write_predictions(aside / "predictions.parquet", columns, predictions)
        write_drift(aside, about.drift)
        if about.texts is not None:
            write_json(aside / "texts.json", about.texts)
        came_from = lineage(fitted, contract, columns.content_hash, about.text_ids, command)
        write_json(aside / "lineage.json", came_from | {"amp": amp, "processes": processes.size})
        write_json(
            aside / "timing.json",
            {
                "started_at": started,
                "seconds": watch.seconds,
                "train_rows_per_second": round(history.rows_per_second) or None,
                "device": history.device,
                "columns_on": history.columns_on,
                "peak_rss_mib": peak_rss_mib(),
                "peak_rss_mib_of_processes": about.peak_rss_mib,
            },
        )
        _write_report(aside, run, bayes)
        seal(aside)
        Checkpoint(checkpoint, "").remove()  # before the run appears: nothing comes back here for it later
    return _uploaded(run, results)


def _uploaded(run: Path, results: dict[str, Any]) -> dict[str, Any]:
    """The results, after a run whose place is a URI went there."""
    try:
        remote.upload(run, DONE)
    except RemoteError as error:
        raise RemoteError(
            f"{error} The run is finished, and kept in the cache: the same command with --resume only uploads it."
        ) from None
    return results


def _was_finished(run: Path, contract: Contract, command: str) -> bool:
    """Whether the same command finished a run of the same mart that it couldn't upload."""
    if not (run / DONE).exists():
        return False
    with readable(run):
        made = read_json(run / "lineage.json")
    same = [shlex.join(part for part in shlex.split(one) if part != "--resume") for one in (command, made["command"])]
    return same[0] == same[1] and made["data_hash"] == contract.data_hash


def _for_batch_size(stage: Stage, batch_size: int, train_rows: int) -> Stage:
    if not isinstance(stage, NetworkStage):
        raise TrainerError(f"{stage.stage} has trees, which aren't trained in batches. Leave --batch-size out.")
    training = for_batch_size(stage.training, batch_size, train_rows)
    return stage.model_copy(update={"training": training})


def _write_report(aside: Path, run: Path, bayes: Path | None) -> None:
    """Write report.html; without what draws it, say so and how to get it, since a fit is worth more than its page."""
    why = lacking("report", "A report")
    if why is None:
        from trainer.report import write_report

        try:
            write_report([aside], aside / "report.html", bayes=bayes, names=[run.name])
            return
        except ModuleNotFoundError as error:  # code that isn't installed doesn't know its extras (storage/installed.py)
            why = f"The Python package {error.name} isn't installed. Install it"
    later = f"trainer report --runs {run} --output {run / 'report.html'}"
    console.print(f"report.html wasn't written. {why}, then: {later}", style="yellow", markup=False, soft_wrap=True)


def _say_what_is_odd(not_finite: dict[str, int], history: TrainingHistory) -> None:
    """What the run directory says too, but a reader of figures should know at once."""
    for name, n in not_finite.items():
        console.print(
            f"Input {name}: {n:,} values are NaN, infinite or beyond 1e38; they count as missing.",
            style="yellow",
            soft_wrap=True,
        )
    if UNCHOSEN in history.stopped:
        console.print(f"Trained {history.stopped}: the last weights are kept.", style="yellow", soft_wrap=True)


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
    with readable(run):
        came_from = read_json(run / "lineage.json")
        trained_on, of_mart, content_hash = recorded(came_from["marts"]), came_from["mart"], came_from["content_hash"]
    contract, columns = open_mart(marts or trained_on, mart or (of_mart if not marts else None), manifest)
    columns = seen_by(stage, columns)
    predictions = predict_held_out(Fitted.load(run, stage, vectors or vectors_of(run)), columns, Calibration.load(run))
    results = evaluate(stage, contract, columns, predictions)
    if columns.content_hash != content_hash:
        return results, None
    return results, json.loads(json.dumps(results)) == read_json(run / "metrics.json")


def check_free(run: Path, force: bool, resume: bool = False) -> None:
    """Raise TrainerError unless a run may be written at `run`. Only runs are ever replaced.

    What a killed fit left beside it goes, and a run that it was about to replace is back.
    """
    atomic.remove_leftovers(run)
    if not remote.exists(run) or (run.is_dir() and not is_remote(run) and not any(run.iterdir())):
        return
    if not remote.exists(run / DONE):
        if is_remote(run) and resume and (run / DONE).exists():
            return  # an upload was killed
        raise TrainerError(f"{run} exists and isn't a finished run. Name another folder with --run, or remove it.")
    if not force:
        raise TrainerError(f"{run} is a finished run. Name another folder with --run, or replace it with --force.")
    console.print(f"Replacing {run} when the new run is finished.", style="yellow")
