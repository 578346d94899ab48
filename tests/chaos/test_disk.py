"""A disk that fills, a folder that can't be written, a parent that is missing: a clear error, nothing half-written."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chaos.conftest import MODELS
from tests.chaos.harness import Scene

OURS = ["fetch", "simulate", "embeddings", "fit", "score"]
# The option that names where each command writes, and what it writes there.
PLACES = {
    "fetch": ("--raw", "raw"),
    "simulate": ("--out", "log"),
    "embeddings": ("--vectors", "vectors"),
    "fit": ("--run", "x"),
    "score": ("--output", "x.parquet"),
}


@pytest.fixture
def scene(request: pytest.FixtureRequest) -> Scene:
    """The scene of the command that the test is parametrized with."""
    name = request.getfixturevalue("command")
    made = request.getfixturevalue(f"{name}_scene")
    if name == "fit":
        made = made("trainer fit")
    return made("dbt build", *MODELS, built=True) if name == "dbt" else made


@contextmanager
def disk(folder: Path, size: int = 1 << 30) -> Iterator[Callable[..., None]]:
    """A file system of its own at `folder`; yields a function that changes its options. Skips where that can't be."""
    folder.mkdir(exist_ok=True)
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", f"size={size}", "chaos", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True) if mount else None
    if made is None or made.returncode:
        pytest.skip(f"mounting a tmpfs isn't permitted here: {made.stderr.strip() if made else 'no mount command'}")

    def change(options: str) -> None:
        subprocess.run([mount, "-o", f"remount,{options}", str(folder)], check=True)

    try:
        yield change
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def used(folder: Path) -> int:
    state = os.statvfs(folder)
    return (state.f_blocks - state.f_bfree) * state.f_frsize


def is_clear(ended: dict, command: str) -> bool:
    """An error that a user can read. dbt and pip have their own way: the exit code counts, and what is said last."""
    if command == "dbt":
        return ended["code"] in (1, 2)
    if command == "fetch":
        return ended["code"] == 2 and ended["said"].strip().splitlines()[-1].startswith("Error: ")
    return ended["code"] == 2 and "rror" in ended["said"] and "Traceback" not in ended["said"]


def prepare(scene: Scene) -> None:
    """The base in a `work` that is a mounted disk: it can be emptied, not removed."""
    for path in scene.work.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(scene.base, scene.work, dirs_exist_ok=True)


@pytest.mark.parametrize("command", [*OURS, "dbt"])
def test_a_disk_that_fills(command: str, scene: Scene, survived: Callable[[str], None]) -> None:
    shutil.rmtree(scene.work, ignore_errors=True)
    failed, shares = 0, (0.02, 0.3, 0.6, 0.9)
    with disk(scene.work) as change:
        prepare(scene)
        before = used(scene.work)
        ended = scene.run()
        assert ended["code"] == 0, ended["said"]
        grown = used(scene.work) - before
        expected, there = scene.result(scene.work), scene.listing()
        for share in shares:
            change(f"size={1 << 30}")
            prepare(scene)
            change(f"size={before + int(share * grown)}")
            ended = scene.run()
            if ended["code"]:
                failed += 1
                assert is_clear(ended, command), (share, ended["code"], ended["said"][-3000:])
            change(f"size={1 << 30}")
            again = scene.run()
            assert again["code"] == 0 or scene.finished in again["said"], (share, again["said"][-3000:])
            assert scene.result(scene.work) == expected, share
            assert scene.listing() - there == set(), share
    assert failed
    survived(f"full disk: {scene.name:19} {failed} of {len(shares)} sizes failed clearly, equal after room was made")


@pytest.mark.parametrize("command", OURS)
def test_a_file_that_may_not_grow(command: str, scene: Scene, survived: Callable[[str], None]) -> None:
    """RLIMIT_FSIZE stands in for the full disk where nothing can be mounted."""
    scene.reset()
    ended = scene.run()
    assert ended["code"] == 0, ended["said"]
    expected, there = scene.result(scene.work), scene.listing()
    files = [
        path
        for path in scene.work.rglob("*")
        if path.is_file() and not (scene.base / path.relative_to(scene.work)).exists()
    ]
    largest = max(path.stat().st_size for path in files)
    failed, limits = 0, [max(2048, int(share * largest)) for share in (0.1, 0.5, 0.9)]
    for limit in limits:
        scene.reset()
        ended = scene.run(largest_file=limit)
        if ended["code"]:
            failed += 1
            assert is_clear(ended, command), (limit, ended["code"], ended["said"][-3000:])
        again = scene.run()
        assert again["code"] == 0 or scene.finished in again["said"], (limit, again["said"][-3000:])
        assert scene.result(scene.work) == expected, limit
        assert scene.listing() - there == set(), limit
    assert failed
    survived(f"file too large: {scene.name:14} {failed} of {len(limits)} limits failed clearly, equal afterwards")


@pytest.mark.parametrize("command", [*OURS, "dbt"])
def test_a_read_only_folder(command: str, scene: Scene, survived: Callable[[str], None]) -> None:
    shutil.rmtree(scene.work, ignore_errors=True)
    with disk(scene.work) as change:
        prepare(scene)
        before = scene.listing()
        change("ro")
        ended = scene.run()
        assert ended["code"] and is_clear(ended, command), (ended["code"], ended["said"][-3000:])
        change("rw")
        assert scene.listing() == before
        again = scene.run()
        assert again["code"] == 0, again["said"]
    survived(f"read-only folder: {scene.name:12} clear error, nothing left")


@pytest.mark.parametrize("command", OURS)
def test_a_file_where_a_folder_should_be_and_a_parent_that_is_missing(command: str, scene: Scene) -> None:
    option, name = PLACES[command]
    given = list(scene.argv)
    if option in given:
        at = given.index(option)
        del given[at : at + 2]
    scene.reset()
    (scene.work / "taken").write_text("a file")
    scene.argv = [*given, option, f"taken/{name}"]
    ended = scene.run()
    assert is_clear(ended, command) and "taken" in ended["said"], (ended["code"], ended["said"][-3000:])
    assert (scene.work / "taken").read_text() == "a file"
    scene.argv = [*given, option, f"not/there/yet/{name}"]
    ended = scene.run()
    assert ended["code"] == 0, ended["said"]
    assert (scene.work / "not/there/yet" / name).exists()
