"""`embeddings build --engine spark` against the local build: the same files, appended when all are there."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from embeddings import EmbeddingsError, Encoder, read_texts
from embeddings.build import build
from embeddings.cli import app
from embeddings.spark import Job, OnSpark, encode_tasks

TITLES = [f"film number {i} " + "ab" * (i % 23) for i in range(300)]


def files(root: Path) -> dict[str, str]:
    """Every file of a store with a hash, by its path."""
    found = {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*")) if path.is_file()}
    return {name: hashlib.sha256(p.read_bytes()).hexdigest() for name, p in found.items() if p.name != ".lock"}


def test_the_store_is_that_of_a_local_build(
    spark_session: Any, write_mart: Any, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the command; then what is new is added."""
    from typer.testing import CliRunner

    monkeypatch.chdir(tiny_folder.parent)  # the encoder's name is a path from here
    for name, texts in (("first", TITLES[:200]), ("then", TITLES)):
        marts = write_mart(texts, name=name)
        for where, more in (("here", []), ("there", ["--engine", "spark"])):
            arguments = ["build", "--marts", str(marts), "--encoder", "tiny", "--dtype", "fp32", "--shard-texts", "40"]
            done = CliRunner().invoke(app, [*arguments, "--vectors", str(tmp_path / where), "--json", *more])
            assert done.exit_code == 0, done.output
            said = json.loads(done.stdout)
            assert (said["n_encoded"], said["n_shards"]) == ((200, 5) if name == "first" else (100, 3))
        assert files(tmp_path / "there") == files(tmp_path / "here")
    assert len(files(tmp_path / "here")) == 1 + 8


def test_what_a_worker_says_is_the_error_and_nothing_is_added(
    spark_session: Any, write_mart: Any, tiny_folder: Path, tmp_path: Path
) -> None:
    ready = Encoder.open(str(tiny_folder), dtype="fp32", threads=1)
    other = OnSpark({"name": str(tiny_folder), "threads": 1, "max_tokens": 9})  # as on a machine with another model
    with pytest.raises(EmbeddingsError, match=r"^A worker's encoder is \S+, the command's is \S+: expected the same"):
        build(read_texts(write_mart(TITLES)), ready, tmp_path / "vectors", encode=other)
    assert json.loads(next(tmp_path.glob("vectors/*/manifest.json")).read_text())["shards"] == []
    assert not [path for path in tmp_path.glob("vectors/*/.*") if path.name != ".lock"]


def test_an_encoder_is_opened_once_in_a_worker(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    ready, opened = Encoder.open(str(tiny_folder), dtype="fp32", threads=1), []
    monkeypatch.setattr(Encoder, "open", lambda **options: opened.append(options) or ready)
    rows = pa.table({"ids": [[1], [2, 3]], "texts": [["a film"], ["another", "one more"]]})
    pq.write_table(rows, tmp_path / "texts.parquet", row_group_size=1)
    job = Job("x", str(tmp_path), str(tmp_path / "texts.parquet"), {"name": "x"}, ready.recipe, (range(1), range(1, 2)))
    numbers = pa.record_batch({"id": pa.array([0, 1], pa.int64())})
    made = [batch.to_pylist()[0] for batch in encode_tasks(job, iter([numbers]))]
    assert [one["shard"] for one in made] == [0, 1] and opened == [{"name": "x"}]
    assert made[1]["vectors"] == ready.encode(["another", "one more"]).tobytes()
