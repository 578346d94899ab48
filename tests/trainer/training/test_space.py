"""A space made from the log, as stages read it: that of the same train rows, as it is, and worth something."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embeddings import VectorStore, read_texts
from embeddings.cooccurrence import build_space
from embeddings.occurrences import read_occurrences
from tests.trainer.toy_log import PER_TOPIC, TOPICS, make_log, write_log
from tests.trainer.toys import Mart
from trainer.base.errors import TrainerError
from trainer.columns.build import open_columns
from trainer.config import Stage
from trainer.contract.read import read_contract
from trainer.inputs.vectors import fingerprint_of
from trainer.run.directory import evaluate_run, fit_run
from trainer.training.fit import fit
from trainer.training.placebo import as_placebo, seen_by

COUNTED = ["title_text_id", "item_entities", "user_entities"]


def made(marts: Path, root: Path) -> Path:
    return Path(build_space(read_texts(marts), read_occurrences(marts), root, dim=12).store)


@pytest.fixture
def rung(stage: Any) -> Any:
    """`rung(seed=2, epochs=1)`: the stage made small, with the encoder of its file."""

    def make(seed: int = 1, **replaced: Any) -> Stage:
        one = stage("12_entity_match", seed, **replaced)
        texts = one.inputs.texts.model_copy(update={"encoder": "cooccurrence"})
        return one.model_copy(update={"inputs": one.inputs.model_copy(update={"texts": texts})})

    return make


def test_trainer_and_build_count_alike(rung: Any, tmp_path: Path) -> None:
    marts = write_log(make_log(700), tmp_path / "marts", files=2)
    columns = open_columns(read_contract(marts))
    expected = read_occurrences(marts).fingerprint
    rows = columns.rows("train")
    assert fingerprint_of(columns, COUNTED, rows) == expected
    assert fingerprint_of(seen_by(as_placebo(rung()), columns), COUNTED, rows) == expected
    assert fingerprint_of(columns, COUNTED, rows[1:]) != expected


def test_of_two_logs_each_finds_its_own_and_takes_it_as_it_is(rung: Any, tmp_path: Path) -> None:
    root, stores = tmp_path / "v", {}
    for seed in (1, 2):
        stores[seed] = made(write_log(make_log(700, seed), tmp_path / f"marts{seed}"), root)
    for seed, store in stores.items():
        contract = read_contract(tmp_path / f"marts{seed}")
        fitted, _ = fit(rung(epochs=1, min_steps=4), contract, open_columns(contract), root)
        space = fitted.inputs.texts
        assert space.store == store.name and space.coverage == 1
        ids = VectorStore.open(store).text_ids()
        np.testing.assert_array_equal(
            space.table(ids, "test", root)[1:, :-1], VectorStore.open(store).load(ids)[0][:, :8]
        )


def test_a_space_of_other_rows_is_refused(rung: Any, tmp_path: Path) -> None:
    made(write_log(make_log(700, 1), tmp_path / "marts"), tmp_path / "v")
    rebuilt = make_log(700, 1)
    k = int(np.flatnonzero(rebuilt.split("train"))[0])
    rebuilt.rows["split"][k] = "val"
    marts = write_log(rebuilt, tmp_path / "rebuilt")
    with pytest.raises(TrainerError, match=r"made from other train rows.*embeddings build --marts .*rebuilt --encoder"):
        fit_run(rung(epochs=1, min_steps=4), marts, tmp_path / "run", vectors=tmp_path / "v")


def test_a_space_without_whole_texts_is_no_fallback(rung: Any, stage: Any, tmp_path: Path) -> None:
    marts = write_log(make_log(700), tmp_path / "marts")
    made(marts, tmp_path / "v")
    texts = rung().inputs.texts
    fallback = stage("06_llm_fallback", epochs=1, min_steps=4)
    inputs = fallback.inputs.model_copy(update={"texts": texts, "llm": texts})
    with pytest.raises(TrainerError, match=r"A space made from the log has no vector for a user's"):
        fit_run(fallback.model_copy(update={"inputs": inputs}), marts, tmp_path / "run", vectors=tmp_path / "v")


def liked_by_topic(n: int = 4000) -> Mart:
    """A log in which users click what is of their topic, and each row has an item of its own."""
    mart = make_log(n)
    topic = {e: k // PER_TOPIC for k, e in enumerate(read_ids(mart))}
    rng = np.random.default_rng(5)
    item = rng.integers(0, TOPICS, n)
    entities = [e for e, _ in topic.items()]
    lists = [[entities[t * PER_TOPIC + e] for e in rng.choice(PER_TOPIC, 2, replace=False)] for t in item]
    user = [None if not e else topic[e[0]] for e in mart.rows["user_entities"]]
    same = np.array([u is not None and u == t for u, t in zip(user, item, strict=True)])
    mart.set("item_entities", lists).set("item_id", [f"i{k}" for k in range(n)])
    mart.set("title_text_id", [None] * n)
    mart.set("label", (rng.random(n) < np.where(same, 0.8, 0.2)).astype(int).tolist())
    return mart


def read_ids(mart: Mart) -> list[int]:
    from storage.text_ids import text_id

    return [text_id(side, text) for side, text in mart.texts if side == "entity"]  # type: ignore[attr-defined]


def test_what_the_match_finds_goes_when_texts_are_shuffled(rung: Any, stage: Any, tmp_path: Path) -> None:
    marts, root = write_log(liked_by_topic(), tmp_path / "marts"), tmp_path / "v"
    made(marts, root)
    stages: dict[str, Stage] = {"match": rung(), "shuffled": as_placebo(rung()), "without": stage("02_mmoe")}
    auc = {}
    for name, one in stages.items():
        fit_run(one, marts, tmp_path / name, vectors=root)
        auc[name] = json.loads((tmp_path / name / "metrics.json").read_text())["splits"]["test"]["auc"]
    assert auc["match"] > auc["without"] + 0.1 and auc["match"] > auc["shuffled"] + 0.08, auc
    assert evaluate_run(tmp_path / "match")[1] is True
