from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from embeddings import VectorStore, find_store
from tests.trainer.toys import as_of_before, numbered
from trainer.base.errors import TrainerError
from trainer.columns.build import open_columns
from trainer.columns.store import Columns
from trainer.config import TextsConfig
from trainer.contract.read import read_contract
from trainer.contract.schema import Contract
from trainer.inputs.batcher import Batcher
from trainer.inputs.features import UNSEEN, FittedInputs, fit_inputs
from trainer.inputs.text import distinct
from trainer.training.fit import _with_texts_and_history

TEXT_COLUMNS = ("title_text_id", "past_titles", "tags", "about_user")
TEXTS = TextsConfig(encoder="e5-small", dimensions=8, min_text_coverage=0.9)


def opened(mart: Any, folder: Path) -> tuple[Contract, Columns]:
    contract = read_contract(mart.write(folder))
    return contract, open_columns(contract)


def fitted(stage: Any, contract: Contract, columns: Columns, vectors: Path, **wanted: Any) -> FittedInputs:
    inputs = fit_inputs(columns, contract.inputs, columns.rows("train"), min_count=1, clip=8.0)
    one = stage("01_dnn")
    one = one.model_copy(update={"inputs": one.inputs.model_copy(update=wanted)})
    return _with_texts_and_history(inputs, one, contract, columns, vectors)


def in_order(mart: Any, columns: Columns, name: str) -> list[Any]:
    at = {event: k for k, event in enumerate(mart.rows["event_id"])}
    values = [mart.rows[name][at[e]] for e in columns.event_ids(np.arange(len(columns))).to_pylist()]
    return numbered(values) if name in TEXT_COLUMNS else values


def test_lists_are_the_marts(rich: Any, tmp_path: Path) -> None:
    mart = rich(600)
    _, columns = opened(mart, tmp_path / "marts")
    items, texts = [None, *columns.dictionaries["item_id"]], [None, *columns.text_ids]
    for lists, names, name in (
        (columns.history.items, items, "past_items"),
        (columns.history.texts, texts, "past_titles"),
        *((c.codes, texts, c.name) for c in columns.texts),
    ):
        begin, codes = lists.take(np.arange(600))
        found = [[names[c] for c in codes[a:b]] for a, b in pairwise(begin)]
        expected = [v if isinstance(v, list) else [] if v is None else [v] for v in in_order(mart, columns, name)]
        assert found == expected, name
    assert columns.history.longest == 6
    assert set(columns.history.labels.codes_M) == {-1, 0, 1}


def test_ids_as_text_are_the_same_ids(rich: Any, tmp_path: Path) -> None:
    """As marts of earlier versions have them."""
    (_, one), (_, other) = (
        opened(mart, tmp_path / str(k)) for k, mart in enumerate((rich(600), as_of_before(rich(600))))
    )
    assert one.content_hash == other.content_hash
    assert one.text_ids == other.text_ids


@pytest.mark.parametrize("name", ["title_text_id", "past_titles"])
def test_a_text_id_of_another_type_is_refused(name: str, rich: Any, tmp_path: Path) -> None:
    mart = rich(300)
    column = next(c for c in mart.columns if c["name"] == name)
    column["data_type"] = column["data_type"].replace("bigint", "double")
    mart.set(name, [None] * 300)
    with pytest.raises(TrainerError, match=f"Column {name} .* can't have the type double"):
        opened(mart, tmp_path)


def test_the_whitening_sees_train_texts_alone(rich: Any, stage: Any, vectors: Any, tmp_path: Path) -> None:
    root = vectors(tmp_path / "vectors")
    one, other = rich(), rich()
    for k in np.flatnonzero(~other.split("train")):
        other.rows["title_text_id"][k], other.rows["tags"][k] = "a77", ["a78", "a79"]
    spaces = [
        fitted(stage, *opened(mart, tmp_path / str(k)), root, texts=TEXTS).texts for k, mart in enumerate((one, other))
    ]
    assert spaces[0].whitening.list_hash_ == spaces[1].whitening.list_hash_
    np.testing.assert_array_equal(spaces[0].whitening.matrix_, spaces[1].whitening.matrix_)
    np.testing.assert_array_equal(spaces[0].means["tags"], spaces[1].means["tags"])


