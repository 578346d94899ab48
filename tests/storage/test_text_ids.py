"""Ids of texts: integers, and the texts that stood for them in earlier versions."""

import hashlib

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from storage.text_ids import as_ids, from_arrow, text_id

# Hex digits and the integer of their bits, written down rather than computed.
PAIRS = [
    ("0000000000000000", 0),
    ("0000000000000001", 1),
    ("7fffffffffffffff", 2**63 - 1),
    ("8000000000000000", -(2**63)),
    ("ffffffffffffffff", -1),
    ("1234567890123456", 1311768467284833366),
]


def test_hex_digits_are_the_bits_of_the_integer() -> None:
    digits, numbers = zip(*PAIRS, strict=True)
    assert as_ids(digits).tolist() == as_ids(numbers).tolist() == list(numbers)
    assert as_ids([text.encode() for text in digits]).tolist() == list(numbers)
    assert as_ids(np.array(digits)).tolist() == list(numbers)
    assert as_ids([]).dtype == as_ids(numbers).dtype == np.int64


@pytest.mark.parametrize("name", ["t3", "unknown", "ü", "FFFFFFFFFFFFFFFF", "000000000000000", "0" * 32])
def test_another_text_counts_as_its_hash(name: str) -> None:
    expected = int.from_bytes(hashlib.md5(name.encode()).digest()[:8], "big", signed=True)
    assert as_ids([name]).tolist() == [expected]


def test_the_warehouse_hashes_side_and_text() -> None:
    digits = hashlib.md5("title:咖啡".encode()).hexdigest()[:16]
    assert [text_id("title", "咖啡")] == as_ids([digits]).tolist()
    sql = f"select cast(cast(unhex('{digits}') as bit) as bigint)"  # macros/texts.sql, text_hash
    assert [text_id("title", "咖啡")] == list(duckdb.sql(sql).fetchall()[0])


def test_columns_of_any_kind_are_read() -> None:
    digits, numbers = (list(part) for part in zip(*PAIRS, strict=True))
    expected = [numbers[0], None, *numbers]
    for array in (
        pa.array(expected, pa.int64()),
        pa.array([digits[0], None, *digits]),
        pa.array([digits[0], "", *digits], pa.large_string()),
        pa.array([digits[0], None, *digits]).dictionary_encode(),
        pa.array(expected, pa.int64()).dictionary_encode(),
    ):
        found = from_arrow(array)
        assert found.type == pa.int64()
        assert found.to_pylist() == expected, array.type
    assert from_arrow(pa.nulls(2)).to_pylist() == [None, None]
    assert from_arrow(pa.array([], pa.string())).to_pylist() == []
    assert from_arrow(pa.array([3, None], pa.int32())).to_pylist() == [3, None]


@pytest.mark.parametrize("kind", [pa.float64(), pa.uint64(), pa.binary(), pa.bool_(), pa.date32()])
def test_a_type_that_holds_no_ids_is_refused(kind: pa.DataType) -> None:
    with pytest.raises(ValueError, match=r"of the type .*, expected int64 \(BIGINT\)"):
        from_arrow(pa.nulls(2, kind))
