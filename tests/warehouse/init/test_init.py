"""`warehouse init` without a build: what it takes each column for, what it asks, writes and leaves alone.

That its projects build is tests/system/test_own_project.py.
"""

import datetime as dt
import gzip
import json
import random
import re
from collections import Counter
from pathlib import Path

import duckdb
import jinja2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.warehouse.init.logs import block, csv, init, lines_of, parquet, refused, rows
from tests.warehouse.logs import FIRST_DAY, random_log
from tests.warehouse.project import ROOT, code_block
from warehouse.init.files import has_header
from warehouse.init.macros import macro

GUIDE = ROOT / "docs/bring-your-own-log.md"


# ---- what columns are


def test_the_adapter_is_the_guides() -> None:
    (columns,) = re.findall(r"for a log with the columns\n`(.+)`", GUIDE.read_text(encoding="utf-8"))
    log = random_log(1500)
    assert columns.split(", ") == log.column_names
    parquet(log)
    init("my_log", "--log", "logs/*.parquet")
    assert Path("my_log/models/src_my_log.sql").read_text() == code_block(GUIDE, "sql")
    of_the_guide = yaml.safe_load(code_block(GUIDE, "yaml"))["my_log"]
    found = block("my_log")
    for name in ("ctx_dense", "ctx_ids", "user_text_parts", "entity_separator"):
        assert found[name] == of_the_guide[name]
    assert set(found["scenes"]) == set(of_the_guide["scenes"])


def test_scenes_are_counted_and_days_split_at_70_and_80_percent() -> None:
    table = rows(1000, scene=lambda draw: draw.choice(["home", "home", "02", "off"]))
    parquet(table[:400], "a.parquet")
    parquet(table[400:], "b.parquet")
    told = init("shop", "--log", "logs/*.parquet")
    assert told["scenes"] == dict(Counter(row["scene"] for row in table))
    assert block()["scenes"] == list(told["scenes"]), "as texts: 02 and off too"
    assert told["rows"] == 1000
    days = sorted({row["ts"].date() for row in table})
    before = {day: sum(row["ts"].date() < day for row in table) / 1000 for day in days}
    for name, share in (("val_from", 0.7), ("test_from", 0.8)):
        day = dt.datetime.fromisoformat(told[name])
        assert day.time() == dt.time()
        assert abs(before[day.date()] - share) == min(abs(one - share) for one in before.values())


def test_a_log_of_one_day_is_split_at_instants() -> None:
    table = [row | {"ts": FIRST_DAY + dt.timedelta(seconds=n)} for n, row in enumerate(rows(100))]
    parquet(table)
    told = init("shop", "--log", "logs")
    assert (told["val_from"], told["test_from"]) == ("2024-01-01 00:01:09", "2024-01-01 00:01:19")


def test_context_is_what_is_no_other_outcome() -> None:
    parquet(
        [
            row | {"secret": row["clicked"] * 10 + n % 3, "day_part": n % 4, "constant": 1, "note": f"text {n}"}
            for n, row in enumerate(
                rows(
                    price=lambda draw: draw.random(),
                    device=lambda draw: draw.choice("abc"),
                    bought=lambda draw: int(draw.random() < 0.1),
                    dwell_ms=lambda draw: draw.randrange(10_000),
                    fresh=lambda draw: draw.random() < 0.5,
                )
            )
        ]
    )
    told = init("shop", "--log", "logs/*.parquet", "--label", "clicked")
    assert told["columns"]["ctx_dense"] == "price, day_part"
    assert told["columns"]["ctx_ids"] == "device"
    assert "AUC 1.00" in told["unused"]["secret"]
    assert set(told["unused"]) == {"secret", "constant", "note", "bought", "dwell_ms", "fresh"}
    sql = Path("shop/models/src_shop.sql").read_text()
    for name, why in told["unused"].items():
        assert f"--   {name}: {why}" in sql
    told = init("shop", "--log", "logs/*.parquet", "--label", "clicked", "--context", "fresh,dwell_ms")
    assert (told["columns"]["ctx_dense"], told["columns"]["ctx_ids"]) == ("dwell_ms", "fresh")


SLATE = pa.list_(pa.struct({"product_id": pa.int64(), "click": pa.bool_(), "position": pa.int64()}))


