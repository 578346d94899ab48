"""`embeddings build --engine spark`: the shards of a store, by the workers of a Spark session.

A task is some shards, in order; a Python worker opens the encoder once and encodes its shards with the code that does
it locally, in the same batches. So on processors of one kind the store holds the same files as a local build. Workers
write beside the store, and the shards go into it when all of them are there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from embeddings.build import Encoded, Progress, encode_here
from embeddings.encoder import Encoder
from embeddings.errors import EmbeddingsError
from embeddings.recipe import Recipe
from embeddings.texts import Texts
from storage import atomic
from storage.spark import TASKS_PER_CORE, Batches, a_session, by_workers, check_writable, why

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_ASKED = pa.schema([("ids", pa.list_(pa.int64())), ("texts", pa.list_(pa.string()))])
_MADE = pa.schema([("shard", pa.int64()), ("vectors", pa.binary()), ("n_cut", pa.int64()), ("n_tokens", pa.int64())])


@dataclass(frozen=True)
class Job:
    """What a worker needs. here: the folder in which the encoder's name means what it means to the command."""

    token: str
    here: str
    shards: str
    options: dict[str, Any]
    recipe: Recipe
    tasks: tuple[range, ...]


@dataclass(frozen=True)
class OnSpark:
    """Encodes as `build.encode_here` does, by the active Spark session or a new one.

    options: what `Encoder.open` was called with. Raises: EmbeddingsError, also with what a worker said.
    """

    options: dict[str, Any]

    def __call__(self, shards: list[Texts], encoder: Encoder, store: Path, progress: Progress) -> Generator[Encoded]:
        if not shards:
            return
        with atomic.workspace(store / "spark") as aside, a_session("embeddings build") as spark:
            check_writable(spark, "--vectors", store, EmbeddingsError)
            with pq.ParquetWriter(aside / "texts.parquet", _ASKED) as file:
                for shard in shards:  # a row group each, so that a worker reads its own alone
                    file.write_table(pa.table({"ids": [shard.ids], "texts": [shard.texts]}, schema=_ASKED))
            n_tasks = min(len(shards), TASKS_PER_CORE * spark.sparkContext.defaultParallelism)
            bounds = np.linspace(0, len(shards), n_tasks + 1).astype(int).tolist()
            options = self.options | {"dtype": encoder.recipe.dtype, "device": encoder.recipe.device}
            tasks = tuple(range(first, end) for first, end in pairwise(bounds))
            here, texts = str(Path.cwd()), str((aside / "texts.parquet").absolute())
            _write(spark, Job(uuid4().hex, here, texts, options, encoder.recipe, tasks), aside / "made")
            yield from _made(aside / "made", shards, encoder.dim, progress)


def _write(spark: SparkSession, job: Job, folder: Path) -> None:
    def work(numbers: Batches) -> Batches:
        return encode_tasks(job, numbers)

    try:
        rows = by_workers(spark, len(job.tasks), work, _MADE)
        rows.write.mode("overwrite").parquet(folder.absolute().as_uri())
    except Exception as error:  # one of several of Spark's
        raise EmbeddingsError(why(error)) from None


def encode_tasks(job: Job, numbers: Batches) -> Batches:
    """In a worker: a row for each shard of the tasks with these numbers."""
    for batch in numbers:
        for number in batch.column(0).to_pylist():
            encoder = _encoder(job)
            for shard in job.tasks[number]:
                with pq.ParquetFile(job.shards) as file:
                    (row,) = file.read_row_group(shard).to_pylist()
                (one,) = encode_here([_texts(row)], encoder, Path(job.shards), lambda n_texts, n_characters: None)
                vectors = np.ascontiguousarray(one.vectors_ND, np.float32).tobytes()
                values = [[shard], [vectors], [one.n_cut], [one.n_tokens]]
                yield pa.record_batch([pa.array(v, f.type) for v, f in zip(values, _MADE, strict=True)], schema=_MADE)


_opened: dict[str, Encoder] = {}


def _encoder(job: Job) -> Encoder:
    """In a worker: the encoder, opened once. Raises: EmbeddingsError where it isn't the command's."""
    if job.token not in _opened:
        with contextlib.chdir(job.here) if Path(job.here).is_dir() else contextlib.nullcontext():
            encoder = Encoder.open(**job.options)
        if encoder.recipe != job.recipe:
            raise EmbeddingsError(
                f"A worker's encoder is {encoder.recipe.key}, the command's is {job.recipe.key}: expected the same"
                " model, with the same settings, on every machine. Copy the model's folder there."
            )
        _opened.clear()
        _opened[job.token] = encoder
    return _opened[job.token]


def _texts(row: dict[str, Any]) -> Texts:
    nothing = np.zeros(len(row["ids"]), np.int64)
    return Texts(row["ids"], row["texts"], nothing, nothing, nothing, nothing)


def _made(folder: Path, shards: list[Texts], dim: int, progress: Progress) -> Iterator[Encoded]:
    """The shards that workers wrote, in order; the files of Spark, by their names, hold them so.

    Raises: EmbeddingsError where one is missing.
    """
    n = 0
    for path in sorted(folder.glob("part-*.parquet")):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1):
                (row,) = batch.to_pylist()
                if row["shard"] != n:
                    break
                shard = shards[n]
                vectors_ND = np.frombuffer(row["vectors"], np.float32).reshape(len(shard), dim)
                progress(len(shard), sum(map(len, shard.texts)))
                yield Encoded(shard.ids, vectors_ND, row["n_cut"], row["n_tokens"])
                n += 1
    if n != len(shards) or not (folder / "_SUCCESS").exists():
        raise EmbeddingsError(
            f"Spark wrote {n:,} of {len(shards):,} shards. If its workers are on other machines, name a folder for"
            " --vectors that all of them see. The same command goes on from there."
        )
