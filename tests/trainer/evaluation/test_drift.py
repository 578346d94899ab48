from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.columns.build import open_columns
from trainer.contract.read import read_contract
from trainer.evaluation.drift import drift, psi, read_drift, write_drift


def test_psi_by_hand() -> None:
    """Tenths of train, of which test has the upper half only; a tenth of test is NULL."""
    train = np.arange(100, dtype=np.float32)
    test = np.r_[np.full(10, np.nan), np.arange(50, 95)].astype(np.float32)
    share = {"upper": 10 / 55, "last": 5 / 55, "null": 10 / 55, "lower": 1e-4}
    expected = sum(
        n * (share[k] - old) * np.log(share[k] / old)
        for k, old, n in (("upper", 0.1, 4), ("last", 0.1, 1), ("null", 1e-4, 1), ("lower", 0.1, 5))
    )
    assert psi(train, test) == pytest.approx(expected)
    assert psi(train, train[::-1]) == 0
    assert psi(test, test) == 0


@pytest.mark.parametrize("train", [[3.0, 3.0, 3.0], [np.nan, np.nan], [0.0] * 9 + [1.0]])
def test_psi_of_numbers_without_ten_tenths(train: list[float]) -> None:
    one = np.array(train)
    assert psi(one, one) == 0
    assert psi(one, np.full(4, 7.0)) > 1


def test_an_input_that_moves_comes_first(toy: Any, tmp_path: Path) -> None:
    mart = toy(2000)
    test = mart.split("test")
    counts = [c + 40 if t else c for c, t in zip(mart.rows["user_count"], test, strict=True)]
    rates = [None if t else r for r, t in zip(mart.rows["item_rate"], test, strict=True)]
    columns = open_columns(read_contract(mart.set("user_count", counts).set("item_rate", rates).write(tmp_path / "m")))
    found = drift(columns)
    assert {row["name"] for row in found} == set(columns.dense_names)
    assert {row["name"] for row in found[:2]} == {"user_count", "item_rate"}
    moved = {row["name"]: row for row in found}
    assert moved["user_count"]["test_median"] == pytest.approx(moved["user_count"]["train_median"] + 40, abs=1)
    others = {"psi": 0, "psi_in_train": 0, "train_median": 0, "train_null": 0}
    assert moved["item_rate"] | others == others | {
        "name": "item_rate",
        "test_median": None,
        "test_null": 1.0,
        "train_rows": int(mart.split("train").sum()),
        "test_rows": int(test.sum()),
    }
    assert all(row["psi"] < 0.2 for row in found[2:]), "what doesn't move has a small one"
    assert all(row["psi_in_train"] < 0.2 for row in found), "within train nothing moves"
    write_drift(tmp_path, found)
    assert read_drift(tmp_path) == found
    few = drift(columns, rows=100)
    assert {row["train_rows"] for row in few} == {row["test_rows"] for row in few} == {100}
    assert {row["name"] for row in few[:2]} == {"user_count", "item_rate"}


def test_what_moves_by_itself_says_so(toy: Any, tmp_path: Path) -> None:
    mart = toy(2000)
    grows = [k for k, _ in enumerate(mart.rows["user_count"])]  # rows lie in the order of time
    found = drift(open_columns(read_contract(mart.set("user_count", grows).write(tmp_path / "marts"))))
    assert found[0]["name"] == "user_count"
    assert found[0]["psi"] > 5 and found[0]["psi_in_train"] > 5


def test_no_test_rows_no_drift(toy: Any, tmp_path: Path) -> None:
    mart = toy(600)
    columns = open_columns(read_contract(mart.where(~mart.split("test")).write(tmp_path / "marts")))
    assert drift(columns) == []
    write_drift(tmp_path, [])
    assert read_drift(tmp_path) == []
    assert read_drift(tmp_path / "marts") == []
