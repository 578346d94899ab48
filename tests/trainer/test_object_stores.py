"""Marts, runs, vectors, inputs and outputs behind URIs, through the commands and `load_run`, on a real S3 server."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from embeddings import EmbeddingsError, VectorStore
from embeddings.cli import app as embeddings_app
from embeddings.finding import stores
from storage import object_stores, places, remote
from storage.uris import RemoteError
from tests.s3 import BUCKET, S3, environment
from tests.trainer.serving.scoring import rows_of
from tests.trainer.toy_log import make_log, write_log
from trainer import load_run
from trainer.base.errors import TrainerError
from trainer.cli import main
from trainer.contract.read import read_contract
from trainer.inputs.vectors import vectors_hashes
from trainer.run.directory import fit_run

OF_THE_FIT = ("config.yaml", "features.json", "weights.safetensors", "metrics.json", "predictions.parquet")
URI = f"s3://{BUCKET}"


def trainer(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """The command, in this process: others would each import torch, and draw their first report."""
    out, err = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["trainer", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    done = subprocess.CompletedProcess(arguments, ended.value.code or 0, out.getvalue(), err.getvalue())
    assert done.returncode == code, done.stdout + done.stderr
    assert str(places.cache_root()) not in done.stdout + done.stderr
    return done


def words(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join(done.stderr.replace("│", " ").split())


@pytest.fixture
def s3(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    environment(s3_server, monkeypatch)
    monkeypatch.setattr(object_stores, "WAITS", (0.01,))
    monkeypatch.setattr(object_stores, "ATTEMPTS", 1)
    object_stores._opened.cache_clear()
    places._given.clear()
    s3_server.empty()
    return s3_server


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit's own report takes most of the time of a fit this small; one is drawn by `trainer report`."""
    monkeypatch.setattr("trainer.run.directory._write_report", lambda *_: None)


@pytest.fixture
def trees(stage: Any, tmp_path: Path) -> Path:
    path = tmp_path / "trees.yaml"
    path.write_text(json.dumps(stage("00_gbdt", max_iter=10).model_dump()))
    return path


def test_a_fit_and_a_score_by_uris_equal_local_ones(s3: S3, toy: Any, trees: Path, tmp_path: Path) -> None:
    marts = toy(900, days=6).write(tmp_path / "marts" / "toy")
    s3.put(marts, "marts/toy")
    s3.client.put_object(Bucket=BUCKET, Key="marts/toy/training_examples_v0/event_date=2026-01-01/x.parquet", Body=b"?")
    trainer("fit", "--stage", trees, "--marts", marts, "--run", "here")
    secret = quote(s3.secret, safe="")
    given = f"s3://{s3.key}:{secret}@{BUCKET}/marts/toy?region=us-east-1"
    with s3.faulty(lambda *_: None) as seen:
        fitted = trainer("fit", "--stage", trees, "--marts", given, "--run", f"{URI}/runs/there")
    assert f"Wrote {URI}/runs/there" in fitted.stderr
    assert not [where for method, where in seen if "_v0/" in where.split("?")[0] and method == "GET"]
    puts = [where.split("?")[0] for method, where in seen if method in ("PUT", "POST") and "/runs/" in where]
    assert puts[-1].endswith("/runs/there/DONE")

    files = {key: s3.read(key) for key in s3.keys("runs/there")}
    for name in OF_THE_FIT:
        assert files[f"runs/there/{name}"] == (tmp_path / "here" / name).read_bytes(), name
    lineage = json.loads(files["runs/there/lineage.json"])
    assert lineage["marts"] == f"{URI}/marts/toy"
    assert f"--marts {URI}/marts/toy --run" in lineage["command"]
    for name, content in files.items():
        for never in (s3.secret, secret, s3.key, "region=us-east", str(places.cache_root())):
            assert never.encode() not in content, (name, never)
    assert s3.secret not in fitted.stdout + fitted.stderr

    trainer("evaluate", "--run", f"{URI}/runs/there")
    s3.put(tmp_path / "here", "runs/here")
    trainer("compare", f"{URI}/runs/here", f"{URI}/runs/there", "--resamples", "20")
    trainer("report", "--runs", f"{URI}/runs/there", "--runs", "here", "--output", f"{URI}/report.html")
    assert len(s3.read("report.html")) > 10_000

    rows = rows_of(marts)
    for k in range(3):
        part = tmp_path / "rows" / f"day={k}" / "x.parquet"
        part.parent.mkdir(parents=True)
        pq.write_table(rows.slice(k * 300, 300), part)
    s3.put(tmp_path / "rows", "rows")
    trainer("score", "--run", "here", "--input", "rows", "--output", "scored.parquet", "--partition", "day")
    there = ["--run", f"{URI}/runs/there", "--input", f"{URI}/rows", "--output", f"{URI}/scored.parquet"]
    done = trainer("score", *there, "--partition", "day")
    assert f"Wrote {URI}/scored.parquet: 900 rows" in words(done)
    assert s3.read("scored.parquet") == (tmp_path / "scored.parquet").read_bytes()
    assert "exists already" in words(trainer("score", *there, code=2))

    run = load_run(f"{URI}/runs/there")
    np.testing.assert_array_equal(run.predict(rows), load_run(tmp_path / "here").predict(rows))


