"""`trainer score --engine spark`: the rows of any number of files, by the workers of a Spark session, into a folder.

A task is a part of the input, in order: files, or row groups of one. A Python worker loads the run once and scores its
tasks with the code that scores locally (score.Scoring), in the same blocks of rows: which rows are multiplied together
may change the last bit of a probability. So the output is that of a local score to the last bit, and in its order: the
parts, by their names, hold the rows of the tasks. A worker writes a task's part itself and tells Spark its name, so no
row goes through the JVM.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from storage import atomic, remote
from storage.places import is_remote, local, shown
from storage.spark import TASKS_PER_CORE, Batches, a_session, by_workers, check_writable, why
from trainer.base.errors import TrainerError
from trainer.base.progress import working
from trainer.contract.read import one_build
from trainer.contract.schema import Column
from trainer.run.provenance import vectors_of
from trainer.serving.score import Model, Scoring, n_rows, refuse_existing, summary_of
from trainer.serving.source import Source, open_parquet
from trainer.training.loop import PREDICT_BATCH

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DONE = "_SUCCESS"  # as Spark names it: all parts are there
_ROWS = 1 << 20  # of a task at most, about
_WIDER = {pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64(), pa.large_string(): pa.string()}

_PART = pa.schema([("number", pa.int64()), ("part", pa.string()), ("rows", pa.int64())])

Piece = tuple[int, list[int] | None]  # a file by its number, and its row groups; None for all


@dataclass(frozen=True)
class Job:
    """What a worker needs, with paths as text: those behind a URI it fetches by itself."""

    token: str
    run: str
    vectors: str
    history: str | None
    place: str
    files: tuple[str, ...]
    declared: tuple[str, ...]
    columns: dict[str, Column]
    wanted: tuple[str, ...]
    taken: tuple[str, ...]
    schema: pa.Schema
    written: pa.Schema
    folder: str
    tasks: tuple[tuple[Piece, ...], ...]


def score_on_spark(
    run: Path,
    source: Path,
    output: Path,
    *,
    keep: tuple[str, ...] = (),
    vectors: Path | None = None,
    history: Path | None = None,
    force: bool = False,
    partitions: tuple[str, ...] = (),
) -> dict[str, Any]:
    """As `score_file`, by the active Spark session or a new one, into a folder of Parquet files with `_SUCCESS`.

    The folder appears when it is whole. Run, vectors, input and output are where every worker sees them, or URIs.
    Raises: TrainerError as `score_file`, and for a column that Spark can't hold.
    """
    refuse_existing(output, force)
    if output.is_file():
        raise TrainerError(f"{output} is a file; --engine spark writes a folder. Name another, or remove it.")
    started = time.perf_counter()
    scoring = Scoring.of(run, source, keep, vectors, partitions).with_history(history)
    found, written = scoring.source, for_spark(scoring.schema)
    with one_build(source, scoring.build), a_session("trainer score") as spark:
        check_writable(spark, "--output", output, TrainerError)
        in_both = dict[str, Path]()
        if not is_remote(source):
            for path in found.files:
                scoring.check(path)
                in_both |= {name: path for name in found.in_both(path) if name not in in_both}
        job = Job(
            token=uuid4().hex,
            run=_text(run),
            vectors=_text(vectors or vectors_of(run)),
            history=None if history is None else _text(history),
            place=_text(found.place),
            files=tuple(map(_text, found.files)),
            declared=found.declared,
            columns=found.columns,
            wanted=found.wanted,
            taken=scoring.taken,
            schema=scoring.schema,
            written=written,
            folder="",
            tasks=tasks_of(found, spark.sparkContext.defaultParallelism),
        )
        expected = None if is_remote(source) else sum(n_rows(path) for path in found.files)
        with atomic.folder(output) as aside:
            with working("Scoring on Spark"):
                _write(spark, replace(job, folder=str(aside.absolute())))
            rows = _check_rows(aside, expected)
    remote.upload(output, DONE)
    return summary_of(scoring, output, rows, in_both, time.perf_counter() - started)


def tasks_of(source: Source, cores: int) -> tuple[tuple[Piece, ...], ...]:
    """The input in parts for about `cores` workers, in order. Files behind a URI are whole, since none is read here.

    A file is cut only between row groups, and only after a whole number of blocks, so that each block has the rows
    that it has locally.
    """
    if is_remote(source.place):
        return tuple(((k, None),) for k in range(len(source.files)))
    sizes = []
    for path in source.files:
        with open_parquet(path) as file:
            groups = range(file.metadata.num_row_groups)
            sizes.append([file.metadata.row_group(g).num_rows for g in groups])
    total = sum(map(sum, sizes))
    enough = min(_ROWS, max(PREDICT_BATCH, -(-total // (TASKS_PER_CORE * cores))))
    tasks: list[tuple[Piece, ...]] = []
    open_task: list[Piece] = []
    n_open = 0
    for k, of_file in enumerate(sizes):
        piece: list[int] = []
        before = 0
        for group, n in enumerate(of_file):
            piece.append(group)
            before, n_open = before + n, n_open + n
            if n_open >= enough and before % PREDICT_BATCH == 0 and group + 1 < len(of_file):
                tasks.append((*open_task, (k, piece)))
                open_task, piece, n_open = [], [], 0
        open_task.append((k, piece))
        if n_open >= enough:
            tasks.append(tuple(open_task))
            open_task, n_open = [], 0
    return (*tasks, tuple(open_task)) if open_task else tuple(tasks)


def for_spark(schema: pa.Schema) -> pa.Schema:
    """The schema in types that Spark has. Raises: TrainerError naming a column that it can't hold."""
    from pyspark.sql.pandas.types import from_arrow_type

    fields = []
    for field in schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        kind = _WIDER.get(kind, pa.string() if pa.types.is_string_view(kind) else kind)
        if pa.types.is_timestamp(kind):
            kind = pa.timestamp("us", kind.tz)
        try:
            from_arrow_type(kind)
        except Exception as error:  # each kind of type has another one
            raise TrainerError(
                f"Column {field.name} is {field.type}, which Spark can't hold ({error}). Cast it in the input, leave "
                "it out of --keep, or score without --engine spark."
            ) from None
        fields.append(pa.field(field.name, kind))
    return pa.schema(fields)