@pytest.mark.parametrize("shape", ["lists", "structs", "texts", "json", "pairs"])
def test_pages_of_items(shape: str) -> None:
    draw, table, n = random.Random(3), [], 0
    for row in rows(400):
        size = draw.randrange(1, 5)
        items, clicks = [draw.randrange(99) for _ in range(size)], [int(draw.random() < 0.3) for _ in range(size)]
        n += size
        page = {"user": row["user"], "ts": row["ts"]}
        match shape:
            case "lists":
                page |= {"items": items, "clicks": clicks}
            case "structs":
                page["slate"] = [
                    {"product_id": item, "click": bool(click), "position": k}
                    for k, (item, click) in enumerate(zip(items, clicks, strict=True))
                ]
            case "texts":
                page |= {"items": "|".join(map(str, items)), "clicks": "|".join(map(str, clicks))}
            case "json":
                page |= {"items": json.dumps(items), "clicks": json.dumps(clicks)}
            case "pairs":
                page["impressions"] = " ".join(f"N{i}-{c}" for i, c in zip(items, clicks, strict=True))
        table.append(page)
    if shape in ("lists", "structs"):
        parquet(table)
    else:
        csv(lines_of(table, "\t"), "a.tsv")
    told = init("shop", "--log", "logs")
    assert told["rows"] == n
    sources = {
        "structs": ("slate.product_id", "slate.click"),
        "pairs": ("impressions.item", "impressions.label"),
    }.get(shape, ("items", "clicks"))
    assert (told["columns"]["item_id"], told["columns"]["label"]) == sources
    assert "impression.source_position," in Path("shop/models/src_shop.sql").read_text()


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
@pytest.mark.parametrize("header", [True, False])
def test_csv_with_and_without_header(sign: str, header: bool) -> None:
    table = rows(title=lambda draw: f"a title {draw.randrange(9)}")
    text = "\n".join(lines_of(table, sign, header)) + "\n"
    with gzip.open("logs/a.csv.gz", "wt", encoding="utf-8") as file:
        file.write(text)
    options = () if header else ("--columns", ",".join(table[0]))
    told = init("shop", "--log", "logs/*.csv", *options)
    assert told["rows"] == len(table)
    assert told["columns"]["item_title"] == "title"
    sql = Path("shop/models/src_shop.sql").read_text()
    assert ("header=header" in sql) != header
    assert (f"delim={sign!r}" in sql) == (sign != ",")


def test_a_header_is_told_from_values() -> None:
    assert has_header([["id", "clicks"], ["1", "2"]])
    assert has_header([["user", "word"], ["ann", "x"], ["bob", "y"]])
    assert not has_header([["1", "2"], ["3", "4"]])
    assert not has_header([["ann", "x"], ["bob", "ann"], ["ann", "x"]])
    assert not has_header([["a", "2024-01-01 10:00:00"], ["b", "2024-01-02 10:00:00"]])


def test_columns_in_folder_names_and_odd_names() -> None:
    for part in ("home", "search"):
        table = [{"Gäste {{x}}": row["user"], "order": row["item"], **row} for row in rows(60, seed=len(part))]
        parquet(
            [{k: v for k, v in row.items() if k not in ("user", "item")} for row in table], f"scene={part}/p.parquet"
        )
    told = init("shop", "--log", "logs/**/*.parquet", "--user", "Gäste {{x}}", "--item", "order")
    assert told["scenes"] == {"home": 60, "search": 60}
    sql = Path("shop/models/src_shop.sql").read_text()
    assert "partitions=['scene']" in sql
    assert "cast({{ adapter.quote('Gäste {{x}}') }} as string) as user_id" in sql
    assert "cast({{ adapter.quote('order') }} as string) as item_id" in sql


def test_times_are_read_by_the_rules_of_the_build() -> None:
    texts = {
        "2024-03-01 09:05:30.25": "2024-03-01 09:05:30.250000",
        "2024-03-01T09:05+02:00": "2024-03-01 07:05:00",
        "1709283930": "2024-03-01 09:05:30",
        "01.03.2024": None,
        "2024-03-01 09:05 PM": None,
    }
    for text, expected in texts.items():
        (found,) = duckdb.execute(
            f"select cast({macro('instant')('t')} as varchar) from (select ? as t)", [text]
        ).fetchone()
        assert (found and dt.datetime.fromisoformat(found)) == (expected and dt.datetime.fromisoformat(expected)), text


@pytest.mark.parametrize(
    ("written", "options", "told"),
    [
        ("%d.%m.%Y %H:%M", (), ""),
        ("%m/%d/%Y %I:%M:%S %p", (), ""),  # a day above 12 tells
        ("%H Uhr, %d.%m.%y", ("--time-format", "%H Uhr, %d.%m.%y"), ""),
        ("%H Uhr, %d.%m.%y", (), "Say how to read it with --time-format"),
        ("%d.%m.%Y %H:%M", ("--time-format", "%m.%d.%Y %H:%M"), "doesn't read column ts"),
    ],
)
def test_other_forms_of_time(written: str, options: tuple[str, ...], told: str) -> None:
    csv(lines_of([row | {"ts": f"{row['ts']:{written}}"} for row in rows()], ";"))
    if told:
        assert told in refused("shop", "--log", "logs", *options)
    else:
        assert init("shop", "--log", "logs", *options)["val_from"].startswith("2024-01-1")


