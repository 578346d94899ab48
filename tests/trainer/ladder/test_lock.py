"""What is compared is written down before test is read; what comes later is said to come later."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trainer.base.errors import TrainerError
from trainer.columns.build import open_mart
from trainer.ladder import running
from trainer.ladder.lock import FILE, comparisons_of, declare, read_lock
from trainer.ladder.power import smallest_effect, standard_error
from trainer.ladder.rungs import Rung, read_rungs
from trainer.ladder.running import make_runs
from trainer.ladder.table import build_table
from trainer.report.ladder_table import markdown
from trainer.run.directory import fit_run


def trees(stage: Any, *names: str, **more: Any) -> list[Rung]:
    previous = [None, *names]
    return [
        Rung(name, stage("00_gbdt", max_iter=2 + k, stage=name, **more), previous[k]) for k, name in enumerate(names)
    ]


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch, toy: Any, rates: Any, tmp_path: Path) -> Any:
    """`inline(rungs)` makes the runs of a ladder in this process, and its table."""
    marts = rates(toy(1500)).write(tmp_path / "marts")

    def make(rungs: list[Rung], seeds: list[int], folder: Path) -> dict[str, Any]:
        monkeypatch.setattr(running, "ProcessPoolExecutor", InThisProcess)
        made = make_runs(rungs, seeds, marts, folder)
        assert not made.failed
        found = build_table(rungs, seeds, folder, resamples=60, min_class=30, truth=None)
        return found | {"dataset": "toy", "mart": "v1", "failed": {}}

    return make


class InThisProcess:
    """A pool that works at once."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __enter__(self) -> InThisProcess:
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, function: Any, *arguments: Any) -> Any:
        from concurrent.futures import Future

        future: Future[None] = Future()
        function(*arguments)
        future.set_result(None)
        return future


def test_it_is_there_before_anything_is_fitted(stage: Any, inline: Any, tmp_path: Path, monkeypatch: Any) -> None:
    folder, seen = tmp_path / "ladder", []
    real = running._fit
    monkeypatch.setattr(running, "_fit", lambda *a: (seen.append(read_lock(folder)), real(*a)))
    found = inline(trees(stage, "00_gbdt", "01_b", "02_c"), [1, 2], folder)
    assert len(seen) == 6 and None not in seen and len({repr(lock) for lock in seen}) == 1
    lock = seen[0]
    assert lock.comparisons == [("01_b", "00_gbdt"), ("02_c", "01_b"), ("02_c", "00_gbdt")]
    assert (lock.seeds, list(lock.stages), lock.read_before) == ([1, 2], ["00_gbdt", "01_b", "02_c"], [])
    assert lock.content_hash == json.loads((folder / "01_b/seed_1/lineage.json").read_text())["content_hash"]
    assert found["family"] | {"critical_value": 0, "lock": 0} == {
        "declared": 3,
        "of_them_here": 3,
        "undeclared": 0,
        "critical_value": 0,
        "lock": 0,
    }
    page = markdown(found)
    assert "Declared before test was read (ladder.lock): 3 rungs, seeds 1, 2, 3 comparisons" in page
    assert "Before any rung was fitted: the smallest difference in AUC that" in page
    assert "ndeclared" not in page.replace("Declared", "")
    assert inline(trees(stage, "00_gbdt", "01_b", "02_c"), [1, 2], folder) == found, "the same once more"


def test_what_is_added_or_changed_or_left_out_later_is_said(stage: Any, inline: Any, tmp_path: Path) -> None:
    folder = tmp_path / "ladder"
    first = inline(trees(stage, "00_gbdt", "01_b"), [1], folder)
    assert first["rungs"][1]["claim"]["undeclared"] is None
    later = inline(trees(stage, "00_gbdt", "01_b", "02_c"), [1], folder)
    claims = [line["claim"] for line in later["rungs"]]
    assert claims[1]["undeclared"] is None and claims[2]["undeclared"] == "02_c wasn't declared"
    assert claims[1]["low"] == first["rungs"][1]["claim"]["low"], "a declared claim doesn't pay for what comes later"
    page = markdown(later)
    assert "| undeclared, " in page and "Undeclared: 2 comparisons" in page and "02_c wasn't declared" in page
    changed = trees(stage, "00_gbdt", "01_b")
    changed[1] = replace(changed[1], stage=stage("00_gbdt", max_iter=9, stage="01_b"))
    assert "01_b was declared with another stage file" in markdown(inline(changed, [1], folder))
    assert "seeds 1 were declared" in markdown(inline(trees(stage, "00_gbdt", "01_b"), [1, 2], folder))
    alone = inline(trees(stage, "00_gbdt"), [1], folder)
    assert "1 of the declared comparisons aren't in this table" in markdown(alone)


def test_fewer_than_were_declared_dont_get_narrower_intervals(stage: Any, inline: Any, tmp_path: Path) -> None:
    folder = tmp_path / "ladder"
    names = ("00_gbdt", "01_b", "02_c", "03_d", "04_e")
    whole = inline(trees(stage, *names), [1], folder)
    part = inline(trees(stage, *names[:2]), [1], folder)
    claim = [found["rungs"][1]["claim"] for found in (whole, part)]
    assert claim[1]["low"] <= claim[0]["low"] and claim[1]["high"] >= claim[0]["high"]
    assert part["family"]["critical_value"] >= 2.4, "that of seven independent comparisons"


