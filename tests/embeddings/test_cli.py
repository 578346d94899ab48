import json
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import embeddings
from embeddings.cli import app

COMMANDS = ["models", "pull", "build", "inspect", "whiten", "check", "gc"]
TITLES = [f"film number {i} " + "ab" * (i % 23) for i in range(120)]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments, code=0):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    return invoke


def test_every_command_is_here_and_its_help_has_an_example(run):
    assert sorted(command.name or command.callback.__name__ for command in app.registered_commands) == sorted(COMMANDS)
    for command in COMMANDS:
        assert f"Example: embeddings {command}" in " ".join(run(command, "--help").output.split())


def test_the_former_name_of_vectors_is_accepted_and_not_shown(run, tmp_path):
    assert "--store" not in run("check", "--help").output
    for option in (["--store", tmp_path], [f"--store={tmp_path}"], ["--vectors", tmp_path]):
        assert str(tmp_path) in " ".join(run("check", *option, code=2).output.split())


def test_from_a_mart_to_a_whitening(run, write_mart, tiny_folder, tmp_path):
    marts = write_mart([*TITLES, "", b"caf\xe9", ("only warm", "user", 3, 0, 2)])
    made = run("build", "--marts", marts, "--encoder", tiny_folder, "--dtype", "fp32")
    words = " ".join(made.output.split())
    assert "encoded now 121" in words and "empty: no vector, flagged 1" in words and "not valid UTF-8" in words
    assert "Left out 1 texts" in words
    store = embeddings.VectorStore.open(next((tmp_path / "data" / "vectors").iterdir()))
    key = store.path.name

    again = json.loads(run("build", "--marts", marts, "--encoder", tiny_folder, "--dtype", "fp32", "--json").stdout)
    assert (again["n_encoded"], again["n_already_there"]) == (0, 121)

    seen = json.loads(run("inspect", "--marts", marts, "--encoder", key, "--dim", 8, "--json").stdout)
    assert seen["coverage"]["title"] == {"found": 121, "texts": 121}
    assert abs(seen["unrelated_cosine_after"]["mean"]) < seen["unrelated_cosine_before"]["mean"]
    assert (store.path / "inspect.png").exists()
    assert "nearest others, whitened" in run("inspect", "--marts", marts, "--encoder", key, "--dim", 8).output

    facts = json.loads(run("whiten", "--marts", marts, "--encoder", key, "--dim", 8, "--json").stdout)
    whitening = embeddings.Whitening.load(facts["path"])
    texts = embeddings.read_texts(marts)
    train = texts.take(~texts.empty & (texts.side == "title"))
    assert facts["list_hash"] == whitening.list_hash_ == embeddings.texts.list_hash(train.ids)
    out = whitening.transform(store.load(train.ids)[0])
    assert out.shape == (121, 8) and np.abs(out.mean(axis=0)).max() < 1e-4

    assert "sound" in run("check").output
    smaller = write_mart(TITLES[:100], name="smaller")
    assert json.loads(run("gc", "--marts", smaller, "--dry-run", "--json").stdout) == {key: 21}
    assert "21 vectors dropped" in run("gc", "--marts", smaller).output
    assert len(embeddings.VectorStore.open(store.path)) == 100


def test_damage_is_found_and_repaired(run, write_mart, tiny_folder, tmp_path):
    marts = write_mart(TITLES)
    build = ("build", "--marts", marts, "--encoder", tiny_folder, "--dtype", "fp32", "--shard-texts", 50)
    run(*build)
    shard = sorted((tmp_path / "data" / "vectors").glob("*/shards/*"))[1]
    shard.write_bytes(shard.read_bytes()[:-100])
    assert "1 damaged" in run("check", code=1).output
    assert "embeddings check --repair" in run("inspect", "--marts", marts, "--encoder", tiny_folder, code=2).output
    run("check", "--repair")
    assert json.loads(run(*build, "--json").stdout)["n_encoded"] == 50
    assert "sound" in run("check").output


def test_gc_refuses_to_drop_everything_for_want_of_a_mart(run, tmp_path):
    assert "nothing was dropped" in " ".join(run("gc", "--marts", tmp_path, code=2).output.split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("build", "--marts", "nowhere"), "found none"),
        (("build", "--marts", "MART", "--encoder", "e5"), "Did you mean 'e5-small'"),
        (("build", "--marts", "MART", "--encoder", "TINY", "--template", "oops"), "exactly once"),
        (
            ("build", "--marts", "MART", "--encoder", "TINY", "--dtype", "fp32", "--only", "warm"),
            "expected all or cold",
        ),
        (("build", "--marts", "MART", "--encoder", "TINY", "--dtype", "int3"), "expected one of auto, int8"),
        (("inspect", "--marts", "MART"), "embeddings build --encoder e5-small"),
        (("whiten", "--marts", "MART", "--shrinkage", "lots"), "expected auto or a number"),
        (("check",), "No vector store"),
        (("pull", "nobody"), "not in the catalogue"),
        (("pull", "gemma3-270m"), "--accept-terms"),
    ],
)
def test_bad_input_gets_a_message_and_exit_code_2(run, write_mart, tiny_folder, arguments, says):
    here = {"MART": write_mart(["a", "b"]), "TINY": tiny_folder}
    assert says in " ".join(run(*(here.get(a, a) for a in arguments), code=2).output.split())


def test_models_lists_the_catalogue(run):
    facts = json.loads(run("models", "--json").stdout)
    assert facts["e5-small"]["languages"] == "100, with Chinese" and facts["smollm2"]["dim"] == 576
    assert "gemma3-270m" in run("models").output


def test_importing_the_package_is_quick():
    """Neither torch nor transformers is loaded until something needs it, nor for encoding in int8."""
    code = "import sys, embeddings.cli, embeddings.encoder; sys.exit(len({'torch', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_public_names_are_there():
    for name in embeddings.__all__:
        assert getattr(embeddings, name).__name__ == name
    with pytest.raises(AttributeError, match="it has EmbeddingsError"):
        _ = embeddings.Nothing
