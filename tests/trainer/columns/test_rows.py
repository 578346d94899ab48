from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainer.base.errors import TrainerError
from trainer.columns.ragged import ListReader
from trainer.columns.rows import Advice, Part, as_damage_error, ordered, outcomes

ADVICE = Advice("do this about a value", "do this about a length", "do this about a NULL")


def part(**columns: Any) -> Part:
    """Two chunks, as a day of two files has; every list is of two elements."""
    table = pa.table(columns)
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    return Part(chunked, dict.fromkeys(columns, 2), "a day", ADVICE)


def day(folder: Path, *tables: dict[str, Any]) -> list[Path]:
    paths = [folder / f"part-{k}.parquet" for k in range(len(tables))]
    for path, columns in zip(paths, tables, strict=True):
        pq.write_table(pa.table(columns), path)
    return paths


def in_order(files: list[Path], columns: list[str]) -> tuple[pa.Table, np.ndarray]:
    table, order, ends = ordered([("a day", files)], columns, ListReader({}))
    assert ends.tolist() == [len(table)]
    return table, order


def test_numbers_are_finite_and_what_is_none_is_counted_apart_from_null() -> None:
    values = [1.5, None, np.nan, np.inf, -np.inf, -1e38, 1.1e38, 1e38]
    found, unusable = part(x=values).numbers("x", -1)
    np.testing.assert_array_equal(found, [1.5, np.nan, np.nan, np.nan, np.nan, -1e38, np.nan, 1e38])
    assert unusable == 4
    assert part(x=[2**53 + 1]).numbers("x", -1)[0].tolist() == [2.0**53], "a large count is rounded, not refused"


def test_a_position_of_a_list_is_a_column_of_its_own() -> None:
    one = part(x=[[1.0, 2.0], None, [np.nan, None], [-np.inf, 4.0]])
    for _ in range(2):  # the second time it is spread out already
        for position, expected, unusable in ((0, [1, np.nan, np.nan, np.nan], 2), (1, [2, np.nan, np.nan, 4], 0)):
            found = one.numbers("x", position)
            np.testing.assert_array_equal(found[0], expected)
            assert found[1] == unusable


def test_codes_go_on_from_the_days_before() -> None:
    index = {"b": 0}
    assert part(x=["a", "b", None, "a"]).encoded("x", -1, index).tolist() == [2, 1, 0, 2]
    lists = part(x=[["n", "c"], None, ["n", None], ["n", "b"]])
    second = lists.encoded("x", 1, index)
    assert (second.tolist(), second.dtype) == ([3, 0, 0, 1], np.int32)
    assert list(index) == ["b", "a", "c"], "the first elements are of another dictionary"
    assert lists.encoded("x", 0, {}).tolist() == [1, 0, 1, 1]


def test_a_list_of_another_length_is_named() -> None:
    with pytest.raises(TrainerError, match=r"x: a list of 3 .* in a day; expected 2, .* do this about a length"):
        part(x=[[1.0, 2.0], None, [1.0, 2.0, 3.0]]).numbers("x", 0)


def test_positions_in_what_is_known() -> None:
    known = ("zero", "few", "warm")
    assert part(x=["warm", "zero", "few"]).position("x", known).tolist() == [2, 0, 1]
    assert part(x=["warm", None]).position("x", known, null=7).tolist() == [2, 7]
    with pytest.raises(TrainerError, match=r"x is NULL in 2 rows of a day. do this about a NULL"):
        part(x=["warm", None, None]).position("x", known)
    with pytest.raises(TrainerError, match=r"x: 'fw' in a day; .* zero, few, warm .*'few'.* do this about a value"):
        part(x=["warm", None, "fw", "other"]).position("x", known, null=-1)


def test_labels_and_outcomes_are_0_or_1() -> None:
    assert part(x=[0, 1, 1]).label("x").tolist() == [0, 1, 1]
    for wrong in (2.0, 0.5, None):
        with pytest.raises(TrainerError, match=r"x: (2|0.5|nan) in a day; expected 0 or 1. do this about a NULL"):
            part(x=[0.0, wrong, 7.0]).label("x")
    found = outcomes(pa.array([1, None, 0]), "x", "a day")
    assert (found.tolist(), found.dtype) == ([1, -1, 0], np.int8)
    with pytest.raises(TrainerError, match=r"x: 2 in a day; expected 0 or 1. do this about a NULL"):
        outcomes(pa.array([1, None, 2, 3]), "x", "a day", ADVICE)


