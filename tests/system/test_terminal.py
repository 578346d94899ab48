"""What all commands share: an example in the help, --json, progress on a terminal alone, exit codes, completion."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from docs.make_reference import PROGRAMS
from embeddings import Recipe, Template, VectorStore
from tests.system.pages import app_of, command_of, parse, run_in_process, simple_commands
from tests.trainer.toy_texts import write_vectors
from tests.trainer.toys import make_rich
from trainer.config import load_stage


def commands_of(name: str, command: object) -> dict[str, object]:
    """Every command that can be run, by what a user types, in the groups that hold them."""
    members = getattr(command, "commands", {})
    own = {name: command} if not members or command.invoke_without_command else {}
    return own | {k: c for inner, one in members.items() for k, c in commands_of(f"{name} {inner}", one).items()}


COMMANDS = {name: c for program in PROGRAMS for name, c in commands_of(program, command_of(program)).items()}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_that_parses(name: str) -> None:
    text = re.sub(r"\[/?(?:bold)?\]|`", "", COMMANDS[name].help)
    examples = re.findall(r"^Example: (.+)$", text, re.MULTILINE)
    assert len(examples) == 1
    assert examples[0].startswith(name)
    for words in simple_commands(examples[0]):
        parse(words)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_json(name: str) -> None:
    assert "--json" in [flag for parameter in COMMANDS[name].params for flag in parameter.opts]


@pytest.mark.parametrize("program", ["trainer", "embeddings"])
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion(program: str, shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shellingham.detect_shell", lambda *_: (shell, f"/bin/{shell}"))
    shown = CliRunner().invoke(app_of(program), ["--show-completion"], prog_name=program)
    assert shown.exit_code == 0, shown.output
    assert f"_{program.upper()}_COMPLETE=complete_{shell}" in shown.output


@pytest.mark.parametrize(
    ("command", "stops"),
    [
        ("trainer report --runs r --output o.html", "trainer.run.integrity.check_finished"),
        ("embeddings models", "embeddings.catalogue.catalogue"),
        ("warehouse fetch movielens", "warehouse.fetch.fetch"),
        ("warehouse simulate --events 1000", "warehouse.simulate.__main__.simulate"),
        ("warehouse simulate bayes", "warehouse.simulate.__main__.read_truth"),
    ],
)
def test_ctrl_c_is_130_and_a_line(
    command: str, stops: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stops, interrupted)
    code, said = run_in_process(simple_commands(command)[0])
    assert code == 130
    assert "Stopped" in said + capfd.readouterr().err


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What people would see: the trainer's progress goes to a terminal that keeps everything."""
    seen = io.StringIO()
    monkeypatch.setattr("trainer.base.progress.console", Console(file=seen, force_terminal=True, width=140))
    return seen


@pytest.fixture
def marts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FIRST_IMPRESSION_CACHE", str(tmp_path / "cache"))
    write_vectors(tmp_path / "data/vectors")
    for name in ("00_gbdt", "05_content_tower"):
        raw = load_stage(name).model_dump(exclude_none=True)
        raw["evaluation"]["resamples"] = 10
        if "texts" in raw["inputs"]:
            raw["inputs"]["texts"]["dimensions"] = 8
            raw["training"] |= {"epochs": 1, "min_steps": 4}
        (tmp_path / f"{name}.yaml").write_text(json.dumps(raw))
    return make_rich(600).write(tmp_path / "marts")


@pytest.mark.parametrize("stage", ["00_gbdt", "05_content_tower"])
def test_long_work_shows_progress_with_a_rate(stage: str, marts: Path, terminal: io.StringIO) -> None:
    fit = ["trainer", "fit", "--stage", f"{stage}.yaml", "--marts", str(marts), "--run", "r"]
    assert run_in_process(fit)[0] == 0
    score = ["--input", str(marts / "training_examples_v1"), "--output", "o.parquet"]
    assert run_in_process(["trainer", "score", "--run", "r", *score])[0] == 0
    steps = ["Reading the mart", "Boosting" if stage == "00_gbdt" else "Training", "Predicting", "Measuring"]
    steps += ["Measuring cold start", "Scoring"]
    if stage != "00_gbdt":
        assert run_in_process(["trainer", "export", "--run", "r", "--output", "m.onnx"])[0] == 0
        assert "Exporting" in terminal.getvalue()
    for step in steps:
        (last, *_) = [line for line in reversed(re.split(r"[\r\n]", terminal.getvalue())) if f"{step} " in line]
        done, total = (int(number.replace(",", "")) for number in re.search(r"([\d,]+)/([\d,]+)", last).groups())
        assert done == total or step == "Boosting", f"{step}: the bar isn't full: {last}"
        assert re.search(r"(rows|trees)/s", last), f"{step}: no rate: {last}"


def test_a_pipe_gets_results_and_no_bars(marts: Path) -> None:
    """--json prints JSON and nothing else on standard output."""
    found = CliRunner().invoke(
        app_of("trainer"), ["fit", "--stage", "00_gbdt.yaml", "--marts", str(marts), "--run", "r", "--json"]
    )
    assert found.exit_code == 0
    assert json.loads(found.stdout)["stage"] == "00_gbdt"
    assert "Boosting" not in found.output
    reported = CliRunner().invoke(app_of("trainer"), ["report", "--runs", "r", "--output", "r.html", "--json"])
    printed = json.loads(reported.stdout)
    assert all(isinstance(sentence, str) for sentences in printed.pop("answers").values() for sentence in sentences)
    assert printed == {"output": "r.html", "runs": ["r"]}


def test_fetch_and_pull_tell_programs_where_things_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from embeddings import catalogue, model, pull

    monkeypatch.setattr("warehouse.fetch.fetch", lambda dataset, raw, cache: raw / dataset)
    found = CliRunner().invoke(app_of("warehouse"), ["fetch", "movielens", "--raw", "here", "--json"])
    assert json.loads(found.stdout)["folder"] == "here/movielens"
    monkeypatch.setattr(catalogue, "is_pulled", lambda name: True)
    monkeypatch.setattr(pull, "pull", lambda name, **_: tmp_path / name)
    monkeypatch.setattr(
        model, "resolve", lambda name: type("Model", (), {"kind": "decoder", "revision": "r1", "folder": tmp_path})
    )
    pulled = CliRunner().invoke(app_of("embeddings"), ["pull", "smollm2", "--json"])
    assert json.loads(pulled.stdout)["folder"] == str(tmp_path / "smollm2")


def test_checking_a_store_counts_its_bytes(tmp_path: Path) -> None:
    heard: list[int] = []
    with VectorStore.writer(tmp_path, Recipe("e5-small", "r", "mean", Template(), True, 64, "fp32"), 4) as store:
        store.append(["a", "b"], np.eye(4, dtype=np.float32)[:2])
        store.append(["c"], np.eye(4, dtype=np.float32)[2:3])
        assert store.check(progress=heard.append) == []
    assert heard == [shard.n_bytes for shard in store.shards]
