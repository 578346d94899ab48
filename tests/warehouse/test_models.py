"""The SQL that a reviewer reads: written out in the models, with every frame of a feature in one macro file."""

import re
from pathlib import Path

import pytest

from tests.warehouse.project import ROOT

MACROS = sorted((ROOT / "warehouse/macros").glob("*.sql"))
MODELS = sorted((ROOT / "warehouse/models").rglob("*.sql"))
FEATURES = sorted((ROOT / "warehouse/models/features").glob("*.sql"))
CTE = re.compile(r"^ *(?:with +)?\w+(?: \([\w, ]+\))? as \($", re.MULTILINE)
FRAME = re.compile(r"\b(?:rows|range)\s+(?:between|unbounded|interval|\d)", re.IGNORECASE)


def name_of(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("path", MODELS, ids=name_of)
def test_no_macro_stands_in_the_place_of_a_cte(path: Path) -> None:
    """It fills the body of one, or a part of that, and so is indented."""
    outermost = [line for line in path.read_text().splitlines() if line.startswith("{{")]
    assert [line for line in outermost if not re.match(r"\{\{-? *config\(", line)] == []


@pytest.mark.parametrize("path", FEATURES, ids=name_of)
def test_a_feature_model_is_readable_by_itself(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("-- Grain: one "), f"{path.name} doesn't begin with its grain"
    assert len(CTE.findall(text)) >= 3, f"{path.name} shows no steps"
    final = text[text.rindex("\nselect\n") :]
    assert "*" not in final, f"{path.name}: its final columns are not listed"
    assert len(text.splitlines()) <= 135


@pytest.mark.parametrize("path", [*MACROS, *MODELS], ids=name_of)
def test_frames_stand_in_one_file(path: Path) -> None:
    """docs/windows.md says so."""
    found = FRAME.findall(path.read_text())
    assert bool(found) == (path.name == "windows.sql"), f"{path.name}: {found}"


@pytest.mark.parametrize("path", MACROS, ids=name_of)
def test_no_macro_holds_a_cte(path: Path) -> None:
    assert not CTE.search(path.read_text()), f"{path.name}: a step is a CTE of a model, or a model"
