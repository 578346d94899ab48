from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from trainer.base.errors import TrainerError
from trainer.columns import ragged
from trainer.columns.ragged import ListReader, Lists, ListWriter, encode, encode_days, open_lists
from trainer.columns.tensors import ListTensors

ROWS = [["b", None], None, [], ["a", "b", "c"], ["c"]]


def read(folder: Path, order: np.ndarray) -> tuple[np.ndarray, pa.Array]:
    """Column x of all files of a folder."""
    reader = ListReader({"x": None})
    for path in sorted(folder.iterdir()):
        with pq.ParquetFile(path) as parquet:
            reader.add(parquet, path)
    return reader.ordered("x", order, "a day")


@pytest.mark.parametrize("held", [1, 3, 100])
def test_read_in_any_order_from_any_number_of_files(held: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ragged, "_READ", held)
    for part, rows in enumerate((ROWS[:2], ROWS[2:])):
        pq.write_table(pa.table({"x": pa.array(rows, pa.list_(pa.string()))}), tmp_path / f"{part}.parquet")
    order = np.array([3, 0, 4, 1, 2])
    lengths_B, elements_K = read(tmp_path, order)
    assert lengths_B.tolist() == [3, 2, 1, 0, 0]
    assert elements_K.to_pylist() == ["a", "b", "c", "b", None, "c"]
    index: dict[str, int] = {"z": 0}
    # Codes follow the rows' order, not the files', so another split into files gives the same ones.
    assert encode(elements_K, index).tolist() == [2, 3, 4, 3, 0, 4]
    assert list(index) == ["z", "a", "b", "c"]


@pytest.mark.parametrize("kind", [pa.string(), pa.int32()])
def test_a_plain_value_is_a_list_of_one(tmp_path: Path, kind: pa.DataType) -> None:
    values = [1, None, 2] if kind == pa.int32() else ["1", None, "2"]
    pq.write_table(pa.table({"x": pa.array(values, kind)}), tmp_path / "0.parquet")
    lengths_B, elements_K = read(tmp_path, np.array([2, 1, 0]))
    assert lengths_B.tolist() == [1, 0, 1]
    assert elements_K.to_pylist() == [values[2], values[0]]


def test_several_days_at_once_get_the_codes_of_one_after_the_other() -> None:
    """Three columns share an index, which begins with some ids; days and columns may be empty."""
    draw = np.random.default_rng(7)
    for _ in range(30):
        days = [[draw.integers(0, 9, draw.integers(0, 6)) for _ in range(3)] for _ in range(5)]
        names = [[pa.array([None if k == 8 else f"i{k}" for k in one], pa.string()) for one in day] for day in days]
        expected_index, index = {"i3": 0}, {"i3": 0}
        expected = [[encode(one, expected_index) for one in day] for day in names]
        columns = [
            (pa.concat_arrays([day[c] for day in names]), np.cumsum([len(day[c]) for day in names])) for c in range(3)
        ]
        found = encode_days(columns, index)
        assert list(index.items()) == list(expected_index.items())
        for c in range(3):
            assert found[c].tolist() == np.concatenate([day[c] for day in expected]).tolist()


def test_a_file_that_lacks_rows_of_a_column_is_damaged(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": pa.array(ROWS, pa.list_(pa.string()))}), tmp_path / "0.parquet")
    with pytest.raises(TrainerError, match="Column x: 5 rows in a day, 4 in other columns: a file is damaged"):
        read(tmp_path, np.arange(4))


def test_take_and_padded(tmp_path: Path) -> None:
    writer = ListWriter(tmp_path, "x", np.int32)
    writer.append(np.array([2, 0]), np.array([5, 6]))
    writer.append(np.array([3]), np.array([7, 8, 9]))
    writer.close()
    lists = open_lists(tmp_path, "x", np.int32)
    begin, codes = lists.take(np.array([2, 1, 0, 2]))
    assert begin.tolist() == [0, 3, 3, 5, 8]
    assert codes.tolist() == [7, 8, 9, 5, 6, 7, 8, 9]
    tensors = ListTensors(torch.tensor(lists.offsets), torch.tensor(lists.codes_M))
    begin_B, codes_K = tensors.take(torch.tensor([2, 1, 0, 2]), 8)
    assert begin_B.tolist() == begin[:-1].tolist()
    assert codes_K.tolist() == codes.tolist()
    assert tensors.padded(torch.tensor([0, 2, 1]), 2, 0).tolist() == [[5, 6], [7, 8], [0, 0]]
    assert tensors.padded(torch.tensor([0, 2, 1]), 3, -1).tolist() == [[5, 6, -1], [7, 8, 9], [-1, -1, -1]]


def test_no_elements_at_all(tmp_path: Path) -> None:
    writer = ListWriter(tmp_path, "x", np.int8)
    writer.append(np.array([0, 0]), np.empty(0))
    writer.close()
    lists = open_lists(tmp_path, "x", np.int8)
    assert lists.take(np.array([1, 0]))[0].tolist() == [0, 0, 0]
    tensors = ListTensors(torch.tensor(lists.offsets), torch.tensor(lists.codes_M))
    assert (tensors.padded(torch.tensor([0, 1]), 3, -1) == -1).all()
    assert tensors.take(torch.tensor([1, 0]), 0)[1].tolist() == []
    assert isinstance(lists, Lists)
