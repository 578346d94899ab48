from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainer.base.errors import TrainerError
from trainer.columns.build import open_columns
from trainer.columns.store import Columns
from trainer.contract.read import read_contract
from trainer.contract.schema import Contract
from trainer.inputs import features
from trainer.inputs.batcher import Batcher
from trainer.inputs.features import UNSEEN, FittedInputs, fit_inputs


def opened(mart: Any, folder: Path) -> tuple[Contract, Columns]:
    contract = read_contract(mart.write(folder))
    return contract, open_columns(contract)


def fitted(contract: Contract, columns: Columns, **options: Any) -> FittedInputs:
    return fit_inputs(columns, contract.inputs, columns.rows("train"), **{"min_count": 1, "clip": 8.0} | options)


def test_vocabulary_and_scaling_come_from_train_alone(toy: Any, tmp_path: Path) -> None:
    mart = toy()
    one = fitted(*opened(mart, tmp_path / "a"))
    held_out = ~mart.split("train")
    for k in np.flatnonzero(held_out):
        mart.rows["user_id"][k] = f"new{k}"
        mart.rows["device"][k] = "new"
        mart.rows["item_rate"][k] = 1e6
        mart.rows["user_count"][k] = 10**6
        mart.rows["ctx_ids"][k] = None
    assert fitted(*opened(mart, tmp_path / "b")) == one


def test_dense_is_transformed_and_standardised(toy: Any, tmp_path: Path) -> None:
    contract, columns = opened(toy(), tmp_path / "marts")
    inputs = fitted(contract, columns)
    train = columns.rows("train")
    x_BX = Batcher(inputs, columns).batch(train).dense_BX.numpy()
    names = [d.name for d in inputs.dense]
    raw = columns.dense_ND[train][:, [columns.dense_names.index(n) for n in names]]
    for d, one in enumerate(inputs.dense):
        source = np.log1p(raw[:, d]) if one.transform == "log1p" else raw[:, d]
        expected = (source - np.nanmean(source)) / np.nanstd(source)
        present = ~np.isnan(expected)
        np.testing.assert_allclose(x_BX[present, d], expected[present], atol=2e-5)
        assert (x_BX[~present, d] == 0).all()
    flagged = [d for d, one in enumerate(inputs.dense) if one.has_missing]
    assert [names[d] for d in flagged] == [
        "item_rate",
        "scene_counts.home",
        "scene_counts.search",
        "scene_counts.video",
        "ctx_dense.price",
    ]
    np.testing.assert_array_equal(x_BX[:, len(names) :], np.isnan(raw[:, flagged]))
    assert x_BX.shape[1] == inputs.sizes.n_dense


