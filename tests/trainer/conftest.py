"""The toy marts as fixtures, and the trainer's own stages made small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.trainer.toy_texts import write_texts, write_vectors
from tests.trainer.toys import add_delays, add_rates, make_rich, make_toy
from trainer.config import Stage, load_stage, parse_stage


@pytest.fixture(autouse=True)
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder with a cache of its own, so that no test sees the project's marts or manifest."""
    monkeypatch.setenv("FIRST_IMPRESSION_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def toy() -> Any:
    """`toy(n, seed, days)` makes a Mart."""
    return make_toy


@pytest.fixture(scope="session")
def rich() -> Any:
    """`rich(n, seed, length)` makes a Mart with texts and histories."""
    return make_rich


@pytest.fixture(scope="session")
def delays() -> Any:
    """`delays(mart, seed)` makes outcomes known late, and events happen at one instant."""
    return add_delays


@pytest.fixture(scope="session")
def rates() -> Any:
    """`rates(mart)` adds the two columns that the floor reads."""
    return add_rates


@pytest.fixture(scope="session")
def texts() -> Any:
    """`texts(marts)` writes the texts mart beside the rich toy."""
    return write_texts


@pytest.fixture(scope="session")
def vectors() -> Any:
    """`vectors(root, encoder, leave_out)` writes a store for the rich toy's texts."""
    return write_vectors


@pytest.fixture(scope="session")
def stage() -> Any:
    """`stage("01_dnn", seed=2, epochs=1)`: the trainer's own stage made small, keys replaced wherever they stand."""

    def make(name: str, seed: int = 1, **replaced: Any) -> Stage:
        raw = load_stage(name, seed).model_dump(exclude_none=True)
        for encoder in ("texts", "llm"):
            if encoder in raw["inputs"]:
                raw["inputs"][encoder]["dimensions"] = 8
                if raw["inputs"][encoder]["encoder"] == "cooccurrence":  # each log makes its own (test_space.py)
                    raw["inputs"][encoder]["encoder"] = "e5-small"
        raw["evaluation"]["resamples"] = 20
        if "training" in raw:
            raw["training"] |= {"epochs": 3, "batch_size": 128, "learning_rate": 0.005, "warmup_steps": 5}
            raw["training"] |= {"embedding_learning_rate": 0.01, "id_dropout": 0.1}
            small = {"embedding_dim": 8, "hidden": [32, 16], "dropout": 0.1, "embedding_dropout": 0.1}
            raw["model"] |= {key: value for key, value in small.items() if key in raw["model"]}
        else:
            raw["model"] |= {"max_iter": 60, "min_samples_leaf": 10, "learning_rate": 0.1, "max_leaf_nodes": 15}
        for key, value in replaced.items():
            section = next(s for s in (raw, *(v for v in raw.values() if isinstance(v, dict))) if key in s)
            section[key] = value
        return parse_stage(raw, "a test")

    return make