def test_text_vectors_are_pooled_and_centred(rich: Any, stage: Any, vectors: Any, tmp_path: Path) -> None:
    mart, root = rich(800), vectors(tmp_path / "vectors", leave_out=("g1", "t7"))
    contract, columns = opened(mart, tmp_path / "marts")
    inputs = fitted(stage, contract, columns, root, texts=TEXTS.model_copy(update={"min_text_coverage": 0.5}))
    rows = np.arange(len(columns))
    batch = Batcher(inputs, columns, root).batch(rows)
    store: VectorStore = find_store(root, "e5-small")
    for t, (name, _) in enumerate(inputs.text_columns):
        for k, value in enumerate(in_order(mart, columns, name)):
            ids = value if isinstance(value, list) else [] if value is None else [value]
            vectors_ND, found_N = store.load(ids)
            assert batch.text_there_BT[k, t] == found_N.any()
            expected = np.zeros(8)
            if found_N.any():
                expected = inputs.texts.whitening.transform(vectors_ND[found_N]).mean(0) - inputs.texts.means[name]
            np.testing.assert_allclose(batch.text_BTV[k, t].numpy(), expected, atol=1e-5)
    # The mean over train's distinct texts is what a text without a vector gets: zero.
    table = inputs.texts.table(columns.text_ids, "any", root)
    seen = sorted(
        {v for v, s in zip(mart.rows["title_text_id"], mart.rows["split"], strict=True) if v and s == "train"}
    )
    at = [1 + columns.text_ids.index(v) for v in numbered(seen)]
    np.testing.assert_allclose(
        table[at, :-1].sum(0) / table[at, -1].sum(), inputs.texts.means["title_text_id"], atol=1e-5
    )


def test_history_is_gathered_by_row(rich: Any, stage: Any, vectors: Any, tmp_path: Path) -> None:
    mart, root = rich(800), vectors(tmp_path / "vectors")
    contract, columns = opened(mart, tmp_path / "marts")
    inputs = fitted(stage, contract, columns, root, texts=TEXTS, history=4)
    encoder = Batcher(inputs, columns, root)
    batch = encoder.batch(np.arange(800))
    item = inputs.sizes.item_field
    known = {v: k for k, v in enumerate(inputs.codes[item].values, start=1 + inputs.codes[item].has_missing)}
    table = inputs.texts.table(columns.text_ids, "any", root)
    names = ("past_items", "past_titles", "past_labels")
    for k, past in enumerate(zip(*(in_order(mart, columns, n) for n in names), strict=True)):
        past = list(zip(*(p or [] for p in past), strict=True))[:4]
        there = [label is not None for _, _, label in past] + [False] * (4 - len(past))
        assert batch.past_there_BL[k].tolist() == there
        for at, (past_item, title, label) in enumerate(past):
            if label is None:
                continue
            assert batch.past_label_BL[k, at] == label
            row = batch.past_item_U[batch.past_item_BL[k, at]]
            assert row == inputs.offsets[item] + known.get(past_item, UNSEEN)
            found = batch.past_text_UV[batch.past_text_BL[k, at]]
            expected = table[1 + columns.text_ids.index(title), :-1] - inputs.texts.means["history"] if title else 0
            np.testing.assert_allclose(found, np.broadcast_to(expected, 8), atol=1e-6)


def test_levels_and_the_llm_of_cold_rows(rich: Any, stage: Any, vectors: Any, tmp_path: Path) -> None:
    mart, root = rich(800), vectors(vectors(tmp_path / "vectors"), "smollm2")
    mart.rows["item_level"][5] = None
    contract, columns = opened(mart, tmp_path / "marts")
    inputs = fitted(stage, contract, columns, root, texts=TEXTS, llm=TEXTS.model_copy(update={"encoder": "smollm2"}))
    batch = Batcher(inputs, columns, root).batch(np.arange(800))
    level = {"zero": 0, "few": 1, "warm": 2, None: 3}
    expected = [
        [level[u], level[i]]
        for u, i in zip(*(in_order(mart, columns, f"{g}_level") for g in ("user", "item")), strict=True)
    ]
    assert batch.level_BG.tolist() == expected
    cold = np.array([min(pair) < 2 for pair in expected])
    assert batch.llm_BTV[~cold].abs().sum() == batch.llm_there_BT[~cold].sum() == 0
    np.testing.assert_array_equal(batch.llm_there_BT[cold], batch.text_there_BT[cold])
    assert batch.llm_BTV[cold].abs().sum() > 0


