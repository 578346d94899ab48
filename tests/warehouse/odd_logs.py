"""Raw files full of what engines read differently."""

import datetime as dt
import decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.warehouse.logs import random_log, with_column
from tests.warehouse.reading.test_builds import tags_as_lists

FLOATS = [1001.0, 2.5, 1e300, float("nan"), float("inf"), -0.0, 2.0**53, 2.0**53 - 1, 1e16, 1.5e-7, 12345678.5, 1.2e-4]


def odd_rows(header: bytes) -> bytes:
    """A CSV file of what engines read differently: numbers, times, blanks, quotes, bytes that are no UTF-8."""
    event = "u{user},{item},{at},{label},food,pay,taxi,{entities},{title},0,{id}" + ",1" * 13 + ",{number}" + ",1" * 12
    rows = [
        {"number": number}
        for number in (
            "1d", "0x1p3", "1_000", " 1.5 ", "inf", "-inf", "NaN", "1e400", "1e", ".5", "+1", ".", "true", "１",
        )
    ]  # packed: many short values  # fmt: skip
    rows += [
        {"at": at}
        for at in (
            "2023-07-12 10:00:05.1234567", "2023/7/2 3:04", "2023-07-12T10:00:05Z", "2023-07-12 10:00:05+08",
            "2023-07-12 10:00:05-01:30", "2023-07-12 10:00:05 UTC", "1689156005", "168915600", "2023-02-29 10:00:00",
            "2023-07/12 10:00:00", "10:00:00", "2023-07", "2023-07-12", "2023-7-2 3:4:5", "1969-07-12 10:00:00",
            "2023-07-12 10:00:05 Asia/Shanghai", "2023-07-12 10:00:60", "now", "", "1689156005.25", "1689156005250",
            "1689156005250000", "2023-07-12T10:00+0800", " 2023-07-12 10:00:05.123456000 +08 ", "2023-07-12 9:05 PM",
            "2023-07-12 9:05 CET", "2024030110", "2099-01-01 00:00:00", "2023-07-12 24:00",
        )
    ]  # packed: many short values  # fmt: skip
    rows += [{"label": label} for label in ("1.0", "0.5", "1d", "", "١", " 1 ")]
    rows += [
        {"title": title}
        for title in (
            "\u3000两边有空格\u00a0", "\u3000", '"say ""hi"", twice"', '"one\ntwo"', '"one\r\ntwo"', "back\\slash\\",
            "it's", "line\u2028separator", '""', "\ttab\t", "a,too many",
        )
    ]  # packed: many short values  # fmt: skip
    rows += [{"entities": entities} for entities in ('" red ,\u3000red,,blue"', '","', '"blue,red"', "a|b.c")]
    rows += [{"user": " "}, {"user": "1"}, {"user": "1"}]
    rows += [
        {"item": item} for item in ("1001.0", "007", "-0.0", "1.2.0", "1e9", "1.5", ".5", "nan", "-Infinity", "1E+16")
    ]
    rows += [{"id": id_} for id_ in ("12.0", "NaN", "-nan", "1e9", "nano")]
    rows += [{"label": label} for label in ("true", "False", "yes")]
    plain = {
        "at": "2023-07-12 10:00:00",
        "label": 1,
        "title": "t",
        "entities": "red",
        "number": 2,
        "item": "i01",
        "id": 1,
    }
    lines = [event.format(**plain | {"user": number} | row).encode() for number, row in enumerate(rows)]
    return b"\n".join([header, *lines, lines[0].replace(b"food", "餐饮".encode("gbk")), b"cut,short", b""])


def with_odd_types(folder: Path) -> None:
    """Four files of one log under folders that Hive would write, and files that aren't read."""
    log = tags_as_lists(random_log(80))
    for name in ("shown_at", "ingested_at"):
        log = with_column(log, name, pa.array(log[name].to_pylist(), pa.timestamp("us")))
    floats = FLOATS + [float(number) for number in range(80 - len(FLOATS))]
    zoned = pa.array([at.replace(tzinfo=dt.UTC) for at in log["shown_at"].to_pylist()], pa.timestamp("us", "UTC"))
    decimals = with_column(log, "user_id", [decimal.Decimal("1001.00")] * 80)
    files = {
        "part=a b%2Fc+d/part-0.parquet": with_column(log, "user_id", pa.array(floats)),
        "part=__HIVE_DEFAULT_PARTITION__/part-0.parquet": with_column(
            with_column(log, "user_id", [2**53 + 1] * 80), "tags", pa.nulls(80)
        ),
        "part=x/it's, {no}.parquet": with_column(
            with_column(log, "user_id", pa.array([0.5 if x > 2**24 else x for x in floats]).cast(pa.float32())),
            "clicked", [bool(clicked) for clicked in log["clicked"].to_pylist()],
        ),
        "part=y/d.PARQUET": with_column(with_column(decimals, "shown_at", zoned), "title", pa.array([b"x"] * 80)),
    }  # packed: many short values  # fmt: skip
    for path, table in files.items():
        (folder / path).parent.mkdir(parents=True)
        pq.write_table(table, folder / path)
    (folder / "notes.txt").write_text("x")