def test_a_run_that_cannot_be_uploaded_is_kept_and_a_half_uploaded_one_is_none(
    s3: S3, toy: Any, trees: Path, tmp_path: Path
) -> None:
    s3.put(toy(900, days=6).write(tmp_path / "marts"), "marts")
    fit = ["fit", "--stage", trees, "--marts", f"{URI}/marts", "--run", f"{URI}/run"]
    refuse = lambda method, where: 403 if method in ("PUT", "POST") and "/run/metrics" in where else None  # noqa: E731
    with s3.faulty(refuse):
        said = words(trainer(*fit, code=2))
    assert f"{URI}/run/metrics.json can't be written" in said and "with --resume only uploads it" in said
    assert "run/DONE" not in s3.keys("run/")
    if s3.keys("run/"):
        assert "isn't a finished run" in words(trainer(*fit, code=2))
    assert f"{URI}/run isn't a finished run" in words(
        trainer("score", "--run", f"{URI}/run", "--input", f"{URI}/marts", "--output", "out", code=2)
    )
    resumed = trainer(*fit, "--resume", "--json")
    assert json.loads(resumed.stdout) == json.loads(s3.read("run/metrics.json"))
    assert load_run(f"{URI}/run").metrics["stage"] == "00_gbdt"
    assert "is a finished run" in words(trainer(*fit, code=2))


def test_an_input_that_vanishes_ends_a_score_and_nothing_is_written(
    s3: S3, toy: Any, stage: Any, tmp_path: Path
) -> None:
    marts = toy(900, days=6).write(tmp_path / "marts")
    fit_run(stage("00_gbdt", max_iter=5), marts, tmp_path / "run")
    rows = rows_of(marts)
    for k in range(4):
        pq.write_table(rows.slice(k * 200, 200), tmp_path / f"part{k}.parquet")
        s3.put(tmp_path / f"part{k}.parquet", f"rows/part{k}.parquet")

    def delete_the_last(method: str, where: str) -> None:
        if "part0" in where:
            s3.delete("rows/part3.parquet")

    score = ["score", "--run", "run", "--input", f"{URI}/rows", "--output", f"{URI}/out.parquet"]
    with s3.faulty(delete_the_last):
        said = words(trainer(*score, code=2))
    assert f"{URI}/rows/part3.parquet was listed and is gone since" in said
    assert s3.keys("out") == []
    trainer(*score)
    assert pq.read_table(pa.BufferReader(s3.read("out.parquet"))).num_rows == 600


def test_a_mart_that_lacks_a_file_or_is_published_meanwhile_is_noticed(s3: S3, toy: Any, tmp_path: Path) -> None:
    marts = toy(900, days=6).write(tmp_path / "marts")
    s3.put(marts, "marts")
    files = [key for key in s3.keys("marts/training_examples_v1") if key.endswith(".parquet")]
    before = read_contract(f"{URI}/marts")
    assert before.n_rows == 900 and len(before.files) == len(files)

    other = toy(500, seed=2, days=6).write(tmp_path / "other")
    times: list[int] = []

    def publish(method: str, where: str) -> None:
        if method == "GET" and where.endswith(".parquet") and not times:
            times.append(1)
            for key in s3.keys("marts/"):
                s3.delete(key)
            s3.put(other, "marts")

    (places.cache_root() / "objects").rename(tmp_path / "forgotten")
    remote._have.clear()
    with s3.faulty(publish):
        after = read_contract(f"{URI}/marts")
    assert times and after.n_rows == 500
    s3.delete(next(key for key in s3.keys("marts/") if key.endswith(".parquet")))
    with pytest.raises(TrainerError, match=f"{URI}/marts/training_examples_v1: the build record counts 500 rows"):
        read_contract(f"{URI}/marts")


