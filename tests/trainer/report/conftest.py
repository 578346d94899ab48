from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainer.run.directory import fit_run


@pytest.fixture
def runs(toy: Any, stage: Any, tmp_path: Path) -> list[Path]:
    marts = toy(1500).write(tmp_path / "marts")
    names = ("00_gbdt", "01_dnn")
    for name in names:
        fit_run(stage(name), marts, tmp_path / name, command=f"trainer fit --stage {name} <&>")
    return [tmp_path / name for name in names]
