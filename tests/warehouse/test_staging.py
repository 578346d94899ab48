"""What becomes of raw rows: read, or rejected with a reason; and of raw files that are no log at all."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.warehouse.project import ROOT, Project

FIXTURE = ROOT / "tests/fixtures/antm2c"
ANTM2C = {"dataset": "antm2c"}
PART = (FIXTURE / "antm2c_10m_part0.csv").read_bytes()
HEADER = PART.split(b"\n", 1)[0]
# 37 fields: a readable event, with a title to be filled in
EVENT = b"u1,i01,2023-07-12 10:00:00,1,food,pay,taxi,red,%s,0" + b",1" * 27 + b"\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("staging") / "project")


@pytest.fixture
def stage(project: Project) -> Callable:
    """Stages raw files given as name=bytes; returns dbt's exit status and output."""

    def stage(**files: bytes) -> tuple[int, str]:
        raw = project.folder / "data/raw/antm2c"
        raw.mkdir(parents=True, exist_ok=True)
        for old in raw.iterdir():
            old.unlink()
        for name, content in files.items():
            (raw / name.replace("_", ".")).write_bytes(content)
        result = project.dbt("run", "--select", "+stg_events", dataset_vars=ANTM2C)
        return result.returncode, result.stdout

    return stage


def reasons(project: Project) -> Counter:
    return Counter(project.query("select reason from rejected_events", "antm2c")["reason"].to_pylist())


def events(project: Project) -> list[dict]:
    return project.query("select * from stg_events order by event_id", "antm2c").to_pylist()


