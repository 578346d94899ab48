from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import vl_convert

from trainer.report.charts import bundle

MADE = "draw('</script>')\n"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often vl-convert was asked for the script; `bundle` forgets what this process has."""
    asked: list[str] = []

    def make(vl_version: str) -> str:
        asked.append(vl_version)
        return MADE

    monkeypatch.setattr(vl_convert, "javascript_bundle", make)
    bundle.cache_clear()
    yield lambda: len(asked)
    bundle.cache_clear()


def again() -> str:
    bundle.cache_clear()
    return bundle()


def test_it_is_made_once_for_all_processes(made: Callable[[], int], tmp_path: Path) -> None:
    assert bundle() == again() == "draw('<\\/script>')\n"
    assert made() == 1
    (kept,) = (tmp_path / "cache/report").iterdir()
    assert kept.suffix == ".js"
    assert vl_convert.__version__ in kept.name, "another version's script is another one"


@pytest.mark.parametrize("damage", [b"", b"draw()", b"\xff\n", None], ids=["empty", "changed", "no UTF-8", "cut"])
def test_what_is_damaged_is_made_again(damage: bytes | None, made: Callable[[], int], tmp_path: Path) -> None:
    whole = bundle()
    (kept,) = (tmp_path / "cache/report").iterdir()
    kept.write_bytes(kept.read_bytes()[:-3] if damage is None else damage)
    assert again() == whole
    assert made() == 2
    assert again() == whole
    assert made() == 2


def test_without_a_cache_it_is_made_each_time(
    made: Callable[[], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FIRST_IMPRESSION_CACHE", str(tmp_path / "file"))
    assert again() == again()
    assert made() == 2