def test_texts_of_cold_rows_alone_are_left_to_the_llm(rich: Any, stage: Any, vectors: Any, tmp_path: Path) -> None:
    mart = rich(900)
    next(c for c in mart.columns if c["name"] == "about_user")["meta"]["cold_only"] = True
    contract, columns = opened(mart, tmp_path / "marts")
    root = vectors(tmp_path / "vectors", leave_out=tuple(f"a{k}" for k in range(120)))  # none of the users' texts
    vectors(root, "smollm2")
    inputs = fitted(stage, contract, columns, root, texts=TEXTS, llm=TEXTS.model_copy(update={"encoder": "smollm2"}))
    batch = Batcher(inputs, columns, root).batch(np.arange(900))
    at = [name for name, _ in inputs.text_columns].index("about_user")
    assert not batch.text_there_BT[:, at].any() and not batch.text_BTV[:, at].any()
    cold_B = np.array([v is not None for v in in_order(mart, columns, "about_user")])
    assert cold_B.any() and np.array_equal(batch.llm_there_BT[:, at].numpy() > 0, cold_B)


def test_saved_and_loaded_make_the_same_batch(rich: Any, stage: Any, vectors: Any, tmp_path: Path) -> None:
    root = vectors(tmp_path / "vectors")
    contract, columns = opened(rich(500), tmp_path / "marts")
    inputs = fitted(stage, contract, columns, root, texts=TEXTS, history=4)
    (tmp_path / "saved").mkdir()
    inputs.save(tmp_path / "saved")
    loaded = FittedInputs.load(tmp_path / "saved")
    assert loaded.sizes == inputs.sizes
    rows = np.arange(300)
    one, other = (Batcher(i, columns, root).batch(rows) for i in (inputs, loaded))
    for name, tensor in vars(one).items():
        assert (tensor is None) == (getattr(other, name) is None)
        assert tensor is None or (tensor == getattr(other, name)).all(), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": "minilm"}, r"No vectors of 'minilm'.*embeddings build --marts .* --encoder minilm"),
        ({"dimensions": 500}, r"lower n_components \(--dim\).* the stage's `dimensions`"),
        ({}, r"Only .*% of the .* train texts have a vector .* Run `embeddings build"),
    ],
)
def test_vectors_that_are_not_there(
    change: Any, message: str, rich: Any, stage: Any, vectors: Any, tmp_path: Path
) -> None:
    root = vectors(tmp_path / "vectors", leave_out=() if change else tuple(f"t{k}" for k in range(30)))
    with pytest.raises(TrainerError, match=message):
        fitted(stage, *opened(rich(500), tmp_path / "marts"), root, texts=TEXTS.model_copy(update=change))


def test_a_mart_without_texts_or_histories_is_told_so(toy: Any, rich: Any, stage: Any, tmp_path: Path) -> None:
    none, silent = toy(300), rich(300)
    none.columns = [c for c in none.columns if c["meta"]["role"] != "text_id"]
    for name in ("title_text_id", "about_user"):
        silent.set(name, [None] * 300)
    silent.set("tags", [None, []] * 150)
    contract, columns = opened(none, tmp_path / "none")
    with pytest.raises(TrainerError, match=r"reads texts.* has none"):
        fitted(stage, contract, columns, tmp_path, texts=TEXTS)
    with pytest.raises(TrainerError, match=r"latest outcomes.* version 2"):
        fitted(stage, contract, columns, tmp_path, history=5)
    with pytest.raises(TrainerError, match="No train row has a text"):
        fitted(stage, *opened(silent, tmp_path / "silent"), tmp_path, texts=TEXTS)


def test_history_lists_must_agree(rich: Any, tmp_path: Path) -> None:
    for name, value, message in (
        ("past_labels", [1, 1, 0], "a list of 3 elements beside 1 in past_items"),
        ("past_labels", [7], "past_labels: 7 in .* expected 0 or 1"),
    ):
        mart = rich(300)
        k = next(k for k, past in enumerate(mart.rows["past_items"]) if past and len(past) == 1)
        mart.rows[name][k] = value
        with pytest.raises(TrainerError, match=message):
            opened(mart, tmp_path / message[:8])


def test_distinct() -> None:
    values = np.random.default_rng(0).integers(0, 50, (20, 3))
    values_U, positions = (tensor.numpy() for tensor in distinct(torch.from_numpy(values), 60))
    expected, inverse = np.unique(values, return_inverse=True)
    assert (values_U == expected).all() and (positions == inverse.reshape(20, 3)).all()
