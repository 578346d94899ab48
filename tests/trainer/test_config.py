from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from trainer.base.errors import TrainerError
from trainer.config import STAGES, dump_stage, load_stage


@pytest.mark.parametrize("path", sorted(STAGES.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_stage_is_complete_and_survives_a_round_trip(path: Path, tmp_path: Path) -> None:
    stage = load_stage(path)
    assert stage.stage == path.stem
    assert load_stage(path.stem) == stage
    (tmp_path / "resolved.yaml").write_text(dump_stage(stage))
    assert load_stage(tmp_path / "resolved.yaml") == stage
    assert load_stage(path, seed=77).seed == 77


def edited(tmp_path: Path, change: object) -> Path:
    raw = yaml.safe_load((STAGES / "01_dnn.yaml").read_text())
    change(raw)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(raw))
    return tmp_path / "mine.yaml"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda r: r["training"].update(learing_rate=1),
            r"unknown key training\.learing_rate \(did you mean 'learning_rate'\?\)",
        ),
        (lambda r: r.update(sed=1), r"unknown key sed \(did you mean 'seed'\?\)"),
        (lambda r: r["model"].update(max_iter=1), r"unknown key model\.max_iter"),
        (
            lambda r: r["model"].update(drop_out=r["model"].pop("dropout")),
            r"unknown key model\.drop_out \(did you mean 'dropout'\?\)",
        ),
        (lambda r: r["model"].pop("dropout"), r"the key model\.dropout is missing"),
        (lambda r: r["model"].update(dropout=1.5), r"model\.dropout is 1\.5"),
        (lambda r: r["training"].update(epochs="many"), r"training\.epochs is 'many'"),
        (lambda r: r["model"].update(kind="dnm"), r"model\.kind is 'dnm' \(did you mean 'dnn'\?\)"),
        (lambda r: r["inputs"].update(history=3), r"kind dnn doesn't read inputs\.history"),
        (lambda r: r["inputs"].update(texts={"encoder": "e5-small"}), r"the key inputs\.texts\.dimensions is missing"),
        (
            lambda r: r["inputs"].update(
                texts={"dimension": 8, "dimensions": 8, "encoder": "", "min_text_coverage": 0.5}
            ),
            r"unknown key inputs\.texts\.dimension \(did you mean 'dimensions'\?\)",
        ),
        (lambda r: r["model"].update(kind="semantic"), r"the key model\.shared is missing"),
        (lambda r: r.pop("model"), r"model\.kind is None"),
    ],
)
def test_bad_stages_are_named(tmp_path: Path, change: object, message: str) -> None:
    with pytest.raises(TrainerError, match=message):
        load_stage(edited(tmp_path, change))


def test_files_that_arent_stages(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match="did you mean '01_dnn'"):
        load_stage("01_dnm")
    (tmp_path / "list.yaml").write_text("- a\n")
    with pytest.raises(TrainerError, match="found list"):
        load_stage(tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    with pytest.raises(TrainerError, match="can't be read as YAML"):
        load_stage(tmp_path / "broken.yaml")


COMPLETE = (STAGES / "01_dnn.yaml").read_text()
BOMB = "a: &a [x, x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}, *{a}]\n" for a, b in pairwise("abcdefghijklmnop"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("!!python/object/apply:os.system [touch executed]", "could not determine a constructor"),
        (COMPLETE + "seed: 2\n", "the key seed stands there twice"),
        (COMPLETE.replace("  clip:", "  min_count: 1\n  clip:"), "the key min_count stands there twice"),
        (BOMB, r"it has the alias \*a"),
        ("[" * 5000, "recursion"),
        ("{a: " * 5000, "recursion"),
        ("seed: " + "9" * 50_000, "digits"),
        (COMPLETE + "x: 2001-99-99\n", "month"),
        (COMPLETE + "1: 2\n", "Keys should be strings"),
        (COMPLETE + "\0", "special characters"),
        ("model: {kind: [dnn]}", r"model\.kind is \['dnn'\]"),
        (COMPLETE.replace("learning_rate: ", "learning_rate: .inf  # "), "finite number"),
        (COMPLETE.replace("seed: ", "seed: -1  # "), "seed is -1"),
        (COMPLETE.replace("hidden: ", "hidden: [0]  # "), "hidden.0 is 0"),
        (COMPLETE + "#" * 200_000, "a stage file has less than"),
        (b"\xff\xfe\x00", "can't be read as YAML"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_hostile_yaml_is_told(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = tmp_path / "hostile.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(TrainerError, match=message) as told:
        load_stage(path)
    assert len(str(told.value)) < 1000
    assert not Path("executed").exists()


@pytest.mark.parametrize("spelled", ["1e-5", "1E-05", "0.00001", "1.0e-5"])
def test_small_numbers_are_numbers_however_spelled(tmp_path: Path, spelled: str) -> None:
    text = (STAGES / "01_dnn.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text.replace("embedding_l2: 0.00001", f"embedding_l2: {spelled}"))
    assert load_stage(tmp_path / "mine.yaml").training.embedding_l2 == 1e-5


@pytest.mark.parametrize(
    ("stage", "change", "message"),
    [
        ("04_semantic", lambda r: r["inputs"].pop("texts"), r"kind semantic reads inputs\.texts"),
        ("06_llm_fallback", lambda r: r["inputs"].pop("llm"), r"kind llm_fallback reads inputs\.llm"),
        (
            "09_interest",
            lambda r: r["model"].update(heads=5),
            r"model\.heads is 5\. .*must divide attention, which is 64",
        ),
        ("09_interest", lambda r: r["model"].update(atention=5), r"model\.atention \(did you mean 'attention'\?\)"),
        ("09_interest", lambda r: r["model"].update(tower="x"), r"model\.tower is 'x'"),
    ],
)
def test_bad_stages_that_read_more_are_named(tmp_path: Path, stage: str, change: object, message: str) -> None:
    raw = yaml.safe_load((STAGES / f"{stage}.yaml").read_text())
    change(raw)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(raw))
    with pytest.raises(TrainerError, match=message):
        load_stage(tmp_path / "mine.yaml")


def test_interest_can_do_without_texts(tmp_path: Path) -> None:
    raw = yaml.safe_load((STAGES / "09_interest.yaml").read_text())
    del raw["inputs"]["texts"]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(raw))
    assert load_stage(tmp_path / "mine.yaml").inputs.texts is None
