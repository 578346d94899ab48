"""Raw files and vars with hostile names and bytes, through dbt itself: read, or named; never SQL, never lost."""

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.warehouse.bad_input import HOSTILE
from tests.warehouse.logs import random_log, with_column
from tests.warehouse.project import ROOT, Project

ANTM2C = {"dataset": "antm2c"}
HEADER = (ROOT / "tests/fixtures/antm2c/antm2c_10m_part0.csv").read_bytes().split(b"\n", 1)[0] + b"\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("hostile") / "project")


def event(title: bytes, user: bytes = b"u1", label: bytes = b"0") -> bytes:
    """A readable row; what is given stands in it as it is, quotes and all."""
    return user + b",i01,2023-07-12 10:00:00,1,food,pay,taxi,red," + title + b"," + label + b",1" * 27 + b"\n"


FILES = {
    "bom and crlf.csv": b"\xef\xbb\xbf" + (HEADER + event(b"one") + event(b"two")).replace(b"\n", b"\r\n"),
    "it's.csv": HEADER + event(b"quote in the name"),
    "'; drop table stg_events; --.csv": HEADER + event(b"SQL in the name"),
    "{{ exceptions.raise_compiler_error(1) }}.csv": HEADER + event(b"a template in the name"),
    "two\nlines.csv": HEADER + event(b"line end in the name"),
    "表 👩.csv": HEADER + event("שלום 👩".encode()),
    "gbk.csv": HEADER + event(b"before") + event("餐饮".encode("gbk")) + event(b"after"),
    "nul.csv": HEADER + event(b"n\x00ul") + event(b"after nul"),
    "big.csv": HEADER + event(b"x" * 1_000_000) + event(b"after big"),
    "quoted.csv": HEADER + event(b'"say ""hi"", twice\nover"', user=b'"u1"', label=b'"0"'),
    "no end.csv": HEADER + event(b"first") + event(b"last").rstrip(b"\n"),
    "holes.csv": HEADER + b"\n" + event(b"under a hole") + b"\n\n" + event(b"under two"),
    "unclosed.csv": HEADER + event(b'"clo\nsed"') + b"\n" + event(b'"open') + event(b"taken in") * 3,
}
TITLES = {
    *(
        "one",
        "two",
        "quote in the name",
        "SQL in the name",
        "a template in the name",
        "line end in the name",
        "שלום 👩",
    ),
    *(
        "before",
        "after",
        "n\x00ul",
        "after nul",
        "x" * 1_000_000,
        "after big",
        'say "hi", twice\nover',
        "first",
        "last",
    ),
    *("under a hole", "under two", "clo\nsed"),
}


def test_hostile_csv_files(project: Project) -> None:
    raw = project.folder / "data/raw/antm2c"
    raw.mkdir(parents=True)
    for name, content in FILES.items():
        (raw / name).write_bytes(content)
    result = project.dbt("run", "--select", "+stg_events", dataset_vars=ANTM2C)
    assert result.returncode == 0, result.stdout
    titles = project.query("select item_title from stg_events", "antm2c")["item_title"].to_pylist()
    assert Counter(titles) == Counter(TITLES)
    rejected = project.query("select source_file, source_line, reason from rejected_events", "antm2c").to_pylist()
    assert {(row["source_file"], row["source_line"]): row["reason"].split(": ")[1][:60] for row in rejected} == {
        ("gbk.csv", 3): "Invalid unicode (byte sequence mismatch) detected. This file"[:60],
        ("unclosed.csv", 4): "Value with unterminated quote found. It takes in up to 3 lines"[:60],
    }


@pytest.mark.parametrize("n_rows", [100, 100_000])
def test_a_quote_that_takes_in_most_of_a_log_stops_the_build(n_rows: int, project: Project) -> None:
    """DuckDB reads pieces of a large file side by side, takes up again somewhere and is silent on what is between."""
    raw = project.folder / "data/raw/antm2c"
    raw.mkdir(parents=True, exist_ok=True)
    for path in raw.iterdir():
        path.unlink()
    row = event(b"fine")
    (raw / "log.csv").write_bytes(HEADER + row * 9 + event(b'"open') + row * n_rows)
    result = project.dbt("run", "--select", "+rejected_events", dataset_vars=ANTM2C | {"max_rejected_rate": 0.05})
    said = " ".join(result.stdout.split())
    kept = project.query("select count(*) as n from parsed_events", "antm2c")["n"][0].as_py()
    assert result.returncode == 1
    assert f"It takes in up to {9 + n_rows - kept} lines after it." in said, said[-2000:]


