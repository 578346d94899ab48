"""A model is one file: what the registry takes, what it refuses, and a rung that is added from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from trainer import models
from trainer.base.errors import TrainerError
from trainer.config import STAGES
from trainer.models import config_of, kinds, network_of

ROOT = Path(__file__).parents[3]
LINEAR = '''"""A user's own rung: one linear head per scene on the numbers and the embeddings."""

from __future__ import annotations

import torch
from torch import nn

from trainer.inputs.batch import Batch, Sizes
from trainer.models import keys
from trainer.models.layers import SceneHeads, embedding_table


class Config(keys.ModelConfig):
    """Embeddings and one linear head per scene."""

    embedding_dim: keys.EmbeddingDim


class Linear(nn.Module):
    def __init__(self, sizes: Sizes, config: Config):
        super().__init__()
        self.embeddings = embedding_table(sizes.n_embeddings, config.embedding_dim)
        self.heads = SceneHeads(sizes.n_fields * config.embedding_dim + sizes.n_dense, sizes.n_scenes)

    def forward(self, batch: Batch) -> torch.Tensor:
        e_BX = self.embeddings(batch.ids_BF).flatten(1)
        return self.heads(torch.cat([e_BX, batch.dense_BX], 1), batch.scene_B)
'''


def test_each_file_is_a_model_of_its_own() -> None:
    assert len(kinds()) == 14
    for kind in kinds():
        assert config_of(kind).__module__ == f"trainer.models.{kind}"
        assert config_of(kind).model_fields.keys() - {"kind"}, kind
        assert all(field.description for field in config_of(kind).model_fields.values()), kind
        if kind != "gbdt":
            assert network_of(kind).__module__ == f"trainer.models.{kind}"
    used = {yaml.safe_load(path.read_text())["model"]["kind"] for path in STAGES.glob("*.yaml")}
    assert used == set(kinds())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own").mkdir()
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path / "own")])
    yield tmp_path / "own"
    for name in [name for name in sys.modules if name.startswith("trainer.models.own_")]:
        del sys.modules[name]


def test_a_file_that_is_no_model_is_named(folder: Path) -> None:
    (folder / "own_empty.py").write_text("")
    with pytest.raises(TrainerError, match=r"own_empty\.py: expected a class Config"):
        config_of("own_empty")
    (folder / "own_two.py").write_text(LINEAR + "\n\nclass Another(Linear):\n    pass\n")
    assert list(config_of("own_two").model_fields) == ["kind", "embedding_dim"]
    with pytest.raises(TrainerError, match=r"own_two\.py: expected one public nn.Module, found 2"):
        network_of("own_two")
    (folder / "ple.py").write_text(LINEAR)
    with pytest.raises(TrainerError, match="Two models are named ple"):
        kinds()


@pytest.mark.parametrize("kind", ["keys", "layers", "os", "../dnn", "layers.basic", "__init__", ""])
def test_only_a_models_file_is_a_kind(kind: str) -> None:
    with pytest.raises(TrainerError, match=r"model\.kind is .*expected one of content_tower, dnn, entity_match, floor"):
        config_of(kind)


def test_a_rung_is_a_file_and_a_stage(toy: Callable[..., Any], tmp_path: Path) -> None:
    """Fitted, looked at and scored from the command line; without the folder the run is refused in words."""
    raw = yaml.safe_load((STAGES / "01_dnn.yaml").read_text())
    raw |= {"stage": "11_linear", "model": {"kind": "linear", "embedding_dim": 4}}
    raw["training"] |= {"epochs": 1, "min_steps": 1}
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "linear.py").write_text(LINEAR)
    (tmp_path / "11_linear.yaml").write_text(yaml.safe_dump(raw))
    marts = toy(600).write(tmp_path / "marts")

    def trainer(*words: object, own: bool = True) -> subprocess.CompletedProcess[str]:
        names = {"FIRST_IMPRESSION_MODELS": str(tmp_path / "models")} if own else {}
        return subprocess.run(
            [sys.executable, "-m", "trainer", *map(str, words)],
            env=os.environ | {"PYTHONPATH": str(ROOT)} | names,
            capture_output=True,
            text=True,
        )

    run, source = tmp_path / "run", next(marts.rglob("*.parquet"))
    done = trainer("fit", "--stage", tmp_path / "11_linear.yaml", "--marts", marts, "--run", run)
    assert done.returncode == 0, done.stderr
    assert json.loads((run / "metrics.json").read_text())["stage"] == "11_linear"
    score = ("score", "--run", run, "--input", source, "--output", tmp_path / "scores.parquet")
    done = trainer(*score)
    assert done.returncode == 0, done.stderr
    done = trainer(*score, "--force", own=False)
    assert done.returncode == 2
    assert "model.kind is 'linear'" in done.stderr and "FIRST_IMPRESSION_MODELS" in done.stderr
    (tmp_path / "11_linear.yaml").write_text(yaml.safe_dump(raw | {"model": {"kind": "linear", "embeding_dim": 4}}))
    done = trainer("fit", "--stage", tmp_path / "11_linear.yaml", "--marts", marts, "--run", tmp_path / "other")
    assert done.returncode == 2 and "unknown key model.embeding_dim (did you mean 'embedding_dim'?)" in done.stderr
