"""`trainer score --engine spark` against the local score: the same numbers to the last bit, written once and whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage import places
from storage.spark import master_is_set
from tests.s3 import BUCKET, S3, environment
from tests.trainer.serving.scoring import rows_of
from trainer.base.errors import TrainerError
from trainer.base.files import read_json
from trainer.config import load_stage
from trainer.run.directory import fit_run
from trainer.serving import spark
from trainer.serving.score import Scoring, score_file
from trainer.serving.source import open_source
from trainer.training import loop


def written(folder: Path) -> pa.Table:
    """What Spark wrote, in the order of the parts."""
    assert (folder / "_SUCCESS").exists() and not list(folder.glob(".*"))
    return pa.concat_tables(pq.read_table(path) for path in sorted(folder.glob("part-*.parquet")))


# -- without Spark ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_the_tasks_are_the_input_in_order_and_cut_between_blocks(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(seed)
    for module in (loop, spark, __import__("trainer.serving.source", fromlist=["x"])):
        monkeypatch.setattr(module, "PREDICT_BATCH", 32)
    for k in range(5):
        n = int(rng.choice([0, 1, 31, 32, 96, 500, 1000]))
        table = pa.table({"event_id": [f"{k}-{i}" for i in range(n)]})
        pq.write_table(table, tmp_path / f"{k}.parquet", row_group_size=int(rng.choice([16, 32, 40, 64, 1000])))
    source, cores = open_source(tmp_path), int(rng.choice([1, 2, 16]))
    tasks = spark.tasks_of(source, cores)
    names = ["event_id"]
    local = [table for path in source.files for table in source.blocks(path, names)]
    by_task = [t for task in tasks for k, groups in task for t in source.blocks(source.files[k], names, groups)]
    assert [t["event_id"].to_pylist() for t in by_task if len(t)] == [
        t["event_id"].to_pylist() for t in local if len(t)
    ]
    if sum(map(len, local)) > 2000:
        assert len(tasks) > 1


def test_types_that_spark_lacks_become_those_it_has_or_are_refused() -> None:
    pytest.importorskip("pyspark")
    found = spark.for_spark(
        pa.schema(
            [
                ("a", pa.dictionary(pa.int32(), pa.large_string())),
                ("b", pa.uint32()),
                ("c", pa.timestamp("ms")),
                ("d", pa.list_(pa.float64())),
            ]
        )
    )
    assert found.types == [pa.string(), pa.int64(), pa.timestamp("us"), pa.list_(pa.float64())]
    with pytest.raises(TrainerError, match="Column odd is month_day_nano_interval, which Spark can't hold"):
        spark.for_spark(pa.schema([("odd", pa.month_day_nano_interval())]))


def test_a_master_that_is_set_somewhere_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYSPARK_GATEWAY_PORT", "PYSPARK_SUBMIT_ARGS", "SPARK_CONF_DIR", "SPARK_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert not master_is_set()
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", "--master yarn pyspark-shell")
    assert master_is_set()
    monkeypatch.delenv("PYSPARK_SUBMIT_ARGS")
    (tmp_path / "spark-defaults.conf").write_text("# spark.master x\nspark.app.name y\n")
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))
    assert not master_is_set()
    (tmp_path / "spark-defaults.conf").write_text("spark.master   spark://here:7077\n")
    assert master_is_set()


def test_the_parts_that_were_named_are_the_output(tmp_path: Path) -> None:
    """Beside them is what a task left that failed and was tried again."""
    for name in ("part-00000-a.parquet", "part-00000-b.parquet", "part-00001-c.parquet"):
        (tmp_path / name).touch()
    named = {"part-00000-b.parquet", "part-00001-c.parquet"}
    with pytest.raises(TrainerError, match=r"Of 3 parts that the workers wrote, 1 aren't in .*--output that all"):
        spark._finish(tmp_path, {*named, "part-00002-d.parquet"}, 3)
    spark._finish(tmp_path, named, 2)
    assert {path.name for path in tmp_path.iterdir()} == {*named, "_SUCCESS"}


# -- with Spark -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a network, with its marts beside it."""
    from tests.trainer.toys import make_toy
    from trainer.config import parse_stage

    place = tmp_path_factory.mktemp("spark")
    marts = make_toy(900).write(place / "marts")
    raw = load_stage("01_dnn", 1).model_dump(exclude_none=True)
    raw["training"] |= {"epochs": 1, "batch_size": 128, "warmup_steps": 5}
    raw["model"] |= {"embedding_dim": 8, "hidden": [32, 16]}
    raw["evaluation"]["resamples"] = 20
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRST_IMPRESSION_CACHE", str(place / "cache"))
        patch.chdir(place)
        fit_run(parse_stage(raw | {"calibration": "temperature"}, "a test"), marts, place / "run")
    return place / "run"


@pytest.fixture
def rows(run: Path, tmp_path: Path) -> Path:
    """Two folders by day: 40,000 rows in three row groups, and a few. The day stands in the folder's name alone."""
    table = rows_of(run.parent / "marts")
    many = pa.concat_tables([table] * 45).slice(0, 40_000)
    for day, part, size in (("1", many, 16_384), ("2", table.slice(0, 77), 50)):
        (tmp_path / "rows" / f"day={day}").mkdir(parents=True)
        pq.write_table(part, tmp_path / "rows" / f"day={day}" / "x.parquet", row_group_size=size)
    return tmp_path / "rows"