@pytest.mark.parametrize("name", ["a[1].csv", "back\\slash.csv"])
def test_a_name_that_is_a_pattern_is_refused(name: str, project: Project) -> None:
    """DuckDB reads a1.csv for a[1].csv, and finds no back\\slash.csv at all."""
    raw = project.folder / "data/raw/antm2c"
    raw.mkdir(parents=True, exist_ok=True)
    (raw / name).write_bytes(HEADER + event(b"unseen"))
    result = project.dbt("run", "--select", "+src_antm2c", dataset_vars=ANTM2C)
    (raw / name).unlink()
    assert result.returncode == 1
    assert f"Raw file data/raw/antm2c/{name} has one of * ? [ ] \\ in its path" in " ".join(result.stdout.split())


def test_hostile_scenes_and_context_names_are_data(tmp_path: Path) -> None:
    """Codes of scenes, names of the context, texts of the log: SQL and templates in them stay what they are."""
    project = Project(tmp_path / "project")
    codes = [code for code in HOSTILE if "\x00" not in code]
    log = random_log(400)
    rows = range(len(log))
    log = with_column(log, "surface", [codes[row % len(codes)] for row in rows])
    log = with_column(log, "user_id", [HOSTILE[row % 5] for row in rows])
    log = with_column(log, "title", [HOSTILE[row % len(HOSTILE)] for row in rows])
    log = with_column(log, "tags", [";".join(HOSTILE[row % 7 : row % 7 + 3]) for row in rows])
    project.write_log(log, "it's; drop table stg_events; --.parquet")
    names = {"scenes": codes, "ctx_dense": ["' || 1/0 || '", "../../x"], "ctx_ids": ['"; drop table stg_events; --']}
    result = project.dbt("build", "--exclude", "few_rows_are_rejected", dataset_vars={"dataset": "my_log"} | names)
    assert result.returncode == 0, result.stdout[-3000:]
    found = project.query("select user_id, scene from training_examples_v2")
    assert Counter(found["scene"].to_pylist()) == Counter(log["surface"].to_pylist())
    assert Counter(found["user_id"].to_pylist()) == Counter(log["user_id"].to_pylist())
    record = json.loads((project.folder / "data/marts/my_log/training_examples_v2/_build/build.json").read_text())
    assert {name: record["vars"][name] for name in names} == names


@pytest.mark.parametrize(
    ("scenes", "message"),
    [
        (["home", False], "var scenes holds False, which YAML reads neither as a text nor as a whole number."),
        (["7", 7], "var scenes holds a code twice. It has 7, 7."),
        ([f"s{number}" for number in range(10_000)], "var scenes lists 10000 codes, at most 300 are possible"),
    ],
    ids=["truth value", "twice", "10,000"],
)
def test_scenes_that_cannot_be_are_refused(scenes: list, message: str, project: Project) -> None:
    settings = project.folder / "dbt_project.yml"
    before = settings.read_text()
    settings.write_text(before.replace("scenes: [home, search, cart]", f"scenes: {json.dumps(scenes)}"))
    result = project.dbt("parse")
    settings.write_text(before)
    assert result.returncode != 0
    assert message in " ".join(result.stdout.split())


def test_a_scene_that_yaml_reads_as_a_number_is_the_text_it_was(project: Project) -> None:
    settings = project.folder / "dbt_project.yml"
    before = settings.read_text()
    settings.write_text(before.replace("scenes: [home, search, cart]", "scenes: [7, home, 12]"))
    result = project.dbt("--quiet", "compile", "--inline", "{{ tojson(scenes()) }}")
    settings.write_text(before)
    assert '["7", "home", "12"]' in result.stdout


def test_text_that_is_no_utf8_in_parquet_is_named(project: Project) -> None:
    log = random_log(20)
    titles = pa.array(["餐饮".encode("gbk")] * len(log), pa.binary()).view(pa.string())
    raw = project.folder / "data/raw/my_log"
    raw.mkdir(parents=True, exist_ok=True)
    pq.write_table(log.set_column(log.column_names.index("title"), "title", titles), raw / "gbk.parquet")
    result = project.dbt("run", "--select", "+stg_events")
    assert result.returncode == 1
    said = " ".join(result.stdout.split())
    assert "gbk.parquet" in said