def scoring_of(job: Job) -> Scoring:
    """In a worker: the run, loaded once."""
    if job.token not in _loaded:
        model = Model.load(local(job.run), local(job.vectors))
        model = model.with_history(None if job.history is None else local(job.history))
        files = tuple(map(local, job.files))
        source = Source(local(job.place), files, (), job.declared, job.columns, job.wanted)
        _loaded.clear()
        _loaded[job.token] = Scoring(source, model, job.taken, job.schema, "")
    return _loaded[job.token]


_loaded: dict[str, Scoring] = {}


def score_tasks(job: Job, numbers: Batches) -> Batches:
    """In a worker: write what is scored of the tasks with these numbers; the name and the rows of each one's part.

    A task that is tried again writes another part, so a part that is named is whole.
    """
    for batch in numbers:
        for number in batch.column(0).to_pylist():
            scoring, rows, name = scoring_of(job), 0, f"part-{number:05d}-{uuid4()}.parquet"
            if not Path(job.folder).is_dir():
                raise TrainerError(
                    f"A worker on {socket.gethostname()} doesn't see {job.folder}. Name an --output that all workers "
                    "see."
                )
            with pq.ParquetWriter(Path(job.folder) / name, job.written) as writer:
                for file, row_groups in job.tasks[number]:
                    path = scoring.source.files[file]
                    scoring.check(path)
                    for table in scoring.blocks(path, row_groups):
                        writer.write_table(table.cast(job.written))
                        rows += len(table)
                    remote.release(path)
            yield pa.record_batch([[number], [name], [rows]], schema=_PART)


def _text(path: Path) -> str:
    return shown(path) if is_remote(path) else str(path.absolute())


def _write(spark: SparkSession, job: Job) -> None:
    """Let the workers write the parts."""

    def work(numbers: Batches) -> Batches:
        return score_tasks(job, numbers)

    n = len(job.tasks)
    try:
        parts = {row["number"]: row["part"] for row in by_workers(spark, n, work, _PART).collect()}
    except Exception as error:  # one of several of Spark's
        raise TrainerError(why(error)) from None
    _finish(Path(job.folder), set(parts.values()), n)


def _finish(folder: Path, parts: set[str], n: int) -> None:
    """Leave the parts that were named alone in the folder, and `_SUCCESS`. Raises: TrainerError where they aren't n."""
    there = {path.name for path in folder.iterdir()}
    if len(parts & there) < n:
        raise TrainerError(
            f"Of {n} parts that the workers wrote, {n - len(parts & there)} aren't in {folder}. If they are on other "
            "machines, name an --output that all of them see."
        )
    for name in there - parts:  # of tasks that failed and were tried again
        (folder / name).unlink()
    (folder / DONE).touch()


def _check_rows(folder: Path, expected: int | None) -> int:
    """The rows that were written. Raises: TrainerError where those aren't all."""
    rows = sum(n_rows(path) for path in folder.glob("*.parquet"))
    if expected is not None and rows != expected:
        raise TrainerError(
            f"The workers wrote {rows:,} of {expected:,} rows: the input changed meanwhile. Score again."
        )
    return rows
