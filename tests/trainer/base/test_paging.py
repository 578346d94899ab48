from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import trainer.base.paging
from trainer.base.paging import maps_of, peak_rss_mib, release_pages
from trainer.columns.build import open_columns
from trainer.contract.read import read_contract
from trainer.training.fit import fit

SIZE = 64 << 20
ROOT = Path(__file__).parents[3]
linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems don't say how much of files is in memory")


def of_files() -> int:
    return psutil.Process().memory_info().shared


@linux
def test_pages_go_back_beyond_the_bound_and_hold_what_they_held(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(SIZE // 8))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    before, total = of_files(), int(mapped.sum())
    read = of_files()
    assert read - before > 0.9 * SIZE
    release_pages(maps_of([mapped]), most=read + SIZE)
    assert of_files() - before > 0.9 * SIZE
    release_pages(maps_of([mapped]), most=before)
    assert of_files() - before < 0.1 * SIZE
    assert int(mapped.sum()) == total


def test_arrays_in_memory_have_no_pages_to_release(tmp_path: Path) -> None:
    np.arange(4).tofile(tmp_path / "a")
    mapped = np.memmap(tmp_path / "a", np.int64, "r")
    assert maps_of([np.zeros(3), np.empty((0, 4)), mapped]) == [mapped.base]


@pytest.mark.parametrize("name", ["00_gbdt", "09_interest"])
def test_a_fit_that_hands_all_pages_back_all_the_time_is_the_same(
    name: str, rich: Any, vectors: Any, stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = read_contract(rich().write(tmp_path / "marts"))
    store, config, found, maps = vectors(tmp_path / "vectors"), stage(name), [], []
    for most in (1 << 60, 0):
        monkeypatch.setattr(trainer.base.paging, "MOST", most)
        columns = open_columns(contract)
        fitted, history = fit(config, contract, columns, store)
        rows = columns.rows("test")
        found.append((history.evaluations, fitted.logits(columns, rows).tobytes()))
        maps.append(len(columns._maps))
    assert found[0] == found[1]
    assert maps[0] == maps[1] > 7  # the plain arrays, and both parts of each list


@linux
def test_the_peak_is_of_this_process_and_not_of_the_one_that_started_it() -> None:
    held = np.ones(SIZE * 6, np.uint8)
    assert peak_rss_mib() > held.nbytes >> 20
    child = "from trainer.base.paging import peak_rss_mib; print(peak_rss_mib())"
    said = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert 20 < int(said) < held.nbytes >> 20


@linux
def test_the_peak_is_known_where_the_kernel_keeps_no_mark_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under a sandbox's kernel, whose status file has no line VmHWM."""
    (tmp_path / "status").write_text("Name:\tpython\nVmRSS:\t  81000 kB\n")
    monkeypatch.setattr(trainer.base.paging, "_STATUS", tmp_path / "status")
    assert peak_rss_mib() == round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
