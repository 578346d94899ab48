"""The commands under attack: tiny inputs, each in a folder of its own."""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.chaos.harness import SEED, Scene, contents
from tests.forkserver import of
from tests.trainer.toys import make_toy
from tests.warehouse.logs import random_log
from tests.warehouse.project import Project

# Data tests take the greater part of a build and write next to nothing: kills fall on what writes.
MODELS = ("build", "--select", "+training_examples_v1", "--resource-type", "model")
DBT_VARS = ["--vars", "{dataset: my_log}"]
# Compared row for row, as tests/warehouse/test_refresh.py does: means and PSI are sums of fractions.
PROFILE = "select * replace (round(mean, 9) as mean, round(psi, 9) as psi) from feature_profile"


@pytest.fixture
def survived(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """`survived(line)`: a line of the table at the end."""
    return lambda line: record_property("survived", line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table; by way of the reports, since with xdist the tests ran in other processes."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    lines = [line for report in reports for name, line in report.user_properties if name == "survived"]
    if lines:
        terminalreporter.section(f"faults, CHAOS_SEED={SEED}")
        terminalreporter.write("\n".join(sorted(lines)) + "\n")


@pytest.fixture
def place(tmp_path: Path) -> tuple[Path, Path]:
    """Folders (base, work); base is there."""
    (tmp_path / "base").mkdir()
    return tmp_path / "base", tmp_path / "work"


@pytest.fixture
def fetch_scene(place: tuple[Path, Path]) -> Scene:
    """A wheel of our own, which pip finds in a folder."""
    base, work = place
    rows = "".join(f"{k},{k * k}\n" for k in range(20_000))
    files = {"log.csv": rows, "items.csv": rows[: len(rows) // 2]}
    wheel = base / "wheels" / "tiny-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"inside/{name}", text)
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr(
            "tiny-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: us\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("tiny-1.0.dist-info/RECORD", "")
    (base / "tiny.json").write_text(
        json.dumps(
            {
                "requirement": "tiny==1.0",
                "wheel_sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
                "folder": "inside",
                "terms": "Ours.",
                "file_sha256": {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()},
            }
        )
    )
    env = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(work / "wheels"), "PIP_NO_CACHE_DIR": "1"}
    argv = ["fetch", "tiny", "--raw", "raw", "--cache", "cache"]
    return Scene("fetch", of("fetch"), argv, base, work, contents, env=env, alone=True)


@pytest.fixture
def simulate_scene(place: tuple[Path, Path]) -> Scene:
    base, work = place
    argv = ["simulate", "--events", "1000", "--out", "raw/simulated", "--threads", "2"]
    return Scene("simulate", of("simulate"), argv, base, work, contents)


@pytest.fixture
def simulate_force_scene(place: tuple[Path, Path]) -> Scene:
    """Another log is replaced."""
    base, work = place
    there = Scene(
        "first",
        of("simulate"),
        ["simulate", "--events", "1000", "--seed", "3", "--out", "sim"],
        base,
        work,
        contents,
    )
    there.reset()
    assert there.run()["code"] == 0
    shutil.copytree(work, base, dirs_exist_ok=True)
    argv = ["simulate", "--events", "1000", "--out", "sim", "--threads", "2", "--force"]
    return Scene("simulate --force", of("simulate"), argv, base, work, contents)


def tables_of(work: Path) -> dict[str, list]:
    """Every table and view of the warehouse that holds data, its rows sorted; and the marts' files by day."""
    import duckdb

    database = work / "data" / "my_log.duckdb"
    with duckdb.connect(str(database), read_only=True, config={"file_search_path": str(work)}) as connection:
        names = [
            row[0]
            for row in connection.sql(
                "select table_name from information_schema.tables where table_schema = 'main'"
            ).fetchall()
            if not row[0].startswith("refresh_") and row[0] not in ("feature_profile", "int_text_counts")
        ]
        asked = {name: f"select * from {name}" for name in names} | {"feature_profile": PROFILE}
        asked["int_text_counts"] = "select text_id, sum(columns('n_.*')) from int_text_counts group by text_id"
        found = {}
        for name, sql in asked.items():
            try:
                rows = connection.sql(f"select * from ({sql}) order by all").to_arrow_table()
            except duckdb.CatalogException:
                continue  # not a model of this selection
            found[name] = hashlib.sha256(repr(rows.to_pylist()).encode()).hexdigest()
    return found


def of_dbt(name: str) -> bool:
    """What dbt writes for itself, and the marts' Parquet files, whose names count threads."""
    return name.split("/")[0] in ("target", "logs") or name.endswith(".parquet") or name == "data/.user.yml"


def project(work: Path, n_events: int) -> tuple[Project, list[pa.Table]]:
    """A project and its log in two deliveries: the last outcomes come in the second."""
    made = Project(work)
    log = random_log(n_events=n_events, delay_hours=20).sort_by("ingested_at")
    cut = n_events - n_events // 30
    return made, [log.slice(0, cut), log.slice(cut)]


@pytest.fixture
def dbt_scene(place: tuple[Path, Path]) -> Callable[..., Scene]:
    """`dbt_scene(name, arguments, built)`: a build from nothing, or of a second delivery onto a first one."""
    base, work = place

    def make(name: str, *arguments: str, built: bool, n_events: int = 300) -> Scene:
        made, deliveries = project(work, n_events)
        argv = ["dbt", "--no-use-colors", *arguments, *DBT_VARS]
        made.write_log(deliveries[0], "day-1.parquet")
        shutil.rmtree(base)
        shutil.copytree(work, base)
        first = Scene("first", of("dbt"), argv if built else ["dbt", "parse", *DBT_VARS], base, work, tables_of)
        ended = first.run()
        assert ended["code"] == 0, ended["said"]
        made.write_log(deliveries[1], "day-2.parquet")
        shutil.rmtree(base)
        shutil.copytree(work, base)
        return Scene(name, of("dbt"), argv, base, work, tables_of, of_dbt)

    return make


def tiny_bert(folder: Path) -> Path:
    """A BERT with random weights and a tokenizer of single characters."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    letters = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *map(chr, range(33, 127))]
    tokenizer = Tokenizer(models.WordLevel({letter: i for i, letter in enumerate(letters)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split("", "isolated")]
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(letters),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    return folder


def write_text_mart(marts: Path, n: int) -> None:
    ids = [hashlib.md5(f"text {k}".encode()).hexdigest() for k in range(n)]
    (marts / "texts").mkdir(parents=True)
    pq.write_table(
        pa.table(
            {
                "text_id": ids,
                "text": [f"title number {k} {'x' * (k % 40)}" for k in range(n)],
                "side": ["title"] * n,
                "n_rows": [3] * n,
                "n_cold_rows": [1] * n,
                "n_train_rows": [2] * n,
            }
        ),
        marts / "texts" / "part-0.parquet",
    )


@pytest.fixture
def embeddings_scene(place: tuple[Path, Path]) -> Scene:
    base, work = place
    tiny_bert(base / "tiny")
    write_text_mart(base / "marts", 120)
    argv = ["embeddings", "build", "--marts", "marts", "--encoder", "tiny", "--dtype", "fp32", "--vectors", "vectors"]
    argv += ["--shard-texts", "10", "--threads", "1"]

    def stored(folder: Path) -> dict[str, str]:
        return contents(folder / "vectors")

    return Scene("embeddings build", of("embeddings"), argv, base, work, stored)


def write_stage(path: Path, **training: object) -> None:
    from trainer.config import load_stage

    raw = load_stage("01_dnn", 1).model_dump(exclude_none=True)
    raw["evaluation"]["resamples"], raw["threads"] = 10, 1
    raw["training"] |= {"epochs": 2, "batch_size": 64, "min_steps": 20, "warmup_steps": 5} | training
    raw["model"] |= {"embedding_dim": 4, "hidden": [16, 8]}
    path.write_text(json.dumps(raw))


def promised(run: Path) -> dict[str, str]:
    from trainer.run.directory import PROMISED

    assert (run / "DONE").exists()
    return contents(run, *PROMISED) | contents(run / "vocab")


@pytest.fixture
def fit_scene(place: tuple[Path, Path]) -> Callable[..., Scene]:
    """`fit_scene(name, arguments)`: a fit of a small network, with a cache of its own."""
    base, work = place

    def make(name: str, *arguments: str) -> Scene:
        make_toy(600).write(base / "marts")
        write_stage(base / "one.yaml")
        argv = ["eager_trainer", "fit", "--stage", "one.yaml", "--marts", "marts", "--run", "runs/x", *arguments]
        return Scene(
            name,
            of("trainer"),
            argv,
            base,
            work,
            lambda folder: promised(folder / "runs/x"),
            finished="is a finished run",
            env={"FIRST_IMPRESSION_CACHE": str(work / "cache")},
        )

    return make


@pytest.fixture
def score_scene(fit_scene: Callable[..., Scene]) -> Scene:
    """A run, and 5,000 rows to score with it."""
    scene = fit_scene("score")
    scene.reset()
    ended = scene.run()
    assert ended["code"] == 0, ended["said"]
    shutil.rmtree(scene.base)
    shutil.copytree(scene.work, scene.base)
    rows = pa.concat_tables(
        [pq.read_table(path, partitioning=None) for path in sorted((scene.base / "marts").rglob("*.parquet"))]
    )
    pq.write_table(pa.concat_tables([rows] * 40), scene.base / "rows.parquet", row_group_size=1000)
    scene.argv = [
        "trainer",
        "score",
        "--run",
        "runs/x",
        "--input",
        "rows.parquet",
        "--output",
        "out/scored.parquet",
        "--force",
    ]
    scene.result = lambda folder: contents(folder / "out")
    return scene