def test_a_day_is_in_the_order_of_time_then_id_whatever_its_files_hold(tmp_path: Path) -> None:
    """One file's times are in nanoseconds, which don't count, its ids of another type, a column of it all NULL."""
    eight = 1_767_254_400_000_000  # microseconds
    files = day(
        tmp_path,
        {
            "event_id": ["d", "c", "a"],
            "event_at": pa.array([eight + 1, eight, eight + 1], pa.timestamp("us", "Asia/Shanghai")),
            "x": [1.0, 2.0, 3.0],
            "y": [0, 0, 0],
        },
        {
            "event_id": pa.array(["e", "b"], pa.large_string()),
            "event_at": pa.array([1000 * eight, 1000 * eight + 999], pa.timestamp("ns", "Asia/Shanghai")),
            "x": pa.nulls(2),
        },
    )
    table, order = in_order(files, ["event_at", "event_id", "x"])
    assert table.to_pydict() == {
        "event_at": [eight] * 3 + [eight + 1] * 2,
        "event_id": ["b", "c", "e", "a", "d"],
        "x": [None, 2.0, None, 3.0, 1.0],
    }
    assert table.schema.field("event_id").type == pa.string()
    assert (order.tolist(), order.dtype) == ([4, 1, 3, 2, 0], np.int64)


def test_a_day_names_its_nulls_and_what_occurs_twice(tmp_path: Path) -> None:
    at = pa.array([1, 2, 3, 3, 3], pa.timestamp("us"))
    none = pa.nulls(5, pa.timestamp("us"))
    for columns, told in (
        ({"event_id": ["a", None, None, "c", "d"], "event_at": at}, "event_id is NULL in 2 rows of a day"),
        ({"event_id": ["a", "b", "c", "d", "e"], "event_at": none}, "event_at is NULL in 5 rows of a day"),
        ({"event_id": ["a", "b", "d", "c", "d"], "event_at": at}, "event_id d occurs twice in a day"),
        ({"event_id": ["d", "d"], "event_at": at[3:]}, "event_id d occurs twice in a day"),
        ({"event_id": ["d", "e", "d"], "event_at": [at[0], at[3], at[4]]}, "event_id d occurs twice in a day"),
    ):
        with pytest.raises(TrainerError, match=told):
            in_order(day(tmp_path, columns), ["event_at", "event_id"])
    single, order = in_order(day(tmp_path, {"event_id": ["a"], "event_at": at[:1]}), ["event_at", "event_id"])
    assert (single.num_rows, order.tolist()) == (1, [0])


def test_days_read_together_stay_apart(tmp_path: Path) -> None:
    """An id may occur on two days; the second day's times are before the first's, and one day has no rows."""
    (tmp_path / "b").mkdir()
    first = day(tmp_path, {"event_id": ["c", "a"], "event_at": pa.array([9, 8], pa.timestamp("us"))})
    none = pa.table({"event_id": pa.array([], pa.string()), "event_at": pa.array([], pa.timestamp("us"))})
    pq.write_table(none, tmp_path / "none.parquet")
    second = day(tmp_path / "b", {"event_id": ["b", "a"], "event_at": pa.array([1, 2], pa.timestamp("us"))})
    days = [("one", first), ("none", [tmp_path / "none.parquet"]), ("two", second)]
    table, order, ends = ordered(days, ["event_at", "event_id"], ListReader({}))
    assert table["event_id"].to_pylist() == ["a", "c", "b", "a"]
    assert (order.tolist(), ends.tolist()) == ([1, 0, 2, 3], [2, 2, 4])


def test_damage_is_told_and_the_disks_own_trouble_is_not_taken_for_it() -> None:
    for error in (OSError("no\n  footer"), pa.ArrowInvalid("no footer"), UnicodeDecodeError("ascii", b"", 0, 1, "no")):
        with (
            pytest.raises(TrainerError, match=r"a day can't be .* \(.*\bno\b.*\): it is damaged") as told,
            as_damage_error("a day"),
        ):
            raise error
        assert "\n" not in str(told.value)
    full = OSError(28, "No space left on device")
    with pytest.raises(OSError) as kept, as_damage_error("a day"):
        raise full
    assert kept.value is full
