from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from trainer.base.errors import TrainerError
from trainer.base.files import read_json
from trainer.cli import app
from trainer.run.directory import fit_run
from trainer.tracking import check_trackers, final_metrics, flat, learning_curve, track

MLFLOW = "trainer.tracking._to_mlflow"


@pytest.fixture
def run(toy: Any, stage: Any, tmp_path: Path) -> Path:
    fit_run(stage("01_dnn", epochs=1), toy(1000).write(tmp_path / "marts"), tmp_path / "runs" / "x")
    return tmp_path / "runs" / "x"


def test_mlflow_gets_stage_metrics_curve_files_and_signature(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'store.db'}")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert "MLflow run" in track(run, "mlflow")
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    import mlflow

    client = mlflow.MlflowClient()
    (found,) = client.search_runs([client.get_experiment_by_name("toy").experiment_id])
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "x"
    saved, training = read_json(run / "metrics.json"), read_json(run / "training.json")
    assert found.data.metrics["test/auc"] == saved["splits"]["test"]["auc"]
    assert found.data.metrics["val/search/log_loss"] == saved["splits"]["val"]["scenes"]["search"]["log_loss"]
    assert found.data.params["training.learning_rate"] == "0.005"
    assert json.loads(found.data.params["model.hidden"]) == [32, 16]
    curve = [(m.step, m.value) for m in client.get_metric_history(found.info.run_id, "learning/val_auc")]
    assert curve == [(one["step"], one["val_auc"]) for one in training["evaluations"]]
    assert len(curve) > 1
    artifacts = Path(mlflow.artifacts.download_artifacts(run_id=found.info.run_id, dst_path=str(tmp_path / "got")))
    assert {path.name for path in run.iterdir()} | {"MLmodel"} == {path.name for path in artifacts.iterdir()}
    assert (artifacts / "weights.safetensors").read_bytes() == (run / "weights.safetensors").read_bytes()
    described = yaml.safe_load((artifacts / "MLmodel").read_text())["signature"]
    columns = {column["name"]: column for column in json.loads(described["inputs"])}
    assert columns["item_rate"]["type"] == "double"
    assert columns["scene_counts"]["items"]["type"] == "double"
    assert "label" not in columns
    assert [column["name"] for column in json.loads(described["outputs"])] == ["probability"]