@pytest.mark.parametrize(("plain", "conversion"), [(True, ""), (False, "Its form of time and its json lists")])
def test_another_engine_than_duckdb_is_told_what_it_cannot_read(plain: bool, conversion: str) -> None:
    """The adapter's own check, as dbt would run it on Spark."""
    form = "%Y-%m-%d %H:%M:%S" if plain else "%d.%m.%Y %H:%M"
    table = [
        {"user": row["user"], "ts": f"{row['ts']:{form}}", "items": items, "clicks": clicks}
        for n, row in enumerate(rows(400))
        for texts in [[["4", "5", "6"][: 1 + n % 3], ["0", "1", "0"][: 1 + n % 3]]]
        for items, clicks in [["|".join(one) if plain else f"[{', '.join(one)}]" for one in texts]]
    ]
    csv(lines_of(table, "\t"), "a.tsv")
    init("shop", "--log", "logs")
    adapter = Path("shop/models/src_shop.sql").read_text()
    check = re.search(r"\{%- if execute and target.type.*?endif %\}", adapter, re.DOTALL)
    assert bool(check) == bool(conversion)
    if check:
        told: list[str] = []
        words = {"execute": True, "exceptions": {"raise_compiler_error": told.append}}
        for engine in ("duckdb", "spark"):
            jinja2.Template(check[0]).render(words | {"target": {"type": engine}})
        (message,) = told
        assert message.lower().startswith(conversion.lower()) and "rewrite that SQL for spark" in message


def test_a_time_that_can_mean_two_days_is_asked_for() -> None:
    table = [row | {"ts": f"{row['ts'].replace(day=1 + row['ts'].day % 12):%m/%d/%Y %H:%M}"} for row in rows()]
    csv(lines_of(table))
    said = refused("shop", "--log", "logs")
    assert "which format is it? Answer with --time-format FORMAT: %m/%d/%Y %H:%M %d/%m/%Y %H:%M" in said


# ---- asking


def test_a_terminal_is_asked_until_the_answer_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warehouse.init.asking.is_terminal", lambda: True)
    parquet(rows(bought=lambda draw: int(draw.random() < 0.1), stars=lambda draw: draw.randrange(1, 6)))
    told = init("shop", "--log", "logs", answers="nothing\nstars\n'>=9'\n'>=4'\n")
    assert told["columns"]["label"] == "stars, >=4"


def test_elsewhere_all_questions_are_in_one_error_and_nothing_is_written() -> None:
    csv(lines_of(rows(), header=False))
    said = refused("shop", "--log", "logs")
    for option in ("--user", "--item", "--label"):
        assert f"Answer with {option} COLUMN" in said
    assert "column_4 text, 2 different: 0, 1" in said
    assert not Path("shop").exists()


# ---- again


def test_again_changes_nothing_that_was_edited() -> None:
    parquet(rows(bought=lambda draw: int(draw.random() < 0.1)))
    options = ("shop", "--log", "logs/*.parquet", "--label")
    first = init(*options, "clicked")
    before = {path: path.read_bytes() for path in Path("shop").rglob("*") if path.is_file()}
    again = init(*options, "clicked")
    assert (again["written"], again["updated"], again["left_alone"]) == ([], [], [])
    assert sorted(again["unchanged"]) == sorted(first["written"])
    assert before == {path: path.read_bytes() for path in before}

    settings = Path("shop/dbt_project.yml")
    settings.write_text(settings.read_text() + "# mine\n")
    Path("shop/profiles.yml").unlink()
    told = init(*options, "bought")
    assert told["left_alone"] == ["dbt_project.yml"]
    assert told["written"] == ["profiles.yml"]
    assert "models/src_shop.sql" in told["updated"]
    assert settings.read_text().endswith("# mine\n")
    assert "cast(bought as string) as label" in Path("shop/models/src_shop.sql").read_text()
    assert init(*options, "clicked")["left_alone"] == ["dbt_project.yml"], "edited, however often it is run"


def test_files_around_the_project_are_linked_into_it() -> None:
    parquet(rows(), "../a.parquet")
    told = init("shop", "--log", "a.parquet")
    assert told["raw_dir"] == block()["raw_dir"] == "data/raw/shop"
    assert pq.read_table("shop/data/raw/shop/a.parquet").num_rows == 300
    assert init("shop", "--log", "a.parquet")["written"] == []