def test_means_and_scales_dont_depend_on_the_number_of_threads(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract, columns = opened(toy(), tmp_path / "marts")
    monkeypatch.setattr(features, "_BLOCK", 7)

    def with_threads(threads: int) -> FittedInputs:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            inputs = fitted(contract, columns)
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(before)
        return inputs

    assert with_threads(1) == with_threads(2) == with_threads(5)


def test_constant_and_empty_columns_are_silent(toy: Any, tmp_path: Path) -> None:
    mart = toy()
    held_out = ~mart.split("train")
    mart.set("user_count", [9 if h else 3 for h in held_out])
    mart.set("item_rate", [4.0 if h else None for h in held_out])
    contract, columns = opened(mart, tmp_path / "marts")
    inputs = fitted(contract, columns)
    x_BX = Batcher(inputs, columns).batch(columns.rows("test")).dense_BX.numpy()
    names = [d.name for d in inputs.dense]
    assert (x_BX[:, [names.index("user_count"), names.index("item_rate")]] == 0).all()
    assert np.isfinite(x_BX).all()


def test_extremes_are_clipped(toy: Any, tmp_path: Path) -> None:
    mart = toy()
    for k in np.flatnonzero(mart.split("test")):
        mart.rows["item_rate"][k] = -1e9
    contract, columns = opened(mart, tmp_path / "marts")
    inputs = fitted(contract, columns, clip=3.0)
    assert Batcher(inputs, columns).batch(columns.rows("test")).dense_BX.min() == -3


def test_ids_unseen_in_train_and_rare_ones_share_the_unseen_row(toy: Any, tmp_path: Path) -> None:
    mart = toy()
    train = np.flatnonzero(mart.split("train"))
    mart.rows["user_id"][train[0]] = "once"
    contract, columns = opened(mart, tmp_path / "marts")
    inputs = fitted(contract, columns, min_count=2)
    codes_BF = Batcher(inputs, columns).codes(np.arange(len(columns)))
    users = np.array([columns.dictionaries["user_id"][c - 1] for c in columns.codes_of("user")])
    known = {u for u in users[columns.rows("train")] if u != "once"}
    np.testing.assert_array_equal(codes_BF[:, 0] == UNSEEN, [u not in known for u in users])
    assert (codes_BF[columns.rows("test"), 0] == UNSEEN).any()
    assert inputs.codes[0].values == tuple(sorted(known))
    assert inputs.codes[0].has_rest


def test_null_has_an_index_of_its_own_where_train_has_nulls(toy: Any, tmp_path: Path) -> None:
    mart = toy()
    mart.rows["device"][int(np.flatnonzero(mart.split("test"))[0])] = None
    contract, columns = opened(mart, tmp_path / "marts")
    inputs = fitted(contract, columns)
    codes_BF = Batcher(inputs, columns).codes(np.arange(len(columns)))
    by_name = {c.name: (f, c) for f, c in enumerate(inputs.codes)}
    f, city = by_name["ctx_ids.city"]
    null = columns.codes_NC[:, columns.code_names.index("ctx_ids.city")] == 0
    assert city.has_missing and null.any()
    np.testing.assert_array_equal(codes_BF[:, f] == 1, null)
    f, device = by_name["device"]
    null = columns.codes_NC[:, columns.code_names.index("device")] == 0
    assert not device.has_missing and null.sum() == 1
    assert (codes_BF[null, f] == UNSEEN).all()


def test_fields_dont_share_embedding_rows(toy: Any, tmp_path: Path) -> None:
    contract, columns = opened(toy(), tmp_path / "marts")
    inputs = fitted(contract, columns)
    ids_BF = Batcher(inputs, columns).batch(np.arange(len(columns))).ids_BF.numpy()
    assert ids_BF.max() < inputs.sizes.n_embeddings
    rows = [set(ids_BF[:, f]) for f in range(ids_BF.shape[1])]
    assert sum(len(r) for r in rows) == len(set().union(*rows))


def test_the_most_frequent_values_are_kept(toy: Any, tmp_path: Path) -> None:
    mart = toy()
    contract, columns = opened(mart, tmp_path / "marts")
    inputs = fitted(contract, columns, max_values=5, ids=False)
    assert not any(c.is_id for c in inputs.codes)
    hour = next(c for c in inputs.codes if c.name == "ctx_ids.hour")
    in_train = [
        ids[1] for ids, t in zip(mart.rows["ctx_ids"], mart.split("train"), strict=True) if t and ids and ids[1]
    ]
    by_count = sorted(set(in_train), key=lambda v: (-in_train.count(v), v))
    assert set(hour.values) == set(by_count[:5])
    assert hour.has_rest


def test_a_scene_without_train_rows_borrows_the_most_frequent(toy: Any, tmp_path: Path) -> None:
    mart = toy()
    mart.where(~(mart.split("train") & (np.array(mart.rows["scene"]) == "video")))
    contract, columns = opened(mart, tmp_path / "marts")
    inputs = fitted(contract, columns)
    assert inputs.stand_ins == {"video": "home"}
    scene_B = Batcher(inputs, columns).batch(np.arange(len(columns))).scene_B.numpy()
    assert (scene_B[columns.scene_N == 2] == 0).all()
    assert (scene_B[columns.scene_N == 1] == 1).all()


def test_saved_and_loaded_are_equal(toy: Any, tmp_path: Path) -> None:
    mart = toy()
    mart.rows["device"][0] = "line\nbreak, comma"
    inputs = fitted(*opened(mart, tmp_path / "marts"))
    (tmp_path / "saved").mkdir()
    inputs.save(tmp_path / "saved")
    assert FittedInputs.load(tmp_path / "saved") == inputs


def test_no_train_rows_is_an_error(toy: Any, tmp_path: Path) -> None:
    mart = toy()
    contract, columns = opened(mart.where(~mart.split("train")), tmp_path / "marts")
    with pytest.raises(TrainerError, match="no train rows"):
        fitted(contract, columns)
