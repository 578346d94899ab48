from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.base.errors import TrainerError
from trainer.columns import blocks, build, rows
from trainer.columns.build import open_columns
from trainer.columns.store import Columns, facts
from trainer.contract.read import read_contract


def columns_of(mart: Any, folder: Path, **write: Any) -> Columns:
    return open_columns(read_contract(mart.write(folder, **write)))


def test_columns_hold_the_marts_values(toy: Any, tmp_path: Path) -> None:
    mart = toy(500)
    columns = columns_of(mart, tmp_path / "marts", shuffle=3)
    at = {event: k for k, event in enumerate(mart.rows["event_id"])}
    order = [at[e] for e in columns.event_ids(np.arange(500)).to_pylist()]
    assert order == sorted(range(500), key=lambda k: (mart.rows["event_at"][k], mart.rows["event_id"][k]))
    assert columns.label_N.tolist() == [mart.rows["label"][k] for k in order]
    for name in ("user_id", "item_id", "device"):
        values = [None, *columns.dictionaries[name]]
        assert [values[c] for c in columns.codes_NC[:, columns.code_names.index(name)]] == [
            mart.rows[name][k] for k in order
        ]
    for position, name in enumerate(("ctx_ids.city", "ctx_ids.hour")):
        values = [None, *columns.dictionaries[name]]
        expected = [ids and ids[position] for ids in (mart.rows["ctx_ids"][k] for k in order)]
        assert [values[c] for c in columns.codes_NC[:, columns.code_names.index(name)]] == expected
    for position, name in ((-1, "item_rate"), (1, "scene_counts.search"), (0, "ctx_dense.price")):
        source = [mart.rows[name.split(".")[0]][k] for k in order]
        expected = [v if v is None or position < 0 else v[position] for v in source]
        expected = np.array([np.nan if v is None else v for v in expected], np.float32)
        np.testing.assert_array_equal(columns.dense_ND[:, columns.dense_names.index(name)], expected)


