"""A model folder from someone else: weights are safetensors alone, and code that it brings along isn't run."""

import json
import pickle
import shutil
from pathlib import Path

import pytest

from embeddings import EmbeddingsError, Encoder


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, place: Path):
        self.place = place

    def __reduce__(self):
        return Path.touch, (self.place,)


@pytest.fixture
def folder(tiny_folder, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "model"))


def test_pickled_weights_are_not_read(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(tmp_path / "trapped")))
    with pytest.raises(EmbeddingsError, match="Could not load the model"):
        Encoder.open(str(folder), dtype="fp32")
    assert not (tmp_path / "trapped").exists()


def test_code_in_a_model_folder_is_not_run(folder, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "unheard_of", "auto_map": {"AutoConfig": "code.Config", "AutoModel": "code.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'trapped')!r}).touch()\n")
    with pytest.raises(EmbeddingsError, match="Could not load the model"):
        Encoder.open(str(folder), dtype="fp32")
    assert not (tmp_path / "trapped").exists()