def test_runs_from_before_the_declaration_and_other_rows(toy: Any, stage: Any, inline: Any, tmp_path: Path) -> None:
    folder = tmp_path / "ladder"
    found = inline(trees(stage, "00_gbdt", "01_b"), [1], folder)
    (folder / FILE).unlink()
    again = inline(trees(stage, "00_gbdt", "01_b"), [1], folder)
    assert again["family"]["lock"]["read_before"] == ["00_gbdt/seed_1", "01_b/seed_1"]
    assert "2 runs were finished before the declaration" in markdown(again)
    assert found["rungs"][1]["claim"] == again["rungs"][1]["claim"]
    lock = declare(folder, trees(stage, "00_gbdt"), [1], "other rows")
    assert lock.replaces == [read_lock(folder).replaces[0]] and lock.content_hash == "other rows"
    (folder / FILE).unlink()
    unlocked = build_table(trees(stage, "00_gbdt", "01_b"), [1], folder, resamples=60, min_class=30, truth=None)
    assert "there is no ladder.lock" in markdown(unlocked | {"dataset": "toy", "mart": "v1", "failed": {}})
    (folder / FILE).write_text("{")
    with pytest.raises(TrainerError, match=r"ladder.lock can't be read as what an earlier ladder declared"):
        read_lock(folder)


def test_a_family_has_each_difference_of_the_table_once(stage: Any) -> None:
    rungs = read_rungs(["00_floor", "00_gbdt", "01_dnn", "04_semantic", "05_content_tower"], placebo=True)
    assert comparisons_of(rungs) == [
        ("00_gbdt", "00_floor"),
        ("01_dnn", "00_gbdt"),
        ("04_semantic", "04_semantic (texts shuffled)"),
        ("04_semantic", "01_dnn"),
        ("04_semantic", "00_gbdt"),
        ("04_semantic (texts shuffled)", "01_dnn"),
        ("04_semantic (texts shuffled)", "00_gbdt"),
        ("05_content_tower", "05_content_tower (texts shuffled)"),
        ("05_content_tower", "04_semantic"),
        ("05_content_tower", "00_gbdt"),
        ("05_content_tower (texts shuffled)", "04_semantic"),
        ("05_content_tower (texts shuffled)", "00_gbdt"),
    ]


def test_a_text_rungs_claim_is_its_gain_over_its_own_placebo(
    rich: Any, stage: Any, vectors: Any, tmp_path: Path
) -> None:
    from trainer.training.placebo import as_placebo

    marts, store = rich(1200).write(tmp_path / "marts"), vectors(tmp_path / "vectors")
    base, text = stage("00_gbdt", max_iter=5), stage("04_semantic", epochs=1, min_steps=4)
    rungs = [
        Rung("00_gbdt", base, None),
        Rung("04_semantic", text, "00_gbdt"),
        Rung("04_semantic (texts shuffled)", as_placebo(text), "00_gbdt", placebo_of="04_semantic"),
    ]
    for rung in rungs:
        rung.run(tmp_path, 1).parent.mkdir()
        fit_run(rung.with_seed(1, 1), marts, rung.run(tmp_path, 1), vectors=store)
    found = build_table(rungs, [1], tmp_path, resamples=60, min_class=30, truth=None)
    _, line, shuffled = found["rungs"]
    assert line["claim"]["against"] == "04_semantic (texts shuffled)"
    assert line["claim"]["difference"] == pytest.approx(line["test_auc"]["mean"] - shuffled["test_auc"]["mean"])
    assert line["claim"]["difference"] == line["to_placebo"]["all"]["difference"]
    assert shuffled["claim"]["against"] == "00_gbdt"
    page = markdown(found | {"dataset": "toy", "mart": "v1", "failed": {}})
    row = next(row for row in page.splitlines() if row.startswith("| 04_semantic |"))
    assert "[its texts shuffled]" in row and "[00_gbdt]" in row
    without = build_table(rungs[:2], [1], tmp_path, resamples=60, min_class=30, truth=None)
    assert without["rungs"][1]["claim"] == {"against": None, "why_not": "its texts weren't shuffled (--no-placebo)"}
    page = markdown(without | {"dataset": "toy", "mart": "v1", "failed": {}})
    assert "not shown: its texts weren't shuffled (--no-placebo)" in page


def test_the_smallest_effect_reads_no_label_of_test(toy: Any, rates: Any, tmp_path: Path) -> None:
    effects = []
    for k, flip in enumerate((False, True)):
        mart = rates(toy(1500))
        if flip:
            for at in mart.split("test").nonzero()[0]:
                mart.rows["label"][at] = 1 - mart.rows["label"][at]
        contract, columns = open_mart(mart.write(tmp_path / str(k)), None, None)
        effects.append(smallest_effect(contract, columns, 5))
    assert effects[0] == effects[1]
    sizes = list(effects[0]["by_correlation"].values())
    assert sizes == sorted(sizes, reverse=True) and 0 < sizes[-1] < sizes[0] < 0.2, "rungs alike differ by less"
    more = smallest_effect(contract, columns, 50)["by_correlation"]
    assert all(more[rho] > size for rho, size in effects[0]["by_correlation"].items())


def test_a_mart_without_rates_says_that_it_isnt_known(toy: Any, tmp_path: Path) -> None:
    contract, columns = open_mart(toy(400).write(tmp_path / "marts"), None, None)
    assert "isn't known beforehand: The floor reads the rates" in smallest_effect(contract, columns, 5)["said"]


def test_the_standard_error_falls_with_likeness() -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    odds, user, item = rng.normal(size=3000), rng.integers(0, 60, 3000), rng.integers(0, 50, 3000)
    far, near = (standard_error(odds, user, 60, item, 50, rho) for rho in (0.9, 0.99))
    assert 2 < far / near < 5, "about the root of the ratio of (1 - rho) / rho"
