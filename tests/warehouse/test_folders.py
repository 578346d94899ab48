"""Publishing a mart: the new folder takes the old one's place, whether the file system can exchange them or not."""

from pathlib import Path

import pytest

from storage import atomic
from warehouse import folders


def make(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "part-0.parquet").write_text(text)
    return folder


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_folder_takes_the_place_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_exchange: bool
) -> None:
    if not can_exchange:
        monkeypatch.setattr(atomic, "exchange", lambda one, other: False)
    place = tmp_path / "marts" / "texts"
    for text in ("first", "second", "third"):
        folders.publish_folder(str(make(tmp_path / "marts" / ".texts.partial", text)), str(place))
        assert (place / "part-0.parquet").read_text() == text
    assert [path.name for path in place.parent.iterdir()] == ["texts"]


def test_what_a_killed_build_left_beside_it_goes(tmp_path: Path) -> None:
    place = make(tmp_path / "texts", "old")
    make(tmp_path / ".texts.partial-999999999-old", "older")
    folders.publish_folder(str(make(tmp_path / ".texts.partial", "new")), str(place))
    assert [path.name for path in tmp_path.iterdir()] == ["texts"]
