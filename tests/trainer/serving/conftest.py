"""A small run, and rows to score with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.trainer.serving.scoring import rows_of
from trainer.run.directory import fit_run


@pytest.fixture
def small(toy: Any, stage: Any, tmp_path: Path) -> tuple[Path, pa.Table]:
    marts = toy(1200).write(tmp_path / "marts")
    fit_run(stage("01_dnn", epochs=1, calibration="temperature"), marts, tmp_path / "run")
    return tmp_path / "run", rows_of(marts)
