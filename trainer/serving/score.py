"""Score rows that no mart was checked for: Parquet in, Parquet out, a block at a time.

A row needs the columns that the run's inputs are made of, by the names and types of the contract it was trained with.
Ids, categories and texts that training never saw are fine; a scene that it didn't know is an error, since no head of
the model is right for it. Legend: B rows of a block.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from storage import atomic
from trainer.base.errors import TrainerError, nearest
from trainer.base.files import read_json
from trainer.base.paging import peak_rss_mib
from trainer.base.progress import progress
from trainer.base.readable import readable
from trainer.config import load_stage
from trainer.contract.read import build_in, one_build
from trainer.contract.schema import Column
from trainer.evaluation.calibration import Calibration
from trainer.inputs.table import RequiredColumns, block_columns
from trainer.run.integrity import check_finished
from trainer.run.provenance import vectors_of
from trainer.training.fitted import Fitted
from trainer.training.loop import PREDICT_BATCH, determinism, sigmoid
from trainer.training.placebo import refuse_placebo


@dataclass(frozen=True)
class Model:
    """A finished run, ready to score. required: the columns it reads; keys: the contract's key columns."""

    fitted: Fitted
    calibration: Calibration | None
    required: RequiredColumns
    keys: tuple[str, ...]

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
            return cls(fitted, Calibration.load(run), required, tuple(c.name for c in columns if c.role == "key"))

    def probabilities(self, table: pa.Table, where: str) -> np.ndarray:
        """Shapes: a table of B rows with the required columns -> (B,), float64. `where` names the rows in errors."""
        columns = block_columns(table, self.required, self.fitted.inputs.scenes, where)
        fitted = self.fitted
        spaces = {
            # Whitened vectors are kept once a list of texts, and every block has a list of its own.
            name: replace(space, _tables={})
            for name in ("texts", "llm")
            if (space := getattr(fitted.inputs, name)) is not None
        }
        fitted = replace(fitted, inputs=replace(fitted.inputs, **spaces))
        logits_B = fitted.logits(columns, np.arange(len(table)))
        if self.calibration:
            logits_B = self.calibration(logits_B, columns.scene_N, columns.scenes)
        return sigmoid(logits_B)


def score_file(
    run: Path, source: Path, output: Path, *, keep: tuple[str, ...] = (), vectors: Path | None = None,
    force: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Score a Parquet file, or every Parquet file below a folder, into one Parquet file.

    The output holds the key columns that the input has, those in `keep`, and `probability` (float64), in the order of
    the input: of a folder, file by file in the order of their paths. It is written aside and renamed.
    Returns rows, seconds, rows_per_second, peak_rss_mib.
    Raises: TrainerError naming the column that is missing or has another type, or the scene that is unknown;
    MartReplacedError where the input is a mart and `dbt build` published it anew meanwhile.
    """
    if output.exists() and not force:
        raise TrainerError(f"{output} exists already. Name another file with --output, or replace it with --force.")
    started = time.perf_counter()
    build = build_in(source)
    with one_build(source, build):
        files = _files(source)
        first = _schema(files[0], source)
    model = Model.load(run, vectors)
    taken = [name for name in dict.fromkeys((*model.keys, *keep)) if name in first.names]
    for name in keep:
        if name not in first.names:
            raise TrainerError(f"--keep {name}: {files[0]} has no such column{nearest(name, first.names)}.")
    if "probability" in taken:
        raise TrainerError("--keep probability: that is the name of the column written here. Rename the input's.")
    schema = pa.schema([*(first.field(name) for name in taken), pa.field("probability", pa.float64())])
    rows = 0
    with (
        atomic.file(output) as aside,
        one_build(source, build),
        pq.ParquetWriter(aside, schema) as writer,
        progress() as bar,
    ):
        total = sum(pq.read_metadata(path).num_rows for path in files)
        task = bar.add_task("Scoring", total=total, note="")
        for path in files:
            _check(_schema(path, source), schema, model, str(path))
            for table in _blocks(path, source, [*taken, *model.required.names]):
                probability_B = model.probabilities(table, str(path))
                kept = [table[name] for name in taken]
                writer.write_table(pa.table([*kept, pa.array(probability_B)], schema=schema))
                rows += len(table)
                bar.update(task, advance=len(table))
    seconds = time.perf_counter() - started
    return {
        "rows": rows, "files": len(files), "seconds": round(seconds, 3), "rows_per_second": round(rows / seconds),
        "peak_rss_mib": peak_rss_mib(), "output": str(output),
    }  # fmt: skip


def _check(found: pa.Schema, written: pa.Schema, model: Model, where: str) -> None:
    """Raises: TrainerError where a file of a folder lacks a column, or has it in another type than the first one."""
    model.required.check(found, where)
    for field in written:
        if field.name != "probability" and (
            field.name not in found.names or found.field(field.name).type != field.type
        ):
            has = found.field(field.name).type if field.name in found.names else "missing"
            raise TrainerError(f"{where}: column {field.name} is {has}; in the first file it is {field.type}.")


def _files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise TrainerError(f"No file or folder {source}. Expected Parquet with the contract's columns.")
    found = sorted(
        p for p in source.rglob("*.parquet")
        if p.is_file() and not any(part.startswith(("_", ".")) for part in p.relative_to(source).parts)
    )  # fmt: skip
    if not found:
        raise TrainerError(f"{source} holds no .parquet files. Expected Parquet with the contract's columns.")
    return found


def _partitions(path: Path, source: Path) -> dict[str, str]:
    """Columns that are in the path: `event_date=2026-01-01/scene=home/part.parquet`."""
    parts = path.relative_to(source).parts[:-1] if source.is_dir() else ()
    return dict(part.split("=", 1) for part in parts if "=" in part)


def _open(path: Path) -> pq.ParquetFile:
    try:
        # Buffered: a row group is read piece by piece instead of whole, whatever its size.
        return pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
    except (OSError, pa.ArrowInvalid) as error:
        raise TrainerError(f"{path} can't be read as Parquet ({error}).") from None


def _schema(path: Path, source: Path) -> pa.Schema:
    """The file's columns, then those in its path, which are strings."""
    with _open(path) as file:
        schema = file.schema_arrow
    for name in _partitions(path, source):
        if name not in schema.names:
            schema = schema.append(pa.field(name, pa.string()))
    return schema


def _blocks(path: Path, source: Path, names: list[str]) -> Iterator[pa.Table]:
    with _open(path) as file:
        partitions = {k: v for k, v in _partitions(path, source).items() if k not in file.schema_arrow.names}
        own = [name for name in dict.fromkeys(names) if name not in partitions]
        try:
            for batch in file.iter_batches(PREDICT_BATCH, columns=own):
                table = pa.Table.from_batches([batch])
                for name, value in partitions.items():
                    table = table.append_column(name, pa.array([value] * len(table), pa.string()))
                yield table
        except (OSError, pa.ArrowInvalid) as error:
            raise TrainerError(f"{path} can't be read to its end ({error}).") from None
