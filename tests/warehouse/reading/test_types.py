"""Each file's values become text by that file's own types: against a reader of our own."""

import datetime as dt
import decimal
import itertools
import json
import math
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.warehouse.reading.scanning import answer, error, rows

UTC = dt.UTC
FIRST_INEXACT = {pa.float32(): 2**24, pa.float64(): 2**53}


def expected_text(value: object, type_: pa.DataType) -> object:
    """What a value of a type is as text, by the rules of docs/bring-your-own-log.md; `...` for any that is no id."""
    if value is None or pa.types.is_null(type_):
        return None
    if pa.types.is_list(type_):
        return [expected_text(each, type_.value_type) for each in value]
    if pa.types.is_struct(type_):
        return {field.name: expected_text(value[field.name], field.type) for field in type_}
    if pa.types.is_boolean(type_):
        return "true" if value else "false"
    if type_ in FIRST_INEXACT:
        is_exact = math.isfinite(value) and value == int(value) and abs(value) < FIRST_INEXACT[type_]
        return str(int(value)) if is_exact else ...
    if pa.types.is_date(type_):
        return value.isoformat()
    if pa.types.is_timestamp(type_):
        whole, nanos = divmod(value, 10**9)  # drawn as nanoseconds
        text = (dt.datetime(1970, 1, 1) + dt.timedelta(seconds=whole)).strftime("%Y-%m-%d %H:%M:%S")
        fraction = f".{nanos:09}".rstrip("0").rstrip(".")
        return text + fraction + ("+00:00" if type_.tz else "")
    if pa.types.is_binary(type_):
        return value.decode()
    return str(value)


