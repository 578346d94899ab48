"""Score rows that no mart was checked for: Parquet in, Parquet out, a block at a time.

A row needs the columns that the run's inputs are made of, by the names and types of the contract it was trained with.
Ids, categories and texts that training never saw are fine; a scene that it didn't know is an error, since no head of
the model is right for it. Legend: B rows of a block.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage import atomic, remote
from storage.ahead import ahead
from storage.places import is_remote, shown
from trainer.base.errors import TrainerError, nearest
from trainer.base.files import read_json
from trainer.base.paging import peak_rss_mib
from trainer.base.progress import progress
from trainer.base.readable import readable
from trainer.columns.sequences import OutcomeIndex
from trainer.columns.store import Columns
from trainer.config import load_stage
from trainer.contract.read import build_in, one_build
from trainer.contract.schema import Column
from trainer.evaluation.calibration import Calibration
from trainer.inputs.table import BLOCK, RequiredColumns, block_columns
from trainer.run.integrity import check_finished
from trainer.run.provenance import vectors_of
from trainer.serving.history import History, open_history
from trainer.serving.source import Source, open_parquet, open_source
from trainer.training.fitted import Fitted
from trainer.training.loop import determinism, sigmoid
from trainer.training.placebo import refuse_placebo


@dataclass(frozen=True)
class Model:
    """A finished run, ready to score.

    required: the columns it reads. contract: those of the mart it was trained on. outcomes: of the users, for a run
    that reads them (`with_history`).
    """

    fitted: Fitted
    calibration: Calibration | None
    required: RequiredColumns
    contract: tuple[Column, ...]
    outcomes: OutcomeIndex | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.contract if c.role == "key")

    @classmethod
    def load(cls, run: Path, vectors: Path | None = None) -> Model:
        """Raises: TrainerError for a run that isn't finished, is damaged, or is a placebo."""
        check_finished(run)
        stage = load_stage(run / "config.yaml")
        refuse_placebo(stage, "score rows")
        with readable(run), determinism(stage.threads):
            came_from = read_json(run / "lineage.json")
            fitted = Fitted.load(run, stage, vectors or vectors_of(run))
            columns = tuple(Column(**c) for c in came_from["columns"])
            required = RequiredColumns.of(fitted.inputs, columns, came_from["variables"])
            return cls(fitted, Calibration.load(run), required, columns)

    def with_history(self, history: History | None, users: Callable[[], pa.Array] | None = None) -> Model:
        """The model with its users' outcomes, if it reads any.

        users: whose outcomes are wanted; None for all users'.
        Raises: TrainerError where the model reads outcomes and none are given, or the other way round.
        """
        reads = bool(self.fitted.inputs.window)
        if reads and history is None:
            raise TrainerError(
                f"{self.fitted.stage.stage} reads what is known of the users' outcomes, and no history is given. Name "
                "a mart (data/marts/<dataset>/training_examples_v2) or Parquet with the contract's columns, label and "
                "known_at among them: --history, or load_run(..., history=...)."
            )
        if history is None:
            return self
        if not reads:
            raise TrainerError(f"{self.fitted.stage.stage} reads no outcomes of users. Leave the history out.")
        required = self.required.of_history(self.contract)
        return replace(self, outcomes=open_history(history, required, self.fitted.inputs.scenes, users))

    def probabilities(self, table: pa.Table, where: str) -> np.ndarray:
        """Shapes: a table of B rows with the required columns -> (B,), float64. `where` names the rows in errors."""
        columns = self.block(table, where)
        logits_B = self.fitted.logits(columns, np.arange(len(table)), outcomes=self.outcomes)
        return self.calibrated(logits_B, columns.scene_N)

    def block(self, table: pa.Table, where: str) -> Columns:
        """The rows as a column store in memory."""
        for space in (self.fitted.inputs.texts, self.fitted.inputs.llm):
            if space is not None:
                space.forget(str(BLOCK))  # every block has a list of texts of its own
        return block_columns(table, self.required, self.fitted.inputs.scenes, where)

    def calibrated(self, logits_B: np.ndarray, scene_B: np.ndarray) -> np.ndarray:
        """Shapes: logits, and positions in the run's scenes -> probabilities, (B,), float64."""
        if self.calibration:
            logits_B = self.calibration(logits_B, scene_B, self.fitted.inputs.scenes)
        return sigmoid(logits_B)