def test_order_of_rows_and_number_of_files_dont_matter(toy: Any, tmp_path: Path) -> None:
    one = columns_of(toy(500), tmp_path / "a")
    other = columns_of(toy(500), tmp_path / "b", shuffle=5, files=3)
    assert one.folder != other.folder
    assert one.content_hash == other.content_hash
    for name in ("dense_ND", "codes_NC", "scene_N", "label_N", "split_N", "level_NG", "event_at_N"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes()
    assert one.event_ids(np.arange(500)).equals(other.event_ids(np.arange(500)))


def test_days_read_together_are_the_same_bytes_as_one_by_one(
    rich: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mart = rich(700)
    folders = []
    for size in (1, 60_000, 1 << 30):
        monkeypatch.setattr(blocks, "_BYTES", size)
        monkeypatch.setenv("FIRST_IMPRESSION_CACHE", str(tmp_path / f"cache-{size}"))
        folders.append(columns_of(mart, tmp_path / "marts", files=2).folder)
    names = sorted(path.name for path in folders[0].iterdir())
    assert "history.text_id.codes" in names
    for folder in folders[1:]:
        assert [name for name in names if (folder / name).read_bytes() != (folders[0] / name).read_bytes()] == []


def test_other_values_have_another_content_hash(toy: Any, tmp_path: Path) -> None:
    one, changed = toy(300), toy(300)
    changed.rows["user_count"][7] += 1
    assert columns_of(one, tmp_path / "a").content_hash != columns_of(changed, tmp_path / "b").content_hash


def test_built_once(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marts = toy(300).write(tmp_path / "marts")
    open_columns(read_contract(marts))
    monkeypatch.setattr(build, "_build", lambda *_: pytest.fail("built twice"))
    assert len(open_columns(read_contract(marts))) == 300


def test_a_build_that_fails_leaves_nothing(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contract = read_contract(toy(300).write(tmp_path / "marts"))
    with monkeypatch.context() as broken:
        broken.setattr(rows, "encode", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            open_columns(contract)
    assert list((tmp_path / "cache" / "columns").iterdir()) == []
    assert len(open_columns(contract)) == 300


def test_numbers_that_are_none_are_missing(toy: Any, tmp_path: Path) -> None:
    mart = toy(300)
    mart.rows["item_rate"][:3] = [float("nan"), float("inf"), None]
    columns = columns_of(mart, tmp_path / "marts")
    first = [columns.event_ids(np.arange(300)).to_pylist().index(e) for e in mart.rows["event_id"][:3]]
    assert np.isnan(columns.dense_ND[first, columns.dense_names.index("item_rate")]).all()
    assert not np.isinf(columns.dense_ND).any()


def test_excluded_rows_are_in_no_split(toy: Any, tmp_path: Path) -> None:
    """A cold protocol keeps rows from all three splits; nothing fitted or measured may see them."""
    mart = toy(300)
    was = columns_of(toy(300), tmp_path / "whole")
    excluded = set(mart.rows["event_id"][5:300:7])
    for k, event in enumerate(mart.rows["event_id"]):
        if event in excluded:
            mart.rows["split"][k] = "excluded"
    columns = columns_of(mart, tmp_path / "marts")
    ids = columns.event_ids(np.arange(300)).to_pylist()
    found = facts(columns)
    for split in ("train", "val", "test"):
        rows = columns.rows(split)
        assert {ids[k] for k in rows} == {ids[k] for k in was.rows(split)} - excluded
        assert found[split]["rows"] == len(rows)
    assert set(found) == {"train", "val", "test"}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("label", 7, "Column label: 7 in event_date=2026-01-01; expected 0 or 1"),
        ("label", None, "Column label: nan"),
        ("scene", "mall", "Column scene: 'mall' .* expected one of home, search, video"),
        ("scene", None, "Column scene is NULL in 1 rows"),
        ("split", "holdout", "Column split: 'holdout'"),
        ("user_level", "cold", "Column user_level: 'cold' .* zero, few, warm"),
        ("event_id", None, "Column event_id is NULL"),
        ("event_at", "twice", "event_id e.* occurs twice"),
        ("ctx_ids", ["only one"], "Column ctx_ids: a list of 1 elements .* expected 2"),
        ("scene_counts", [1.0] * 4, "Column scene_counts: a list of 4 elements .* expected 3"),
    ],
)
def test_values_the_contract_excludes_are_named(toy: Any, tmp_path: Path, name: str, value: Any, message: str) -> None:
    mart = toy(300)
    if value == "twice":
        for column in mart.rows.values():
            column[1] = column[0]
    else:
        mart.rows[name][0] = value
    with pytest.raises(TrainerError, match=message):
        columns_of(mart, tmp_path / "marts")


def test_the_day_of_a_wrong_value_is_named(toy: Any, tmp_path: Path) -> None:
    """All days are read together here; the last one's is at fault."""
    mart = toy(300)
    mart.rows["scene"][-1] = "mall"
    with pytest.raises(TrainerError, match=r"'mall' in event_date=2026-01-12; expected"):
        columns_of(mart, tmp_path / "marts")


def test_the_event_that_occurs_twice_is_named(toy: Any, tmp_path: Path) -> None:
    """Neither the first of its day nor the last."""
    mart = toy(300)
    for column in mart.rows.values():
        column[11] = column[10]
    with pytest.raises(
        TrainerError, match=f"event_id {mart.rows['event_id'][10]} occurs twice in event_date=2026-01-01"
    ):
        columns_of(mart, tmp_path / "marts")


def test_a_level_may_be_null(toy: Any, tmp_path: Path) -> None:
    mart = toy(300).set("item_level", [None] * 300)
    assert set(columns_of(mart, tmp_path / "marts").level_NG[:, 1]) == {-1}


def test_facts(toy: Any, tmp_path: Path) -> None:
    mart = toy(1000)
    found = facts(columns_of(mart, tmp_path / "marts"))
    in_test = mart.split("test")
    assert found["test"]["rows"] == in_test.sum()
    assert found["test"]["positive_rate"] == pytest.approx(np.array(mart.rows["label"])[in_test].mean())
    assert found["test"]["users"] == len(set(np.array(mart.rows["user_id"])[in_test]))
    assert found["train"]["user_levels"]["zero"] == 0
    assert sum(found["test"]["user_levels"].values()) == pytest.approx(1)
    first = min(t for t, k in zip(mart.rows["event_at"], in_test, strict=True) if k)
    assert found["test"]["first"] == first.isoformat()