def test_vectors_are_read_and_added_to_by_uri(s3: S3, rich: Any, vectors: Any, stage: Any, tmp_path: Path) -> None:
    here, there = vectors(tmp_path / "vectors"), f"{URI}/vectors"
    (local,) = stores(here)
    ids = local.text_ids()
    parts = [(part, local.load(part)[0]) for part in (ids[:-2], ids[-2:-1], ids[-1:])]
    with VectorStore.writer(there, local.recipe, local.dim) as held:
        held.append(*parts[0])
    manifest = f"vectors/{local.path.name}/manifest.json"
    others = s3.keys("vectors/")
    assert manifest in others and len(others) == 2
    overtaken = pytest.raises(EmbeddingsError, match=f"Another run wrote the store {there}")
    with overtaken, VectorStore.writer(there, local.recipe, local.dim) as held:
        held.append(*parts[1])
        s3.client.put_object(Bucket=BUCKET, Key=manifest, Body=s3.read(manifest) + b" ")  # another machine's
    assert s3.keys("vectors/") == others
    with VectorStore.writer(there, local.recipe, local.dim) as held:
        assert held.has(ids[-2:]).tolist() == [True, False]  # what was made before is kept
        held.append(*parts[2])

    (found,) = stores(there)
    np.testing.assert_array_equal(found.load(ids)[0], local.load(ids)[0])
    seen_by_uri = places.local(there)
    assert vectors_hashes(seen_by_uri, [local.path.name], ids) == vectors_hashes(here, [local.path.name], ids)

    marts = rich(900).write(tmp_path / "marts")
    fit_run(stage("04_semantic", epochs=1), marts, tmp_path / "run", vectors=seen_by_uri)
    lineage = json.loads((tmp_path / "run" / "lineage.json").read_text())
    assert lineage["vectors"] == there
    expected = load_run(tmp_path / "run", vectors=here).predict(rows_of(marts))
    np.testing.assert_array_equal(load_run(tmp_path / "run").predict(rows_of(marts)), expected)


def test_file_uris_are_local_paths_with_spaces_and_any_letter(toy: Any, trees: Path, tmp_path: Path) -> None:
    marts = toy(900, days=6).write(tmp_path / "my 100% marts 品")
    uri = marts.as_uri()
    assert "%20" in uri and "%25" in uri and "%E5" in uri
    run = tmp_path / "a run"
    trainer("fit", "--stage", trees, "--marts", uri, "--run", run.as_uri())
    assert json.loads((run / "lineage.json").read_text())["marts"] == str(marts)
    rows = tmp_path / "some rows.parquet"
    pq.write_table(rows_of(marts), rows)
    trainer("score", "--run", run.as_uri(), "--input", rows.as_uri(), "--output", (tmp_path / "o p.parquet").as_uri())
    assert pq.read_table(tmp_path / "o p.parquet").num_rows == 900
    assert load_run(run.as_uri()).scenes


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["fit", "--stage", "01_dnn", "--marts", "ftp://me:pa55@host/x", "--run", "r"], "ftp:// can't be read"),
        (["fit", "--stage", "01_dnn", "--marts", "m", "--run", "https://me:pa55@host/x"], "https:// can't be read"),
        (["export", "--run", "r", "--output", "s3://me:pa55@bucket/x.onnx"], "s3://bucket/x.onnx is no path of this"),
        (["importance", "--run", "s3://bucket/run"], "is no path of this machine"),
    ],
)
def test_what_cannot_be_a_uri_is_refused_in_words(arguments: list[str], said: str) -> None:
    found = words(trainer(*arguments, code=2))
    assert said in found and "pa55" not in found


def test_load_run_refuses_another_scheme() -> None:
    with pytest.raises(RemoteError, match="Expected a local path"):
        load_run("ftp://host/run")


def test_a_space_is_made_from_a_mart_and_into_a_store_by_uri(s3: S3, tmp_path: Path) -> None:
    marts = write_log(make_log(500), tmp_path / "marts")
    s3.put(marts, "all/marts")
    said = {}
    for of, vectors in ((marts, tmp_path / "vectors"), (f"{URI}/all", f"{URI}/vectors")):
        build = ["build", "--marts", of, "--vectors", vectors, "--encoder", "cooccurrence", "--dim", "8", "--json"]
        done = CliRunner().invoke(embeddings_app, list(map(str, build)))
        assert done.exit_code == 0, done.output
        said[vectors] = json.loads(done.stdout)
    (local,), (there,) = stores(tmp_path / "vectors"), stores(f"{URI}/vectors")
    assert said[f"{URI}/vectors"]["store"] == f"{URI}/vectors/{local.path.name}"
    np.testing.assert_array_equal(there.load(local.text_ids())[0], local.load(local.text_ids())[0])
    refused = CliRunner().invoke(embeddings_app, ["build", "--marts", "ftp://me:pa55@host/x"])
    assert refused.exit_code == 2 and "ftp://" in refused.output and "pa55" not in refused.output
    gone = CliRunner().invoke(embeddings_app, ["build", "--marts", "s3://nowhere/x", "--encoder", "cooccurrence"])
    assert gone.exit_code == 2 and "There is no bucket nowhere" in " ".join(gone.output.split())