@dataclass(frozen=True)
class Scoring:
    """Rows on their way to probabilities: one code path for every engine.

    taken: the columns that are passed on. schema: of what is written, `taken` and `probability`. build: of the mart
    that the rows are, empty where they are none.
    """

    source: Source
    model: Model
    taken: tuple[str, ...]
    schema: pa.Schema
    build: str

    @classmethod
    def of(
        cls, run: Path, source: Path, keep: tuple[str, ...], vectors: Path | None, partitions: tuple[str, ...]
    ) -> Scoring:
        """Find the files and load the run. Raises: TrainerError as `score_file`."""
        build = build_in(source)
        with one_build(source, build):
            found = open_source(source, partitions)
        model = Model.load(run, vectors)
        found = replace(found, columns=model.required.columns, wanted=(*model.keys, *keep))
        with one_build(source, build):
            files, first = found.files, found.schema(found.files[0])
        taken = tuple(name for name in dict.fromkeys((*model.keys, *keep)) if name in first.names)
        for name in keep:
            if name not in first.names:
                raise TrainerError(
                    f"--keep {name}: {files[0]} has no such column{nearest(name, first.names)}."
                    f"{found.hint(files[0], name)}"
                )
        if "probability" in taken:
            raise TrainerError("--keep probability: that is the name of the column written here. Rename the input's.")
        schema = pa.schema([*(first.field(name) for name in taken), pa.field("probability", pa.float64())])
        return cls(found, model, taken, schema, build)

    def with_history(self, history: Path | None) -> Scoring:
        """With the outcomes of the users of these rows, for a run that reads outcomes."""
        with one_build(self.source.place, self.build):
            model = self.model.with_history(history, lambda: _users(self.source, self.model))
        return replace(self, model=model)

    def check(self, path: Path) -> None:
        """Raises: TrainerError where a file lacks a column, or has it in another type than the first one."""
        _check(self.source.schema(path), self.schema, self.model, self.source, path)

    def blocks(self, path: Path, row_groups: list[int] | None = None) -> Iterator[pa.Table]:
        """What is written of a file, a block of rows at a time. row_groups: those alone."""
        for table in self.source.blocks(path, [*self.taken, *self.model.required.names], row_groups):
            probability_B = self.model.probabilities(table, str(path))
            kept = [table[name] for name in self.taken]
            yield pa.table([*kept, pa.array(probability_B)], schema=self.schema)


def score_file(
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
    """Score a Parquet file, or every Parquet file below a folder, into one Parquet file.

    The output holds the key columns that the input has, those in `keep`, and `probability` (float64), in the order of
    the input: of a folder, file by file in the order of their paths. It is written atomically. `partitions` are
    columns that stand in the names of folders (`scene=home/`). history: where the users' outcomes are, for a run that
    reads them: a mart, or Parquet.
    Returns rows, files, left_out (the files that weren't read, with the reason), notes, seconds, rows_per_second,
    peak_rss_mib, output.
    Raises: TrainerError naming the column that is missing or has another type, or the scene that is unknown;
    MartReplacedError where the input is a mart and `dbt build` published it anew meanwhile.
    """
    refuse_existing(output, force)
    started = time.perf_counter()
    scoring = Scoring.of(run, source, keep, vectors, partitions).with_history(history)
    files, rows, in_both = scoring.source.files, 0, dict[str, Path]()
    with (
        atomic.file(output) as aside,
        one_build(source, scoring.build),
        pq.ParquetWriter(aside, scoring.schema) as writer,
        progress() as bar,
        ExitStack() as stack,
    ):
        # Of files behind a URI the next one is fetched while one is scored; none is fetched before just for its rows.
        total = None if is_remote(source) else sum(n_rows(path) for path in files)
        task = bar.add_task("Scoring", total=total, note="")
        coming = stack.enter_context(closing(ahead(remote.need, files, depth=1))) if is_remote(source) else files
        for path in coming:
            scoring.check(path)
            in_both |= {name: path for name in scoring.source.in_both(path) if name not in in_both}
            for table in scoring.blocks(path):
                writer.write_table(table)
                rows += len(table)
                bar.update(task, advance=len(table))
            remote.release(path)
    remote.upload(output)
    return summary_of(scoring, output, rows, in_both, time.perf_counter() - started)


def refuse_existing(output: Path, force: bool) -> None:
    """Raises: TrainerError where there is an output already."""
    if remote.exists(output) and not force:
        raise TrainerError(f"{output} exists already. Name another file with --output, or replace it with --force.")


def summary_of(scoring: Scoring, output: Path, rows: int, in_both: dict[str, Path], seconds: float) -> dict[str, Any]:
    """What `score_file` returns. in_both: declared columns that a file has itself, with the file."""
    return {
        "rows": rows,
        "files": len(scoring.source.files),
        "left_out": [{"path": one.path, "reason": one.reason} for one in scoring.source.left_out],
        "notes": [
            f"{name}: the column in {shown(path)} was read, not its folder's name." for name, path in in_both.items()
        ],
        "seconds": round(seconds, 3),
        "rows_per_second": round(rows / seconds),
        "peak_rss_mib": peak_rss_mib(),
        "output": shown(output),
    }


def _check(found: pa.Schema, written: pa.Schema, model: Model, source: Source, path: Path) -> None:
    missing = next((name for name in model.required.names if name not in found.names), None)
    try:
        model.required.check(found, str(path))
    except TrainerError as error:
        raise TrainerError(f"{error}{source.hint(path, missing) if missing else ''}") from None
    for field in written:
        if field.name != "probability" and (
            field.name not in found.names or found.field(field.name).type != field.type
        ):
            has = found.field(field.name).type if field.name in found.names else "missing"
            raise TrainerError(f"{path}: column {field.name} is {has}; in the first file it is {field.type}.")


def _users(found: Source, model: Model) -> pa.Array:
    """Whose rows are to be scored."""
    name, values = model.required.ids["user"], [pa.array([], pa.string())]
    for path in found.files:
        model.required.check(found.schema(path), str(path))
        values += [pc.unique(table[name].cast(pa.string())) for table in found.blocks(path, [name])]
    return pc.unique(pa.concat_arrays(values))


def n_rows(path: Path) -> int:
    with open_parquet(path) as file:
        return file.metadata.num_rows