def test_tensorboard_gets_curve_and_metrics(run: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    track(run, "tensorboard")
    track(run, "tensorboard")  # again replaces it
    assert len(list((run / "tensorboard").iterdir())) == 1
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    saved, training = read_json(run / "metrics.json"), read_json(run / "training.json")
    assert set(events.Tags()["scalars"]) == {*final_metrics(saved), *(key for key, *_ in learning_curve(training))}
    (auc,) = events.Scalars("test/auc")
    assert auc.value == pytest.approx(saved["splits"]["test"]["auc"], abs=1e-6)
    assert auc.step == training["best_step"]
    losses = [(one.step, one.value) for one in events.Scalars("learning/train_loss")]
    assert losses == [(e["step"], pytest.approx(e["train_loss"], abs=1e-6)) for e in training["evaluations"]]


def test_a_tracker_that_fails_loses_nothing(
    toy: Any, stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    def unreachable(run: Path) -> str:
        assert (run / "DONE").exists(), "the run is finished first"
        raise ConnectionError("no such host")

    monkeypatch.setattr(MLFLOW, unreachable)
    (tmp_path / "small.yaml").write_text(json.dumps(stage("00_gbdt").model_dump()))
    fit = ["fit", "--stage", "small.yaml", "--marts", str(toy(600).write(tmp_path / "marts")), "--run", "r"]
    done = CliRunner().invoke(app, [*fit, "--track", "mlflow", "--track", "tensorboard"])
    assert done.exit_code == 1
    said = done.output + capfd.readouterr().err
    assert "--track mlflow failed: ConnectionError: no such host. The run is finished and whole." in said
    assert (tmp_path / "r" / "DONE").exists()
    assert (tmp_path / "r" / "tensorboard").exists(), "the other tracker is told all the same"
    evaluated = CliRunner().invoke(app, ["evaluate", "--run", "r"])
    assert evaluated.exit_code == 0


class Server(threading.Thread):
    """A server on this machine that does to each connection what `answer` says, until the test is over."""

    def __init__(self, answer: Callable[[socket.socket], None]):
        super().__init__(daemon=True)
        self.listening, self.answer, self.held = socket.create_server(("127.0.0.1", 0)), answer, []
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.start()

    def run(self) -> None:
        while True:
            connection, _ = self.listening.accept()
            self.held.append(connection)
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()


def drip(connection: socket.socket) -> None:
    """An answer that never comes to its end, a byte at a time, so that no single read is slow."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
    with contextlib.suppress(OSError):
        while True:
            connection.sendall(b" ")
            time.sleep(0.2)


def nobody() -> str:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return f"http://127.0.0.1:{closed.getsockname()[1]}"


@pytest.mark.parametrize("kind", ["nobody", "silent", "drip", "refuses", "hangs up"])
def test_a_dead_or_slow_server_costs_seconds(run: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[str, Callable[[socket.socket], None]] = {
        "silent": lambda connection: None,
        "drip": drip,
        "refuses": lambda c: c.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        "hangs up": lambda c: c.close(),
    }
    url = Server(answers[kind]).url if kind in answers else nobody()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    monkeypatch.setenv("FIRST_IMPRESSION_TRACK_SECONDS", "3")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    began = time.monotonic()
    with pytest.raises(TrainerError, match=url) as refused:
        track(run, "mlflow")
    # Importing MLflow in a process of its own takes most of it.
    assert time.monotonic() - began < 3 + 25
    assert "\n" not in str(refused.value)
    if kind in ("silent", "drip"):
        assert "within 3 seconds" in str(refused.value)
        assert "FIRST_IMPRESSION_TRACK_SECONDS" in str(refused.value)
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


@pytest.mark.parametrize("text", ["soon", "0", "-1", "inf", "nan", ""])
def test_a_time_that_is_none_is_refused(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("FIRST_IMPRESSION_TRACK_SECONDS", text)
    with pytest.raises(TrainerError, match=r"FIRST_IMPRESSION_TRACK_SECONDS is .* expected seconds"):
        track(tmp_path, "mlflow")


def test_without_the_extra_it_stops_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.tracking.find_spec", lambda name: None if name == "sqlalchemy" else object())
    check_trackers(["tensorboard"])
    with pytest.raises(TrainerError, match=r"needs sqlalchemy.*pip install 'first-impression\[tracking\]'"):
        check_trackers(["mlflow"])
    stopped = CliRunner().invoke(app, ["fit", "--stage", "01_dnn", "--marts", "m", "--run", "r", "--track", "mlflow"])
    assert isinstance(stopped.exception, TrainerError)
    assert not (tmp_path / "r").exists()


def test_a_failed_mlflow_run_is_marked(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'store.db'}")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    monkeypatch.setattr("trainer.tracking.signature", lambda run: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        track(run, "mlflow")
    client = mlflow.MlflowClient()
    (found,) = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    assert found.info.status == "FAILED"


def test_keys_are_joined_and_odd_scenes_are_named() -> None:
    assert dict(flat({"a": 1, "b": {"c": [1, 2], "d": {"e": None}}})) == {"a": 1, "b.c": [1, 2], "b.d.e": None}
    metrics = {"splits": {"val": {"auc": 0.5, "gauc": None, "undefined": {}, "scenes": {"首页#1": {"auc": 0.6}}}}}
    assert final_metrics(metrics) == {"val/auc": 0.5, "val/首页_1/auc": 0.6}


def test_the_command_line_loads_no_tracker() -> None:
    code = "import sys, trainer.cli; sys.exit(bool({'mlflow', 'tensorboard', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])})
    assert done.returncode == 0
