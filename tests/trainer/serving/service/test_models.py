"""Trees, texts by two encoders and a history, served from a state, against `trainer score` of the mart's rows."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest

from embeddings import Recipe, Template, VectorStore
from tests.trainer.serving.service.conftest import Fitted
from trainer.run.directory import fit_run
from trainer.serving.online.features import Online
from trainer.serving.online.scorer import Scorer
from trainer.serving.online.state import State
from trainer.serving.online.stores import open_store
from trainer.serving.score import Model

WEEKS = 9 * 7 * 24 * 3600  # longer than the log
ENCODERS = {"texts": "e5-small", "llm": "smollm2"}
DIM = 12


@pytest.fixture(scope="module")
def full(fitted: Fitted, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A state of the whole log, which answers for any instant of it."""
    url = f"sqlite:{tmp_path_factory.mktemp('full')}/state.sqlite"
    store = open_store(url)
    State.create(store, dataclasses.replace(fitted.settings, tolerance=WEEKS))
    Online(store).apply(fitted.events)
    store.close()
    return url


@pytest.fixture(scope="module")
def mart(fitted: Fitted) -> pa.Table:
    files = [str(path) for path in fitted.contract.files]
    return ds.dataset(files).to_table().sort_by("event_id")


@pytest.fixture(scope="module")
def vectors(mart: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random vectors for nineteen in twenty of the mart's texts, by both encoders."""
    columns = ("item_title_text_id", "item_entity_text_ids", "user_text_id", "user_entity_text_ids")
    arrays = (mart[name].combine_chunks() for name in columns)
    ids = {one for array in arrays for one in (pc.list_flatten(array) if pa.types.is_list(array.type) else array)}
    distinct = sorted({one.as_py() for one in ids if one.is_valid})
    wanted = [text for k, text in enumerate(distinct) if k % 20]
    root = tmp_path_factory.mktemp("vectors")
    for seed, encoder in enumerate(ENCODERS.values()):
        recipe = Recipe(encoder, "r1", "mean", Template(), True, 64, "fp32")
        drawn_ND = np.random.default_rng(seed).normal(size=(len(wanted), DIM)).astype(np.float32)
        with VectorStore.writer(root, recipe, DIM) as store:
            store.append(wanted, 3 + drawn_ND)
    return root


@pytest.mark.parametrize("name", ["00_gbdt", "06_llm_fallback", "09_interest"])
def test_served_like_scored(
    name: str, fitted: Fitted, full: str, mart: pa.Table, vectors: Path, stage: Any, tmp_path: Path
) -> None:
    small = {} if name == "00_gbdt" else {"epochs": 1, "min_steps": 10}
    fit_run(stage(name, **small), fitted.contract.folder.parent, tmp_path / "run", vectors=vectors)
    model = Model.load(tmp_path / "run", vectors)
    expected = model.probabilities(mart.select(model.required.names), "the mart")
    scorer = Scorer(open_store(full), tmp_path / "run", vectors)
    events = fitted.events.sort_by("event_id").drop_columns(["known_at", "known_date", "label"])
    found = np.concatenate([scorer.score(events.slice(at, 100)).probability_B for at in range(0, len(events), 100)])
    assert len(set(found)) > 50
    logits = [np.log(p / (1 - p)) for p in (found, expected)]
    np.testing.assert_allclose(*logits, atol=2e-6, rtol=0)
    some = scorer.score(events.slice(0, 100)).features
    assert some.equals(mart.slice(0, 100).select(some.column_names).combine_chunks().cast(some.schema))
