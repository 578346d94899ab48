from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from storage import atomic

ROOT = Path(__file__).parents[2]
GONE = 999_999_999  # a process number that no process has


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def partial(name: str, process: int = GONE, end: str = "") -> str:
    return f".{name}.partial-{process}{end}"


def test_a_file_is_there_when_it_is_complete(tmp_path: Path) -> None:
    with atomic.file(tmp_path / "new" / "a.txt") as aside:
        aside.write_text("one")
        assert not (tmp_path / "new" / "a.txt").exists()
        assert aside == atomic.partial(tmp_path / "new" / "a.txt")
    atomic.text(tmp_path / "new" / "a.txt", "zwei \u00fc")
    assert (tmp_path / "new" / "a.txt").read_bytes() == "zwei \u00fc".encode()
    assert names(tmp_path) == ["new", "new/a.txt"]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    atomic.text(tmp_path / "a.txt", "old")
    with atomic.folder(tmp_path / "b") as aside:
        (aside / "old").touch()
    with pytest.raises(ZeroDivisionError), atomic.file(tmp_path / "a.txt") as aside:
        aside.write_text("half")
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), atomic.folder(tmp_path / "b") as aside:
        (aside / "half").touch()
        raise ZeroDivisionError
    assert names(tmp_path) == ["a.txt", "b", "b/old"] and (tmp_path / "a.txt").read_text() == "old"


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_folder_takes_the_place_of_another(
    can_exchange: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can_exchange:
        monkeypatch.setattr(atomic, "exchange", lambda one, other: False)
    for text in ("first", "second", "third"):
        with atomic.folder(tmp_path / "run") as aside:
            (aside / "deep").mkdir()
            (aside / "deep" / f"{text}.txt").write_text(text)
        assert names(tmp_path) == ["run", "run/deep", f"run/deep/{text}.txt"]


def test_exchange_says_when_it_cannot(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    assert not atomic.exchange(tmp_path / "one", tmp_path / "nowhere")
    assert names(tmp_path) == ["one"]


def test_of_two_that_write_the_same_the_first_stays(tmp_path: Path) -> None:
    with atomic.folder(tmp_path / "cache", keep=True) as aside:
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache" / "of the other").touch()
        (aside / "mine").touch()
    assert names(tmp_path) == ["cache", "cache/of the other"]


def test_what_is_published_was_flushed_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file and folder of the new one first, then the entry in the parent; all before the block ends."""
    flushed = []
    real = os.fsync

    def fsync(opened: int) -> None:
        flushed.append((str(Path(f"/proc/self/fd/{opened}").readlink()), (tmp_path / "run").exists()))
        real(opened)

    monkeypatch.setattr(os, "fsync", fsync)
    with atomic.folder(tmp_path / "run") as aside:
        (aside / "deep").mkdir()
        for name in ("a", "deep/b"):
            (aside / name).write_text(name)
    new = str(atomic.partial(tmp_path / "run"))
    assert {path for path, there in flushed if not there} == {new, f"{new}/a", f"{new}/deep", f"{new}/deep/b"}
    assert flushed[-1] == (str(tmp_path), True)


def test_leftovers_of_the_dead_go_and_of_the_living_stay(tmp_path: Path) -> None:
    (tmp_path / partial("run")).mkdir()
    (tmp_path / partial("run", os.getppid())).mkdir()
    (tmp_path / partial("run", os.getpid())).touch()
    (tmp_path / partial("run.html")).touch()
    (tmp_path / ".run.partial-mine").touch()  # not one of ours
    atomic.remove_leftovers(tmp_path / "run")
    stay = [partial("run", os.getppid()), partial("run", os.getpid()), partial("run.html"), ".run.partial-mine"]
    assert names(tmp_path) == sorted(stay)
    (tmp_path / partial("a[b]*")).touch()
    atomic.text(tmp_path / "a[b]*", "a name that looks like a pattern")
    assert names(tmp_path) == sorted([*stay, "a[b]*"])


def test_a_folder_that_was_moved_away_for_its_successor_returns(tmp_path: Path) -> None:
    """kill -9 between the two renames, where folders can't change places."""
    (tmp_path / partial("run")).mkdir()
    (tmp_path / partial("run", end="-old")).mkdir()
    (tmp_path / partial("run", end="-old") / "DONE").touch()
    atomic.remove_leftovers(tmp_path / "run")
    assert names(tmp_path) == ["run", "run/DONE"]


def test_a_leftover_of_the_same_process_number_is_no_obstacle(tmp_path: Path) -> None:
    """In a container a command has the same number each time."""
    atomic.partial(tmp_path / "run").mkdir()
    (atomic.partial(tmp_path / "run") / "old").touch()
    with atomic.workspace(tmp_path / "run") as aside:
        assert names(aside) == []
    assert names(tmp_path) == []


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """What a reader finds is one of the versions, complete; the next writer leaves nothing else there."""
    script = textwrap.dedent("""
        import sys
        from pathlib import Path
        from storage import atomic
        for number in range(10**9):
            with atomic.folder(Path(sys.argv[1])) as aside:
                for k in range(5):
                    (aside / str(k)).write_text(str(number))
    """)
    draw = random.Random(1)
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "run")], env=os.environ | {"PYTHONPATH": str(ROOT)}
        )
        while not (tmp_path / "run").exists():
            time.sleep(0.01)
            assert process.poll() is None
        time.sleep(draw.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert len({(tmp_path / "run" / str(k)).read_text() for k in range(5)}) == 1
    with atomic.folder(tmp_path / "run") as aside:
        (aside / "last").touch()
    assert names(tmp_path) == ["run", "run/last"]
