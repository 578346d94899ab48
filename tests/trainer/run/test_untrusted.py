"""Runs that were damaged, changed or made by someone else: refused in words, no other numbers, nothing executed."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainer import load_run
from trainer.base.errors import TrainerError
from trainer.columns.build import open_columns
from trainer.contract.read import read_contract
from trainer.report import write_report
from trainer.report.runs import read_run
from trainer.run.directory import fit_run
from trainer.run.integrity import check_finished, seal


@pytest.fixture(scope="module")
def made(rich: Any, stage: Any, vectors: Any, texts: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small finished run that reads texts and histories, its marts and its vectors."""
    folder = tmp_path_factory.mktemp("made")
    marts = texts(rich(900).write(folder / "marts"))
    vectors(folder / "vectors")
    one = stage("09_interest", epochs=1, calibration="temperature")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRST_IMPRESSION_CACHE", str(folder / "cache"))
        fit_run(one, marts, folder / "run", vectors=folder / "vectors")
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of that run to spoil, with its vectors beside it."""
    shutil.copytree(made / "vectors", tmp_path / "vectors")
    return Path(shutil.copytree(made / "run", tmp_path / "run"))


@pytest.fixture(scope="module")
def rows(made: Path) -> pa.Table:
    return pq.read_table(made / "marts/training_examples_v1", partitioning=None).slice(0, 40)


def files_of(run: Path) -> list[Path]:
    """What the fit wrote, without what is for eyes alone."""
    return [path for path in sorted(run.rglob("*")) if path.is_file() and path.name != "report.html"]


def reseal(run: Path) -> None:
    """DONE as it would be had the fit written what is there now: whoever can write the run can do this."""
    (run / "DONE").unlink()
    seal(run)


def damaged(content: bytes, draw: random.Random) -> Iterator[bytes]:
    """A file's bytes as a bad disk, a broken copy or a careless hand leaves them."""
    for at in {0, len(content) - 1, draw.randrange(len(content)), draw.randrange(len(content))}:
        yield content[:at] + bytes([content[at] ^ (1 << draw.randrange(8))]) + content[at + 1 :]
    cut = draw.randrange(len(content))
    yield from (
        b"",
        content[:cut],
        content + content[:cut],
        b"{}",
        b"null",
        b"[[[[",
        b"\x00" * len(content),
        os.urandom(64),
    )


def predicted(run: Path, rows: pa.Table) -> np.ndarray:
    return load_run(run, run.parent / "vectors").predict(rows)


def test_damage_anywhere_gives_the_same_answer_or_is_told(run: Path, rows: pa.Table) -> None:
    draw, expected = random.Random(8), predicted(run, rows)
    files = files_of(run)
    told = 0
    for path in files:
        content = path.read_bytes()
        for bad in damaged(content, draw):
            path.write_bytes(bad)
            try:
                assert np.array_equal(predicted(run, rows), expected), path
            except TrainerError as error:
                assert str(run) in str(error)
                told += bad != content
        path.write_bytes(content)
    assert np.array_equal(predicted(run, rows), expected)
    write_report([run], run.parent / "report.html")
    assert told > 10 * len(files)


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, place: Path):
        self.place = place

    def __reduce__(self) -> tuple[Callable, tuple]:
        return Path.touch, (self.place,)


def test_nothing_of_a_run_is_executed(run: Path, rows: pa.Table) -> None:
    """A pickle in place of each file, and YAML that asks for an object: even where the hashes agree."""
    trapped = run.parent / "trapped"
    pickle.loads(pickle.dumps(Trap(trapped)))
    assert trapped.exists(), "the trap works"
    trapped.unlink()
    for path in files_of(run):
        content = path.read_bytes()
        for bait in (pickle.dumps(Trap(trapped)), f"!!python/object/apply:pathlib.Path.touch [{trapped}]".encode()):
            path.write_bytes(bait)
            reseal(run)
            with suppress(TrainerError):
                predicted(run, rows)
            with suppress(TrainerError):
                read_run(run, "the report's")
            assert not trapped.exists(), path
        path.write_bytes(content)


def test_a_run_of_an_older_trainer_has_no_hashes_and_is_still_read_in_words(run: Path, rows: pa.Table) -> None:
    draw = random.Random(9)
    (run / "DONE").write_text("")
    assert len(predicted(run, rows)) == len(rows)
    for path in files_of(run):
        content = path.read_bytes()
        for bad in damaged(content, draw) if content else ():
            path.write_bytes(bad)
            with suppress(TrainerError):
                predicted(run, rows)  # without hashes another number can't be noticed
        path.write_bytes(content)


def change(path: Path, key: str, edit: Callable[[Any], Any]) -> None:
    saved = json.loads(path.read_text())
    saved[key] = edit(saved[key])
    path.write_text(json.dumps(saved))


