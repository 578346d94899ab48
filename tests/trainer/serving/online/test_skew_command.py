"""`trainer replay --served`: the command, and logs that it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tests.trainer.serving.online.logs import FEATURES, Log
from trainer.base.errors import TrainerError
from trainer.cli import app


def damaged(log: Log) -> None:
    (log.folder / "served/event_date=2026-01-02/b.parquet").write_bytes(b"PAR1 half")


def only_hidden(log: Log) -> None:
    for path in (log.folder / "served").rglob("*.parquet"):
        path.rename(path.with_name(f".{path.name}.partial-12"))


def empty(log: Log) -> None:
    for path in (log.folder / "served").rglob("*.parquet"):
        path.unlink()


def without_rows(log: Log) -> None:
    for path in (log.folder / "served").rglob("*.parquet"):
        pq.write_table(log.schema.empty_table(), path)


def changed(change: Callable[[pa.Table], pa.Table]) -> Callable[[Log], None]:
    def every(log: Log) -> None:
        for path in (log.folder / "served").rglob("*.parquet"):
            pq.write_table(change(pq.ParquetFile(path).read()), path)

    return every


def with_column(name: str, values: Callable[[pa.Table], pa.Array]) -> Callable[[Log], None]:
    return changed(lambda t: t.set_column(t.column_names.index(name), name, values(t)))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (damaged, r"b\.parquet can't be read as Parquet"),
        (only_hidden, r"has no log \(.*hidden.*Expected the folder that a service logs to: event_date=YYYY-MM-DD"),
        (empty, r"has no log \(it is empty\)"),
        (without_rows, r"has no rows\. Nothing was served yet"),
        (changed(lambda t: t.drop_columns("scene")), r"lacks scene\. Expected what a service logged: request_id"),
        (changed(lambda t: t.append_column("device", t["device"])), r"has device more than once"),
        (changed(lambda t: t.drop_columns(FEATURES)), r"has no column that is a feature of .*training_examples_v1"),
        (with_column("event_at", lambda t: t["event_at"].cast(pa.int64())), r"event_at is int64, expected a timestamp"),
        (with_column("user_id", lambda t: pa.array(range(len(t)))), r"user_id is int64, expected a string"),
        (with_column("scene", lambda t: pa.nulls(len(t), pa.string())), r"scene is NULL in \d+ rows"),
        (
            with_column("event_id", lambda t: pa.array(["x"] * len(t))),
            r"None of the 50 rows .* \(50 with an event_id that the mart doesn't have.*2026-01-01 to 2026-01-03",
        ),
    ],
)
def test_bad_logs(log: Log, spoil: Callable[[Log], None], message: str) -> None:
    spoil(log.write())
    with pytest.raises(TrainerError, match=message):
        log.compared()


def test_the_command(log: Log, tmp_path: Path) -> None:
    (log.write().folder / "served/event_date=2026-01-01/.b.parquet.partial-77").write_bytes(b"half")
    found = log.run()
    assert (found.exit_code, "50 rows were compared" in found.output) == (0, True)
    assert "Not read: event_date=2026-01-01/.b.parquet.partial-77: hidden" in " ".join(found.output.split())
    log.rows[1]["item_rate"] = 3.0
    found = log.write().run("--json", "--output", str(tmp_path / "run/skew.json"))
    assert found.exit_code == 1
    written = json.loads((tmp_path / "run/skew.json").read_text())
    assert json.loads(found.stdout) == written
    assert (written["rows_that_differ"], written["passed"], written["features"][0]["name"]) == (1, False, "item_rate")
    shown = log.run("--allow", "0.02")
    assert shown.exit_code == 0
    assert "3.0, 1.0" in shown.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "Expected --state, .* or --served, .*: neither is given"),
        (["--served", "x", "--state", "sqlite:x"], "both are given"),
        (["--served", "x", "--events", "x"], "--events belongs to --state"),
        (["--state", "sqlite:x", "--allow", "0.1"], "--allow belongs to --served"),
        (["--state", "sqlite:x", "--output", "x"], "--output belongs to --served"),
        (["--served", "gone"], "--served gone isn't there. Expected the folder that a service logs to"),
    ],
)
def test_options_that_do_not_go_together(options: list[str], message: str) -> None:
    found = CliRunner().invoke(app, ["replay", "--marts", "marts", *options])
    assert isinstance(found.exception, TrainerError)
    with pytest.raises(TrainerError, match=message):
        raise found.exception
