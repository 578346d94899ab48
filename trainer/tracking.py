"""A finished run logged to experiment trackers: MLflow, TensorBoard. What they get is read from the run's own files.

So a tracker can lose nothing: the run is complete before the first tracker sees it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from storage import atomic
from trainer.base.errors import TrainerError
from trainer.base.files import read_json
from trainer.contract.schema import Column
from trainer.inputs.features import FittedInputs
from trainer.inputs.table import RequiredColumns

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

Tracker = Literal["mlflow", "tensorboard"]
FOLDER = "tensorboard"  # in the run
LIMIT = "FIRST_IMPRESSION_TRACK_SECONDS"
# What each imports; mlflow's default store is a SQLite file.
_PACKAGES = {"mlflow": ("mlflow", "sqlalchemy", "alembic"), "tensorboard": ("tensorboard",)}
_TYPES = {
    "string": "string",
    "double": "double",
    "float": "float",
    "bigint": "long",
    "int": "integer",
    "smallint": "integer",
    "tinyint": "integer",
    "boolean": "boolean",
    "date": "datetime",
    "timestamp": "datetime",
}


def check_trackers(trackers: Iterable[Tracker]) -> None:
    """Raises: TrainerError where a tracker's packages aren't installed; to be asked before hours of training."""
    for tracker in trackers:
        missing = [name for name in _PACKAGES[tracker] if find_spec(name) is None]
        if missing:
            raise TrainerError(
                f"--track {tracker} needs {', '.join(missing)}, which this environment doesn't have. "
                "pip install 'first-impression[tracking]', or leave --track out."
            )


def track(run: Path, tracker: Tracker) -> str:
    """Tell one tracker of a finished run; returns where it is now. Raises: whatever the tracker raises."""
    match tracker:
        case "mlflow":
            return _to_mlflow(run)
        case "tensorboard":
            return _to_tensorboard(run)


def flat(value: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Nested keys joined by dots: `training.learning_rate`. A list stays one value."""
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from flat(inner, f"{above}{key}.")
        else:
            yield f"{above}{key}", inner


def final_metrics(metrics: dict[str, Any]) -> dict[str, float]:
    """`test/auc`, `test/<scene>/auc` ...: every number of metrics.json; what is undefined is left out."""
    out: dict[str, float] = {}
    for split, found in metrics["splits"].items():
        for above, part in [(split, found), *((f"{split}/{scene}", one) for scene, one in found["scenes"].items())]:
            numbers = {key: value for key, value in part.items() if isinstance(value, int | float)}
            out |= {_name(f"{above}/{key}"): float(value) for key, value in numbers.items()}
    return out


def learning_curve(training: dict[str, Any]) -> list[tuple[str, float, int]]:
    """(`learning/val_auc`, value, step) of every evaluation while training."""
    return [
        (f"learning/{key}", float(value), one["step"])
        for one in training["evaluations"]
        for key, value in one.items()
        if key not in ("step", "epoch") and value is not None
    ]