@pytest.mark.parametrize("elsewhere", ["../../secret", "/etc/passwd", "..", ""])
def test_names_in_a_run_cannot_leave_it(elsewhere: str, run: Path) -> None:
    (run.parent / "secret.json").write_text('["secret"]')
    change(run / "features.json", "codes", lambda codes: [codes[0] | {"name": elsewhere}, *codes[1:]])
    reseal(run)
    with pytest.raises(TrainerError, match="can't be read as a finished run") as told:
        load_run(run)
    assert str(run / "vocab") in str(told.value)


@pytest.mark.parametrize("name", ["../vectors", "/", "..", ""])
def test_the_vector_store_is_a_folder_below_the_vectors(name: str, run: Path) -> None:
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    path = run / "whitening.safetensors"
    with safe_open(path, "numpy") as file:
        notes = file.metadata()
    save_file(load_file(path), path, metadata=notes | {"store": name})
    reseal(run)
    with pytest.raises(TrainerError, match="expected the name of a folder"):
        load_run(run)


@pytest.mark.parametrize("name", ["weights.safetensors", "config.yaml", "vocab"])
def test_links_out_of_a_run_are_refused(name: str, run: Path) -> None:
    (run / name).rename(run.parent / "outside")
    (run / name).symlink_to(run.parent / "outside")
    with pytest.raises(TrainerError, match=r"is a link to .*outside, outside the run"):
        check_finished(run)
    (run / "DONE").write_text("")
    with pytest.raises(TrainerError, match=r"is a link to .*outside, outside the run"):
        check_finished(run)


def test_a_file_that_the_fit_did_not_write_changes_nothing_in_silence(run: Path, toy: Any, stage: Any) -> None:
    fit_run(stage("01_dnn", epochs=1), toy(900).write(run.parent / "toy"), run.parent / "plain")
    check_finished(run.parent / "plain")
    (run.parent / "plain" / "notes.txt").write_text("mine")
    check_finished(run.parent / "plain")
    shutil.copy(run / "calibration.json", run.parent / "plain")
    with pytest.raises(TrainerError, match=r"calibration\.json wasn't written by the fit"):
        check_finished(run.parent / "plain")


def test_vectors_are_checked_by_their_hash(run: Path, rows: pa.Table) -> None:
    (shard,) = (run.parent / "vectors").glob("*/shards/*.safetensors")
    content = bytearray(shard.read_bytes())
    content[-3] ^= 1
    shard.write_bytes(content)
    with pytest.raises(TrainerError, match="doesn't match its sha256: it is damaged"):
        predicted(run, rows)


def test_a_damaged_mart_is_told(rich: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes of Parquet, of the build record and of dbt's manifest flipped, cut and replaced by JSON of other types."""
    monkeypatch.setattr("trainer.contract.manifest._MANIFEST_WAITS", (0, 0, 0))  # nobody writes these
    mart, draw = rich(200), random.Random(2)
    marts = mart.write(tmp_path / "marts")
    manifest = mart.manifest(tmp_path / "manifest.json")
    told = 0
    for path in [*sorted(marts.rglob("*.parquet"))[:2], next(marts.rglob("build.json")), manifest]:
        content = path.read_bytes()
        for _ in range(60):
            at, until = sorted(draw.sample(range(len(content)), 2))
            flipped = content[:at] + bytes([content[at] ^ (1 << draw.randrange(8))]) + content[at + 1 :]
            other = draw.choice([b"null", b"[]", b"{}", b"1", b"-1e999", b'"x"', b""])
            path.write_bytes(
                draw.choice([flipped, content[:at], content[:at] + other + content[min(until, at + 20) :]])
            )
            try:
                open_columns(read_contract(marts, manifest=manifest))
            except TrainerError:
                told += 1
        path.write_bytes(content)
    assert told > 120


@pytest.mark.parametrize("names", ["price", [1], ["a", "a"], [""], ["x" * 200]])
def test_names_of_the_context_are_names(names: Any, toy: Any, tmp_path: Path) -> None:
    mart = toy(200)
    mart.record["vars"] = mart.build_record()["vars"] | {"ctx_dense": names}
    with pytest.raises(TrainerError, match=r"var ctx_dense is .* expected a list of names that differ"):
        read_contract(mart.write(tmp_path / "marts"))


def test_a_hostile_name_of_the_context_stays_in_the_run(toy: Any, stage: Any, tmp_path: Path) -> None:
    mart = toy(900)
    mart.record["vars"] = mart.build_record()["vars"] | {"ctx_ids": ["../../outside", "a/b%2F\\"]}
    mart.set("ctx_dense", [[1e300] if k % 2 else [-1e300] for k in range(len(mart.rows["event_id"]))])
    marts = mart.write(tmp_path / "marts")
    fit_run(stage("01_dnn", epochs=1), marts, tmp_path / "run")
    assert {path.name for path in tmp_path.iterdir()} == {"marts", "cache", "run"}
    table = pq.read_table(marts / "training_examples_v1", partitioning=None)
    assert np.isfinite(load_run(tmp_path / "run").predict(table)).all()