NANOS = st.integers(0, 2 * 10**9 * 10**9)
SCALARS: dict[pa.DataType, st.SearchStrategy] = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1) | st.integers(0, 3),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int8(): st.integers(-128, 127),
    pa.float64(): st.floats() | st.integers(0, 2**60).map(float) | st.sampled_from([-0.0, 1e16, 2.0**53, 2.0**53 - 1]),
    pa.float32(): st.floats(width=32) | st.integers(0, 2**25).map(lambda n: float(n & ~1)),
    pa.bool_(): st.booleans(),
    pa.string(): st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
    pa.large_string(): st.text("ab", max_size=3),
    pa.binary(): st.text("a中", max_size=3).map(str.encode),
    pa.decimal128(38, 0): st.integers(-(10**38) + 1, 10**38 - 1).map(decimal.Decimal),
    pa.decimal128(9, 2): st.integers(-(10**9) + 1, 10**9 - 1).map(lambda n: decimal.Decimal(n).scaleb(-2)),
    pa.date32(): st.dates(dt.date(1970, 1, 1), dt.date(2199, 12, 31)),
    pa.timestamp("ns"): NANOS,
    pa.timestamp("ns", "UTC"): NANOS,
    pa.timestamp("us"): NANOS.map(lambda n: n // 1000 * 1000),
    pa.timestamp("us", "Asia/Shanghai"): NANOS.map(lambda n: n // 1000 * 1000),
    pa.timestamp("ms"): NANOS.map(lambda n: n // 10**6 * 10**6),
    pa.timestamp("s"): NANOS.map(lambda n: n // 10**9 * 10**9),
    pa.null(): st.none(),
}
TIMES = {type_ for type_ in SCALARS if pa.types.is_temporal(type_)}
NUMBERS = {
    type_
    for type_ in SCALARS
    if pa.types.is_integer(type_)
    or pa.types.is_floating(type_)
    or pa.types.is_decimal(type_)
    or pa.types.is_boolean(type_)
}


def as_array(values: list, type_: pa.DataType) -> pa.Array:
    if pa.types.is_timestamp(type_):
        units = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}[type_.unit]
        return pa.array([None if v is None else v // units for v in values], pa.int64()).cast(type_)
    return pa.array(values, type_)


def go_together(types: list[pa.DataType]) -> bool:
    return not (TIMES & set(types) and NUMBERS & set(types))


@st.composite
def files(draw: st.DrawFn) -> list[tuple[pa.DataType, list]]:
    drawn = []
    for type_ in draw(st.lists(st.sampled_from(list(SCALARS)), min_size=1, max_size=4)):
        drawn.append((type_, draw(st.lists(st.none() | SCALARS[type_], min_size=1, max_size=4))))
    return drawn


def is_no_id(text: str) -> bool:
    return any(mark in text.lower() for mark in ("e", "nan", "inf")) or text.partition(".")[2].strip("0") != ""


@settings(max_examples=150, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(files())
def test_values_become_text_by_their_own_file_s_type(tmp_path_factory: pytest.TempPathFactory, drawn: list) -> None:
    folder = tmp_path_factory.mktemp("types")
    for number, (type_, values) in enumerate(drawn):
        pq.write_table(
            pa.table({"x": as_array(values, type_), "other": as_array(values, type_)}), folder / f"{number}.parquet"
        )
    types = [type_ for type_, _ in drawn]
    if not go_together(types):
        said = error(folder, "parquet", "*.parquet", ["x"])
        assert "Column x is a" in said
        assert "Write it in one type in all files. Mend it." in said
        return
    found = rows(folder, "parquet", "*.parquet", ["x"])
    meant = [
        (expected_text(value, type_), f"{number}.parquet", row)
        for number, (type_, values) in enumerate(drawn)
        for row, value in enumerate(values, start=1)
    ]
    assert [row[1:] for row in found] == [row[1:] for row in meant]
    for (text, *_), (expected, *_), value in zip(found, meant, [v for _, values in drawn for v in values], strict=True):
        if expected is ...:
            assert is_no_id(text), text
            assert float(text) == value or math.isnan(value) or abs(float(text) / value - 1) < 1e-6
        else:
            assert text == expected
    # a refresh reads the last file alone, the columns of the others being known
    before = answer(folder, "parquet", "*.parquet", ["x"])
    known = {path: [size, at, before["columns"][n]] for path, size, at, n in before["files"][:-1]}
    last = f"{len(drawn) - 1}.parquet"
    alone = rows(folder, "parquet", "*.parquet", ["x"], known=known, only=[last])
    assert [row for row in found if row[1] == last] == alone or "nan" in str(found).lower()


@pytest.mark.parametrize("type_", [pa.float32(), pa.float64()])
@pytest.mark.parametrize("numbers", [[1001.0, 2.5], [1.0], [0.0], [-3.0, -3.0], [math.inf], []])
def test_nan_beside_other_numbers_is_text(numbers: list[float], type_: pa.DataType, tmp_path: Path) -> None:
    """Statistics of a file leave NaN out, and DuckDB folds by them; most where all other numbers are equal."""
    pq.write_table(pa.table({"x": pa.array([*numbers, math.nan], type_)}), tmp_path / "a.parquet")
    *others, last = [row[0] for row in rows(tmp_path, "parquet", "*.parquet", ["x"])]
    assert last == "NaN" and others == [{2.5: "2.5", math.inf: "inf"}.get(n) or str(int(n)) for n in numbers]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_nested_columns_keep_their_nesting(order: tuple[int, ...], tmp_path: Path) -> None:
    """Lists of texts, of whole numbers in floats, of nothing at all; whichever file comes first."""
    kinds = [
        (pa.list_(pa.string()), [["a;b", None], None, []]),
        (pa.list_(pa.float64()), [[1.0, 2.5], [None]]),
        (pa.null(), [None, None]),
    ]
    for number, kind in enumerate(order):
        type_, values = kinds[kind]
        pq.write_table(pa.table({"tags": pa.array(values, type_)}), tmp_path / f"{number}.parquet")
    found = rows(tmp_path, "parquet", "*.parquet", ["tags"])
    texts = [["a;b", None], None, []], [["1", "2.5"], [None]], [None, None]
    assert [row[0] for row in found] == [text for kind in order for text in texts[kind]]


def test_lists_of_structs_can_be_unnested(tmp_path: Path) -> None:
    type_ = pa.list_(pa.struct([("item_id", pa.int64()), ("at", pa.timestamp("ms")), ("clicked", pa.bool_())]))
    shown = [[{"item_id": 2**53 + 1, "at": dt.datetime(2024, 1, 2), "clicked": True}, None], []]
    pq.write_table(pa.table({"shown": pa.array(shown, type_)}), tmp_path / "a.parquet")
    found = rows(tmp_path, "parquet", "*.parquet", ["shown"])
    assert found[0][0] == [{"item_id": "9007199254740993", "at": "2024-01-02 00:00:00", "clicked": "true"}, None]


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ([dt.datetime(2024, 1, 1)], [1704067200], ("a number (BIGINT)", "a time (TIMESTAMP)")),
        ([dt.date(2024, 1, 1)], [1.5], ("a number (DOUBLE)", "a time (DATE)")),
        ([["a"]], ["a;b"], ("text (VARCHAR)", "a list (VARCHAR[])")),
        ([{"a": 1}], [[1]], ("a list (BIGINT[])", "a struct (STRUCT(a BIGINT))")),
        ([{"a": 1}], [{"b": 1}], ("a struct (STRUCT(b BIGINT))", "a struct (STRUCT(a BIGINT))")),
    ],
    ids=["time, integer", "date, float", "list, text", "struct, list", "other fields"],
)
def test_what_does_not_go_together_is_named(first: list, second: list, words: tuple, tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": first}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"x": second}), tmp_path / "b.parquet")
    assert error(tmp_path, "parquet", "*.parquet", ["x"]) == (
        f"Column x is {words[0]} in raw file {tmp_path}/b.parquet, but {words[1]} in {tmp_path}/a.parquet. "
        "Write it in one type in all files. Mend it."
    )
    assert "Column x is" in error(tmp_path, "parquet", "*.parquet", ["x"], only=["b.parquet"]), "in a refresh too"


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"title": pa.array([b"ok", b"\xff\xfe"], pa.binary())}), tmp_path / "a.parquet")
    with pytest.raises(
        duckdb.Error, match=f"Column title of raw file {tmp_path}/a.parquet holds bytes that are not UTF-8"
    ):
        rows(tmp_path, "parquet", "*.parquet", ["title"])


def test_64_bit_ids_beside_a_float_file(tmp_path: Path) -> None:
    """Ids above 2^53, and a file of floats because one id was missing: nothing is rounded, nothing gets a fraction."""
    ids = [2**53 + 1, 2**53 + 2, 1001]
    pq.write_table(pa.table({"user_id": pa.array(ids, pa.int64())}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"user_id": pa.array([1001.0, None, float(2**53)], pa.float64())}), tmp_path / "b.parquet")
    found = [row[0] for row in rows(tmp_path, "parquet", "*.parquet", ["user_id"])]
    assert found == ["9007199254740993", "9007199254740994", "1001", "1001", None, "9.007199254740992e+15"]


def test_answers_are_json_whatever_they_hold(tmp_path: Path) -> None:
    pq.write_table(pa.table({'it\'s "x"': ["中"]}), tmp_path / "it's.parquet")
    assert rows(tmp_path, "parquet", "*.parquet", ['it\'s "x"']) == [("中", "it's.parquet", 1)]
    assert json.loads(json.dumps(answer(tmp_path, "parquet", "*", ['it\'s "x"'])))["left_out"] == []