def test_the_fixture_is_read_and_its_bad_rows_are_named(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    result = project.dbt("build", dataset_vars=ANTM2C | {"raw_dir": str(FIXTURE)})
    assert result.returncode == 0, result.stdout
    assert reasons(project) == Counter(
        [
            "repeats an earlier row",
            "label is not 0 or 1: 7",
            "label is not 0 or 1: missing",
            "user_id is missing",
            "item_id is missing",
            "event_at is not a time: 2023-02-30 10:00:00",
            "event_at is not a time: yesterday",
            "scene is not in var scenes: 9",
            "ctx_dense holds a text that is not a finite number",
            "is not a row of this file: Expected Number of Columns: 37 Found: 4",
            "is not a row of this file: Expected Number of Columns: 37 Found: 38",
        ]
    )
    read = {event["event_id"]: event for event in events(project)}
    assert len(read) == 150
    assert read["antm2c_10m_part0.csv:1"]["item_title"] == "地铁乘车码\n出行立减"
    assert {event["event_at"].second for id_, event in read.items() if "part1" in id_} == {0}, "yyyy/M/d H:mm form"
    written = project.folder / "data/marts/antm2c"
    assert len(list(written.glob("training_examples_v1/event_date=*/*.parquet"))) >= 20
    assert not list(written.glob(".*")), "nothing stays aside"


def test_events_are_numbered_as_in_their_file(project: Project, stage: Callable) -> None:
    many = b"".join(EVENT % b"t%d" % number for number in range(1, 30_001))
    status, said = stage(a_csv=HEADER + b"\n" + many, b_csv=HEADER + b"\n" + EVENT % b"t1")
    assert status == 0, said
    assert {(event["event_id"], event["item_title"]) for event in events(project)} == {
        *((f"a.csv:{number}", f"t{number}") for number in range(1, 30_001))
    }
    assert reasons(project) == {"repeats an earlier row": 1}


def test_files_larger_than_a_reader_s_buffer_are_numbered_as_they_stand(project: Project, stage: Callable) -> None:
    padding = b" " + b"x" * 2000  # 42 MB a file; DuckDB reads 32 MB at a time, and files side by side

    def lines(name: bytes) -> bytes:
        return b"".join(EVENT % (name + b" %d" % number + padding) for number in range(1, 20_001))

    status, said = stage(**{f"{name}_csv": HEADER + b"\n" + lines(name.encode()) for name in "ab"})
    assert status == 0, said
    written = "split_part(item_title, ' ', 1) || '.csv:' || split_part(item_title, ' ', 2)"
    found = project.query(f"select count(*) as n, count_if(event_id <> {written}) as wrong from stg_events", "antm2c")
    assert found.to_pylist() == [{"n": 40_000, "wrong": 0}]


TIMES = {
    "2023-07-12 10:00:05": "2023-07-12 10:00:05",
    "2023/7/2 3:04": "2023-07-02 03:04:00",
    "2023-07-12T10:00:05Z": "2023-07-12 10:00:05",
    "2023-07-12 10:00:05+08:00": "2023-07-12 02:00:05",
    "2023-07-12T10:00+08": "2023-07-12 02:00:00",
    "2023-07-12 10:00 +0800": "2023-07-12 02:00:00",
    "2023-07-12 10:00:05-01:30": "2023-07-12 11:30:05",
    "2023-07-12 10:00:05.250": "2023-07-12 10:00:05.250000",
    "2023-07-12 10:00:05.123456000+00": "2023-07-12 10:00:05.123456",
    "2023-07-12": "2023-07-12 00:00:00",
    "1689156005": "2023-07-12 10:00:05",
    "1689156005.25": "2023-07-12 10:00:05.250000",
    "1689156005250": "2023-07-12 10:00:05.250000",
    "1689156005123456": "2023-07-12 10:00:05.123456",
}
NO_TIMES = {
    "2023-07-12 9:05 PM": "event_at is not a time: ",
    "2023-07-12 9:05 CET": "event_at is not a time: ",
    "2023-07-12 10:00:05 Asia/Shanghai": "event_at is not a time: ",
    "2023-07-12 24:00": "event_at is not a time: ",
    "2023-07-12 10:00:60": "event_at is not a time: ",
    "20230712": "event_at is not a time: ",
    "2023-07-12 10:00:05.1234567": "event_at is finer than a microsecond: ",
    "2024030110": "event_at is later than now: ",  # meant as a day and its hour; as Unix seconds it is in 2034
    "2099-07-12 10:00:00": "event_at is later than now: ",
}


def test_forms_of_time(project: Project, stage: Callable) -> None:
    """Each form of the guide's list, and what looks like one: read as it is meant, or rejected with its reason."""
    lines = [
        EVENT.replace(b"2023-07-12 10:00:00", text.encode()) % b"time %d" % number
        for number, text in enumerate((*TIMES, *NO_TIMES), start=1)
    ]
    good = b"".join(EVENT % b"good %d" % number for number in range(30))
    status, said = stage(a_csv=HEADER + b"\n" + b"".join(lines) + good)
    assert status == 0, said
    read = {event["item_title"]: str(event["event_at"]) for event in events(project)}
    assert [read[f"time {number}"] for number in range(1, len(TIMES) + 1)] == list(TIMES.values())
    assert reasons(project) == Counter(reason + text for text, reason in NO_TIMES.items())


def test_every_unreadable_value_has_its_reason(project: Project, stage: Callable) -> None:
    """In one file: every kind of bad row, among enough good ones."""
    good = b"".join(EVENT % b"t%d" % number for number in range(60))
    bad = {
        EVENT.replace(
            b"2023-07-12 10:00:00", b"2023-07-12 10:00:05 Asia/Shanghai"
        ): "event_at is not a time: 2023-07-12 10:00:05 Asia/Shanghai",
        EVENT.replace(
            b"2023-07-12 10:00:00", b"1969-07-12 10:00:00"
        ): "event_at is not between 1970 and 2199: 1969-07-12 10:00:00",
        EVENT.replace(b"2023-07-12 10:00:00", b""): "event_at is not a time: missing",
        EVENT.replace(b",1,food", b",0.5,food"): "label is not 0 or 1: 0.5",
        EVENT.replace(b",%s,0", b",%s,"): "scene is missing",
        EVENT.replace(b"u1,", b"  ,"): "user_id is missing",
        EVENT.replace(b"food", "餐饮".encode("gbk")): "is not a row of this file: Invalid unicode",
        EVENT.replace(b"%s", b"x" * 3_000_000 + b"%s"): "is not a row of this file: Maximum line size",
    }
    status, said = stage(a_csv=HEADER + b"\n" + good + b"".join(line % b"t" for line in bad))
    assert status == 0, said
    assert len(events(project)) == 60
    found = sorted(reasons(project))
    assert len(found) == len(bad)
    for expected, reason in zip(sorted(bad.values()), found, strict=True):
        assert reason.startswith(expected)


def test_byte_order_mark_and_windows_line_ends(project: Project, stage: Callable) -> None:
    status, said = stage(a_csv=b"\xef\xbb\xbf" + (HEADER + b"\n" + EVENT % b"t").replace(b"\n", b"\r\n"))
    assert status == 0, said
    assert [event["item_title"] for event in events(project)] == ["t"]


def test_columns_may_stand_in_another_order(project: Project, stage: Callable) -> None:
    swapped = b"item_id,user_id," + HEADER.split(b",", 2)[2] + b",extra\n" + (EVENT % b"t").replace(b"\n", b",9\n")
    status, said = stage(a_csv=swapped, b_csv=HEADER + b"\n" + EVENT % b"t")
    assert status == 0, said
    assert [(event["user_id"], event["item_id"]) for event in events(project)] == [("i01", "u1"), ("u1", "i01")]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "No raw file matches data/raw/antm2c/*.csv. Lay the AntM2C parts"),
        ({"a_csv": PART, "b_csv": b""}, "Raw file data/raw/antm2c/b.csv is empty (0 bytes)."),
        ({"a_csv": HEADER + b"\n"}, "The files in data/raw/antm2c hold no rows at all, only headers."),
        ({"a_csv": PART.replace(b"item_title", b"titel", 1)}, "lacks the column item_title. Its first line has 37"),
        ({"a_csv": bytes(range(256)) * 40}, "Raw file data/raw/antm2c/a.csv lacks the columns user_id, item_id"),
        ({"a_csv": PART, "b_parquet": b"PAR1"}, "data/raw/antm2c holds 1 CSV and 1 Parquet files: which is the log?"),
        ({"a_parquet": b"PAR1 not at all PAR1"}, "data/raw/antm2c/a.parquet"),
        (
            {"a_csv": HEADER + b"\n" + EVENT % b"t" + EVENT.replace(b",1,food", b",7,food") % b"t"},
            "1 of 2 raw rows in data/raw/antm2c (50.0%) were rejected; var max_rejected_rate allows 25.0%. "
            "Most frequent: 1 x label is not 0 or 1: 7.",
        ),
    ],
    ids=["no file", "empty", "header only", "column missing", "not a CSV", "two kinds", "broken Parquet", "rejects"],
)
def test_what_is_no_log_stops_the_build(files: dict, message: str, stage: Callable) -> None:
    status, said = stage(**files)
    assert status == 1
    assert message in " ".join(said.split())


def test_an_unknown_dataset_is_named(project: Project) -> None:
    result = project.dbt("parse", dataset_vars={"dataset": "movielans"})
    assert result.returncode != 0
    assert "var dataset is 'movielans', but dbt_project.yml has blocks for movielens, antm2c" in result.stdout
