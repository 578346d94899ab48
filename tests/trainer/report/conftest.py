from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.toys import make_toy
from trainer.run.directory import fit_run

NAMES = ("00_gbdt", "01_dnn")


@pytest.fixture(scope="session")
def fitted(stage: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two runs, which no test changes."""
    folder = tmp_path_factory.mktemp("fitted")
    marts = make_toy(1500).write(folder / "marts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRST_IMPRESSION_CACHE", str(folder / "cache"))
        for name in NAMES:
            fit_run(stage(name), marts, folder / name, command=f"trainer fit --stage {name} <&>")
    return folder


@pytest.fixture
def runs(fitted: Path, tmp_path: Path) -> list[Path]:
    """Copies of the two runs, for a test to change."""
    return [shutil.copytree(fitted / name, tmp_path / name) for name in NAMES]
