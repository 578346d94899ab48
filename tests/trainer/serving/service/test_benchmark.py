"""The benchmarks of serving run over a small run and state, and report figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.serving.online.serving import Served
from tests.trainer.serving.service.conftest import Fitted
from tests.warehouse.project import ROOT


def run(script: str, place: Path, *options: object) -> dict[str, Any]:
    command = [sys.executable, f"benchmarks/online/{script}.py", *map(str, options), "--out", str(place)]
    own = os.environ | {"FIRST_IMPRESSION_CACHE": str(place.parent / "cache")}
    ended = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found: dict[str, Any] = json.loads(place.read_text())
    return found


@pytest.fixture
def of(served: Served, fitted: Fitted, tmp_path: Path) -> list[object]:
    state = fitted.state(f"sqlite:{tmp_path}/state.sqlite")
    return ["--run", fitted.run, "--state", state, "--events", served.folder / "data/my_log.duckdb", "--candidates", 5]


def test_features_by_part(served: Served, of: list[object], tmp_path: Path) -> None:
    again = ["--replay", served.marts, "--manifest", served.manifest, "--replay-rows", 0]
    found = run("features", tmp_path / "found.json", *of, "--requests", 10, *again)
    parts = ("gather", "counts", "formulas", "model")
    assert all(0 < found[part]["p50_ms"] <= found[part]["p99_ms"] for part in (*parts, "all"))
    assert sum(found[part]["p50_ms"] for part in parts) < 2 * found["all"]["p99_ms"]
    assert 0 < found["after_loading_rss_mib"] <= found["peak_rss_mib"]
    assert found["replay"]["rows"] == 1200


def test_load_on_a_service_that_it_starts(of: list[object], tmp_path: Path) -> None:
    options = ["--rate", 4, "--outcomes", 8, "--seconds", 2]
    found = run("load", tmp_path / "found.json", *of, *options)
    assert (found["score"]["answered"], found["outcome"]["answered"]) == (8, 16)
    assert found["outcomes"] == {"acknowledged": 16, "new": 16, "lost": 0}
    assert found["service"]["rss_gb"] > 0
