"""A log made in parts, each by itself, is the log made at once."""

import filecmp
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.warehouse.simulate.making import assert_same_bytes, files_of, make, run
from warehouse.simulate.bayes import bayes_report
from warehouse.simulate.ceiling import ceiling_report
from warehouse.simulate.output import simulate
from warehouse.simulate.parts import missing_parts, simulate_part
from warehouse.simulate.request import Request, SimulationError
from warehouse.simulate.truth import incomplete, read_truth

N, K = 20_000, 4


@pytest.fixture(scope="module", params=["csv", "parquet"])
def request_of_four(request) -> Request:
    return Request(N, 3, K, request.param)


@pytest.fixture(scope="module")
def parts(request_of_four, tmp_path_factory) -> Path:
    """Made in no order, by different numbers of threads."""
    out = tmp_path_factory.mktemp("parts") / "log"
    for part, threads in ((3, 1), (1, 2), (4, 3), (2, 1)):
        assert incomplete(out)
        assert simulate_part(request_of_four, part, out, threads)
    assert missing_parts(request_of_four, out) == [] and incomplete(out) == ""
    return out


@pytest.fixture(scope="module")
def whole(request_of_four, tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("whole") / "log", N, seed=3, parts=K, form=request_of_four.format)


def test_parts_are_the_files_of_the_whole_log(request_of_four, parts, whole):
    names = request_of_four.file_names()
    assert filecmp.cmpfiles(parts, whole, names, shallow=False) == (names, [], [])
    truths = [pq.read_table(parts / "truth" / f"true_probabilities_part{k}.parquet") for k in range(K)]
    assert all(abs(t.num_rows - N // K) <= 1 for t in truths)
    together = pa.concat_tables(truths)
    assert together.equals(pq.read_table(whole / "truth" / "true_probabilities.parquet"))
    assert len(together["event_id"].unique()) == N


def test_bayes_and_ceiling_read_parts_as_a_whole(parts, whole):
    assert bayes_report(read_truth(parts)) == json.loads((whole / "truth" / "bayes.json").read_text())
    assert ceiling_report(parts) == ceiling_report(whole)


def test_a_part_made_again_has_the_same_bytes(request_of_four, parts, tmp_path):
    again = tmp_path / "again"
    assert simulate_part(request_of_four, 2, again, 2)
    first = {name: (again / name).read_bytes() for name in files_of(again)}
    assert len(first) == 3
    assert not simulate_part(request_of_four, 2, again, 2), "there already"
    assert simulate_part(request_of_four, 2, again, 1, force=True)
    assert {name: (again / name).read_bytes() for name in files_of(again)} == first
    assert all((parts / name).read_bytes() == content for name, content in first.items())
    for part in (1, 3, 4):
        simulate_part(request_of_four, part, again, 1)
    assert_same_bytes(again, parts)


def test_all_parts_by_a_process_each(tmp_path):
    two, asked = Request(2_000, 7, 2, "csv"), ("--events", 2_000, "--parts", 2, "--out", tmp_path / "log", "--part")
    done = run(*asked, 2)
    assert done.returncode == 0 and "1 of 2 parts are missing" in done.stdout
    done = run(*asked, "all", "--json")
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert (outcome["written"], outcome["missing"]) == ([1], [])
    for part in (1, 2):
        simulate_part(two, part, tmp_path / "by hand", 1)
    assert_same_bytes(tmp_path / "log", tmp_path / "by hand")


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path):
    four, eight = Request(2_000, 7, 4, "csv"), Request(2_000, 7, 8, "csv")
    simulate_part(four, 1, tmp_path / "parts", 1)
    make(tmp_path / "whole", 2_000, parts=4)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("words")
    (tmp_path / "file").write_text("words")
    before = {f: (tmp_path / f).read_bytes() for f in files_of(tmp_path)}
    for request, folder, words in (
        (eight, "parts", "part 1 of another simulated log: parts is 4 there, 8 was asked for"),
        (Request(2_000, 8, 4, "csv"), "parts", "seed is 7 there, 8 was asked for"),
        (Request(3_000, 7, 4, "csv"), "parts", "events is 2000 there, 3000 was asked for"),
        (Request(2_000, 7, 4, "parquet"), "parts", "format is csv there"),
        (four, "whole", "found a log made without --part"),
        (four, "precious", "found thesis.txt"),
        (four, "file", "found a file"),
    ):
        for force in (False, True):
            with pytest.raises(SimulationError, match=words):
                simulate_part(request, 2, tmp_path / folder, 1, force=force)
    with pytest.raises(SimulationError, match="found parts made by --part"):
        simulate(four, tmp_path / "parts", 1, force=True)
    assert {f: (tmp_path / f).read_bytes() for f in files_of(tmp_path)} == before


def test_readers_name_what_keeps_parts_from_being_a_log(tmp_path):
    out = tmp_path / "log"
    two = Request(2_000, 7, 2, "csv")
    simulate_part(two, 2, out, 1)
    with pytest.raises(SimulationError, match=r"found 1 of 2 parts \(missing: 1\)"):
        read_truth(out)
    simulate_part(two, 1, out, 1)
    marker, log = out / "truth" / "part0.json", out / "antm2c_10m_part0.csv"
    good, rows = marker.read_text(), log.read_bytes()
    other_world = json.loads(good)
    other_world["derived"]["scene_intercepts"][0] += 1e-6
    for damage, words in (
        (
            lambda: marker.write_text(good.replace('"seed": 7', '"seed": 8')),
            "parts 1 and 2 of different logs: seed 8",
        ),
        (lambda: marker.write_text(json.dumps(other_world)), "another world, by other library versions"),
        (lambda: marker.write_text("{"), "part0.json can't be read"),
        (lambda: log.write_bytes(rows[:-1]), "antm2c_10m_part0.csv has"),
        (lambda: log.unlink(), "antm2c_10m_part0.csv is missing"),
        (lambda: (out / "antm2c_10m_part2.csv").write_text("x"), "antm2c_10m_part2.csv among the parts"),
    ):
        damage()
        with pytest.raises(SimulationError, match=words):
            read_truth(out)
        marker.write_text(good)
        log.write_bytes(rows)
    (out / "antm2c_10m_part2.csv").unlink()
    assert len(read_truth(out).label) == 2_000
    log.write_bytes(rows[:-1])
    with pytest.raises(SimulationError, match=r"part 1 at .* is no longer whole"):
        simulate_part(two, 1, out, 1)
    assert simulate_part(two, 1, out, 1, force=True) and log.read_bytes() == rows


def test_a_killed_part_leaves_no_part(tmp_path):
    out, asked = tmp_path / "log", ("--events", 400_000, "--parts", 2, "--out")
    command = [sys.executable, "-m", "warehouse.simulate", *map(str, asked), str(out), "--part", "1", "--threads", "1"]
    child = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    while not any(p.stat().st_size > 1_000_000 for p in out.glob(".antm2c_10m_part0.csv.partial-*")):
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not list(out.glob("*.csv")) and not list(out.glob("truth/part*"))
    assert simulate_part(Request(400_000, 7, 2, "csv"), 1, out, 1)
    assert files_of(out) == ["antm2c_10m_part0.csv", "truth/part0.json", "truth/true_probabilities_part0.parquet"]
