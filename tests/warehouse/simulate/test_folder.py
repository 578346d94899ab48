"""Promises about bytes and folders: the same from any number of threads, whole or absent, bad arguments named."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from tests.warehouse.simulate.making import (
    P,
    assert_same_bytes,
    files_of,
    make,
    run,
)
from warehouse.simulate import events, output, parameters


def test_the_same_bytes_from_any_number_of_threads(tmp_path):
    for threads in (1, 2, 5):
        make(tmp_path / str(threads), 20_000, seed=3, threads=threads)
    assert_same_bytes(tmp_path / "1", tmp_path / "2")
    assert_same_bytes(tmp_path / "1", tmp_path / "5")
    make(tmp_path / "other", 20_000, seed=4)
    parts = [(tmp_path / folder / "antm2c_10m_part0.csv").read_bytes() for folder in ("1", "other")]
    assert parts[0] != parts[1]


def test_blocks_are_cut_by_size_and_cover_the_log_once():
    blocks = events.plan(9_000_000, 2)
    assert max(b.n_rows for b in blocks) <= parameters.BLOCK_ROWS and any(b.n_slices > 1 for b in blocks)
    assert sum(b.n_rows for b in blocks) == 9_000_000
    for part in range(2):
        at = 1
        for block in (b for b in blocks if b.part == part):
            assert block.first_row == at
            at += block.n_rows


def test_killed_half_way_leaves_nothing_and_a_rerun_is_whole(tmp_path):
    out = tmp_path / "killed" / "simulated"
    request = ("--events", 400_000, "--parts", 2, "--out")
    child = subprocess.Popen(
        [sys.executable, "-m", "warehouse.simulate", *map(str, request), str(out), "--threads", "1"]
    )
    deadline = time.monotonic() + 60
    while not any(p.stat().st_size > 1_000_000 for p in out.parent.glob(".simulated.partial-*/*.csv")):
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not out.exists() and len(list(out.parent.iterdir())) == 1
    assert run(*request, out).returncode == 0
    assert [p.name for p in out.parent.iterdir()] == ["simulated"]  # the leftovers went
    undisturbed = make(tmp_path / "undisturbed", 400_000, parts=2)
    assert_same_bytes(out, undisturbed)


def test_what_is_there_already(tmp_path):
    out = tmp_path / "simulated"
    make(out, 2_000)
    stamp = (out / "truth" / "DONE").stat().st_mtime_ns
    again = run("--events", 2_000, "--out", out)
    assert again.returncode == 0 and "nothing to do" in again.stdout
    assert (out / "truth" / "DONE").stat().st_mtime_ns == stamp
    other = run("--events", 2_000, "--seed", 8, "--out", out)
    assert other.returncode == 2 and "seed is 7 there, 8 was asked for" in other.stderr and "--force" in other.stderr
    assert (out / "truth" / "DONE").stat().st_mtime_ns == stamp
    assert run("--events", 2_000, "--seed", 8, "--out", out, "--force").returncode == 0
    assert json.loads((out / "truth" / "parameters.json").read_text())["request"]["seed"] == 8
    (out / "antm2c_10m_part1.csv").write_text("cut short")
    broken = run("--events", 2_000, "--seed", 8, "--out", out)
    assert broken.returncode == 2 and "antm2c_10m_part1.csv has 9 bytes" in broken.stderr
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("words")
    refused = run("--events", 2_000, "--out", precious, "--force")
    assert refused.returncode == 2 and files_of(precious) == ["thesis.txt"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--events", 10), "--events: expected 1000 to"),
        (("--parts", 0), "--parts: expected 1 to 2000"),
        (("--events", 1000, "--parts", 32), "--parts: expected 1 to 31 (each with rows of every day of the 1000"),
        (("--parts", 3, "--part", 0), "--part: expected 1 to 3 (--parts) or all, found 0"),
        (("--parts", 3, "--part", 4), "--part: expected 1 to 3 (--parts) or all, found 4"),
        (("--parts", 3, "--part", "two"), "--part: expected 1 to 3 (--parts) or all, found two"),
        (("--seed", -1), "--seed: expected 0 to"),
        (("--threads", 1000), "--threads: expected 0 to 256"),
        (("--format", "orc"), "--format"),
        (("bayes", "--out", "nowhere"), "no truth/DONE"),
        (("ceiling", "--out", "nowhere"), "no truth/DONE"),
    ],
)
def test_bad_arguments_are_named(tmp_path, arguments, words):
    done = run(*arguments, *(() if "--out" in arguments else ("--out", tmp_path / "x")))
    assert done.returncode == 2
    assert words in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "x").exists()


def test_a_full_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(output.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1_000})())
    with pytest.raises(output.SimulationError, match="Free some"):
        output.simulate(output.Request(2_000, 7, 3, "csv"), tmp_path / "x", threads=1)
    assert list(tmp_path.iterdir()) == []


def test_a_tiny_log_has_its_shape(tmp_path):
    out = tmp_path / "tiny"
    make(out, 2_000, parts=1)
    rows = duckdb.sql(f"select * from read_csv('{out}/*.csv', all_varchar = true, header = true)").fetchall()
    assert len(rows) == 2_000
    column = {name: [row[k] for row in rows] for k, name in enumerate(parameters.COLUMNS)}
    assert set(column["scene"]) == set("01234") and set(column["label"]) == {"0", "1"}
    assert len({t[:10] for t in column["log_time"]}) == 31
    assert 40 <= len(set(column["user_id"])) <= 60 and 40 <= len(set(column["item_id"])) <= 150


def test_parameters_are_all_written_and_all_documented(log_folder):
    written = json.loads((log_folder / "truth" / "parameters.json").read_text())
    assert written["parameters"] == P.as_json() and written["request"]["seed"] == 7
    page = (Path(__file__).parents[3] / "docs" / "simulated-log.md").read_text()
    assert [name for name in parameters.field_names() if f"`{name}`" not in page] == []
    assert [k for k in range(27) if f"| {k} |" not in page] == []