def test_spark_gives_what_a_local_score_gives(spark_session: Any, run: Path, rows: Path, tmp_path: Path) -> None:
    how: dict[str, Any] = {"keep": ("scene", "day", "ctx_dense"), "partitions": ("day",)}
    local = score_file(run, rows, tmp_path / "local.parquet", **how)
    there = spark.score_on_spark(run, rows, tmp_path / "scored", **how)
    found, expected = written(tmp_path / "scored"), pq.read_table(tmp_path / "local.parquet")
    assert len(list((tmp_path / "scored").glob("part-*"))) > 1
    assert found.column_names == expected.column_names
    for name in expected.column_names:
        assert found[name].to_pylist() == expected[name].to_pylist(), name
    assert {key: there[key] for key in ("rows", "files", "left_out", "notes")} == {
        key: local[key] for key in ("rows", "files", "left_out", "notes")
    }
    with pytest.raises(TrainerError, match="scored exists already"):
        spark.score_on_spark(run, rows, tmp_path / "scored", **how)
    with pytest.raises(TrainerError, match=r"local.parquet is a file; --engine spark writes a folder"):
        spark.score_on_spark(run, rows, tmp_path / "local.parquet", force=True, **how)
    few = rows / "day=2"
    spark.score_on_spark(run, few, tmp_path / "scored", force=True)
    assert len(written(tmp_path / "scored")) == 77


def test_what_a_worker_refuses_is_the_error_and_no_output_appears(
    spark_session: Any, run: Path, rows: Path, tmp_path: Path
) -> None:
    table = pq.read_table(rows / "day=2" / "x.parquet", partitioning=None)
    at = table.column_names.index("scene")
    unknown = table.set_column(at, "scene", pa.array(["moon"] * len(table)))
    pq.write_table(unknown, rows / "day=2" / "x.parquet")
    with pytest.raises(TrainerError) as of_local:
        score_file(run, rows, tmp_path / "local.parquet")
    with pytest.raises(TrainerError) as of_spark:
        spark.score_on_spark(run, rows, tmp_path / "scored")
    assert str(of_spark.value) == str(of_local.value)
    assert "moon" in str(of_spark.value)
    assert not (tmp_path / "scored").exists() and not list(tmp_path.glob(".scored*"))


def test_uris_are_read_by_the_workers_and_written(
    spark_session: Any, s3_server: S3, run: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(s3_server, monkeypatch)
    s3_server.empty()
    s3_server.put(rows / "day=2", "rows")
    s3_server.put(run, "run")
    spark.score_on_spark(
        places.local(f"s3://{BUCKET}/run"), places.local(f"s3://{BUCKET}/rows"), places.target(f"s3://{BUCKET}/scored")
    )
    keys = s3_server.keys("scored/")
    assert "scored/_SUCCESS" in keys
    (part,) = [key for key in keys if key.endswith(".parquet")]
    score_file(run, rows / "day=2", tmp_path / "local.parquet")
    found = pq.read_table(pa.BufferReader(s3_server.read(part)))
    assert found["probability"].to_pylist() == pq.read_table(tmp_path / "local.parquet")["probability"].to_pylist()


def test_a_run_is_loaded_once_in_a_worker(run: Path, rows: Path, tmp_path: Path) -> None:
    scoring = Scoring.of(run, rows, (), None, ())
    job = spark.Job(
        token="x",
        run=str(run),
        vectors="data/vectors",
        history=None,
        place=str(rows),
        files=tuple(map(str, scoring.source.files)),
        declared=(),
        columns=scoring.source.columns,
        wanted=scoring.source.wanted,
        taken=scoring.taken,
        schema=scoring.schema,
        written=scoring.schema,
        folder=str(tmp_path / "parts"),
        tasks=(((1, None),), ((1, [0]),)),
    )
    assert spark.scoring_of(job) is spark.scoring_of(job)
    numbers = pa.record_batch({"id": pa.array([0, 1], pa.int64())})
    with pytest.raises(TrainerError, match=r"A worker on .* doesn't see .*parts"):
        list(spark.score_tasks(job, iter([numbers])))
    (tmp_path / "parts").mkdir()
    told = [batch.to_pylist()[0] for batch in spark.score_tasks(job, iter([numbers]))]
    assert [(one["number"], one["rows"]) for one in told] == [(0, 77), (1, 50)]
    assert [pq.read_metadata(tmp_path / "parts" / one["part"]).num_rows for one in told] == [77, 50]


def test_a_session_starts_the_processes_of_a_fit(spark_session: Any, run: Path, tmp_path: Path) -> None:
    """PySpark's launcher, as docs/scale.md has it; the fit's own tests are in training/test_distributed.py."""
    from pyspark.ml.torch.distributor import TorchDistributor

    def fit_and_look(*what: Any) -> tuple[Any, list[str]]:  # in here, so that it's sent, not imported
        results = fit_run(*what)
        return results, [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]

    distributor = TorchDistributor(num_processes=2, local_mode=True, use_gpu=False)
    found, threads = distributor.run(
        fit_and_look, load_stage(run / "config.yaml"), run.parent / "marts", tmp_path / "shared"
    )
    assert found["splits"].keys() == {"val", "test"}
    # A thread that gloo left would abort the process at its end, now and then.
    assert threads and not [name for name in threads if "gloo" in name]
    assert read_json(tmp_path / "shared" / "lineage.json")["processes"] == 2
