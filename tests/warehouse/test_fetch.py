"""Fetching: the log arrives complete and verified, or not at all."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from warehouse import fetch as fetching


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> fetching.WheelLog:
    """A log called `tiny` in a wheel of our own, lying in the cache as if downloaded."""
    cache = tmp_path / "cache"
    cache.mkdir()
    wheel = cache / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("inside/log.csv", "a,b\n1,2\n")
    log = fetching.WheelLog(
        requirement="tiny==1.0",
        wheel_sha256=fetching.sha256(wheel),
        folder="inside",
        file_sha256={"log.csv": hashlib.sha256(b"a,b\n1,2\n").hexdigest()},
        terms="Ours.",
    )
    monkeypatch.setitem(fetching.LOGS, "tiny", log)
    return log


def test_fetch_lays_the_files_down_once(
    known: fetching.WheelLog, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = fetching.fetch("tiny", tmp_path / "raw", tmp_path / "cache")
    assert [path.name for path in folder.iterdir()] == ["log.csv"]
    stamp = (folder / "log.csv").stat().st_mtime_ns
    fetching.fetch("tiny", tmp_path / "raw", tmp_path / "cache")
    assert (folder / "log.csv").stat().st_mtime_ns == stamp
    assert "is there and whole" in capsys.readouterr().err


def test_what_a_killed_fetch_left_is_cleared(known: fetching.WheelLog, tmp_path: Path) -> None:
    left = tmp_path / "raw" / ".tiny.partial-999999999"
    left.mkdir(parents=True)
    (left / "log.csv").write_text("a,b\n1")
    fetching.fetch("tiny", tmp_path / "raw", tmp_path / "cache")
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["tiny"]


def test_other_files_in_the_place_are_kept_aside(known: fetching.WheelLog, tmp_path: Path) -> None:
    place = tmp_path / "raw" / "tiny"
    place.mkdir(parents=True)
    (place / "log.csv").write_text("mine")
    fetching.fetch("tiny", tmp_path / "raw", tmp_path / "cache")
    assert (tmp_path / "raw" / "tiny.unknown" / "log.csv").read_text() == "mine"
    assert fetching.is_whole(known, place)


def test_a_wheel_with_another_hash_is_refused(
    known: fetching.WheelLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache" / "tiny-1.0-py3-none-any.whl").unlink()

    def download(command: list[str], **_: object) -> object:
        Path(command[command.index("--dest") + 1], "tiny-1.0-py3-none-any.whl").write_bytes(b"something else")
        return type("Done", (), {"returncode": 0})()

    monkeypatch.setattr(fetching.subprocess, "run", download)
    with pytest.raises(fetching.FetchError, match="not the file this project knows"):
        fetching.fetch("tiny", tmp_path / "raw", tmp_path / "cache")
    assert not (tmp_path / "raw").exists()


def test_an_unknown_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(fetching.FetchError, match=r"No public log is named 'antm2c'.*warehouse.simulate"):
        fetching.fetch("antm2c", tmp_path, tmp_path)