def signature(run: Path) -> ModelSignature:
    """The columns that `trainer score` needs with their types in the contract, and what it gives."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from mlflow.types.schema import Array

    came_from = read_json(run / "lineage.json")
    contract = tuple(Column(**column) for column in came_from["columns"])
    required = RequiredColumns.of(FittedInputs.load(run), contract, came_from["variables"])
    columns = []
    for name, column in required.columns.items():
        inner = _TYPES[column.data_type.removesuffix("[]")]
        columns.append(ColSpec(Array(inner) if column.data_type.endswith("[]") else inner, name, required=False))
    return ModelSignature(inputs=Schema(columns), outputs=Schema([ColSpec("double", "probability")]))


def _to_mlflow(run: Path) -> str:
    """Log to MLflow, to a server within `_limit()` seconds in all.

    A server that is dead or slow may hold each of a dozen requests for minutes, and threads of MLflow's own would hold
    the process at its end. So a process of its own logs, and is ended when its time is up.
    Raises: TrainerError where it failed, or where the time was up.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nothing is sent anywhere unasked
    import mlflow

    uri = mlflow.get_tracking_uri()
    if uri.partition(":")[0] in ("file", "sqlite") or "://" not in uri:
        return _log_to_mlflow(run)  # on this machine: nobody to wait for
    seconds = _limit()
    # One retry: the default of seven, with pauses that double, is minutes for a server that isn't there.
    waits = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": str(max(1, round(seconds)))}
    logging = subprocess.Popen(
        [sys.executable, "-m", __name__, str(run)],
        env=waits | os.environ,
        bufsize=0,  # the first line alone is taken
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert logging.stdout is not None
        logging.stdout.readline()  # its imports are done; the time that counts begins
        said, _ = logging.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise TrainerError(
            f"{uri} didn't take the run within {seconds:g} seconds. Look whether the server is up; a larger "
            f"{LIMIT} gives it more time."
        ) from None
    finally:
        logging.kill()
        logging.wait()
    kind, _, text = said.decode(errors="replace").strip().partition(" ")
    if kind == "done":
        return text
    raise TrainerError(f"{uri}: {text or 'the process that logged it ended without a word.'}")


def _limit() -> float:
    """Seconds that a tracking server gets in all. Raises: TrainerError where the variable holds no number above 0."""
    text = os.environ.get(LIMIT, "10")
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < float("inf"):
        raise TrainerError(f"{LIMIT} is {text!r}; expected seconds, a number above 0.")
    return seconds


def _log_to_mlflow(run: Path) -> str:
    """Parameters, metrics by step, the run's files and a model signature, into one MLflow run.

    Where: what MLFLOW_TRACKING_URI says, else mlflow's own default. The experiment is named by MLFLOW_EXPERIMENT_NAME,
    else by the dataset.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nothing is sent anywhere unasked
    import mlflow
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.models import Model

    stage = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    metrics, training, came_from = (read_json(run / f"{name}.json") for name in ("metrics", "training", "lineage"))
    client, now = mlflow.MlflowClient(), time.time_ns() // 1_000_000
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", metrics["dataset"])
    experiment = client.get_experiment_by_name(name)
    where = experiment.experiment_id if experiment else client.create_experiment(name)
    run_id = client.create_run(where, run_name=run.name).info.run_id
    try:
        values = [Metric(key, value, now, training["best_step"]) for key, value in final_metrics(metrics).items()]
        values += [Metric(key, value, now, step) for key, value, step in learning_curve(training)]
        about = {key: came_from[key] for key in ("dataset", "mart", "content_hash", "command", "code_hash")}
        tags = about | {"mlflow.source.git.commit": came_from["git_commit"] or "no checkout"}
        for start in range(0, len(values), 1000):  # the most that mlflow takes at once
            client.log_batch(run_id, metrics=values[start : start + 1000])
        parameters = [Param(key, v if isinstance(v, str) else json.dumps(v)) for key, v in flat(stage)]
        client.log_batch(run_id, params=parameters, tags=[RunTag(key, str(value)) for key, value in tags.items()])
        client.log_artifacts(run_id, str(run))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "MLmodel"
            Model(run_id=run_id, signature=signature(run)).save(str(path))
            client.log_artifact(run_id, str(path))
    except BaseException:
        client.set_terminated(run_id, status="FAILED")
        raise
    client.set_terminated(run_id)
    return f"MLflow run {run_id} in {mlflow.get_tracking_uri()}"


def _to_tensorboard(run: Path) -> str:
    """Scalars of the learning curve by step, and of the final metrics at the step that was kept."""
    from torch.utils.tensorboard import SummaryWriter

    metrics, training = read_json(run / "metrics.json"), read_json(run / "training.json")
    with atomic.folder(run / FOLDER) as aside, SummaryWriter(str(aside)) as writer:
        for key, value, step in learning_curve(training):
            writer.add_scalar(key, value, step)
        for key, value in final_metrics(metrics).items():
            writer.add_scalar(key, value, training["best_step"])
    return f"TensorBoard events in {run / FOLDER}"


def _name(text: str) -> str:
    """A metric's name as MLflow allows it: a scene may hold any character."""
    return re.sub(r"[^\w\-. :/]", "_", text)


def _main(run: Path) -> None:
    """What the process of `_to_mlflow` does: a line when it begins, and one that says what came of it."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow  # noqa: F401

    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what MLflow prints isn't the answer
    print("begins", file=out, flush=True)
    try:
        said = f"done {_log_to_mlflow(run)}"
    except Exception as error:
        said = f"failed {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    print(said, file=out, flush=True)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
