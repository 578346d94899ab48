"""Every number in a sentence, computed again from predictions.parquet: pair by pair, without the trainer's metrics."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

from trainer.evaluation.importance_file import write_importance
from trainer.report.findings import Finding, findings, groups_of
from trainer.report.runs import read_run, short_names
from trainer.run.directory import fit_run


@pytest.fixture(scope="module")
def fitted(rich: Any, stage: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One finished run; the others are copies of it with other predictions."""
    folder = tmp_path_factory.mktemp("findings")
    with contextlib.chdir(folder):  # away from the project's own manifest
        fit_run(stage("00_gbdt", max_iter=2), rich(3000).write(folder / "marts"), folder / "run")
    return folder / "run"


@pytest.fixture
def make(fitted: Path, stage: Any, tmp_path: Path) -> Any:
    """`make(name, stage, strength)` writes a run whose probabilities follow the label as strongly as that."""

    def run(
        name: str,
        like: str,
        strength: float,
        *,
        seed: int = 1,
        mart: str = "training_examples_v1",
        placebo: bool = False,
        where: dict[str, float] | None = None,
    ) -> Path:
        folder = tmp_path / "runs" / name
        shutil.copytree(fitted, folder)
        rows = pd.read_parquet(folder / "predictions.parquet")
        noise = np.random.default_rng([seed, len(name)]).normal(size=len(rows))
        by_row = np.full(len(rows), strength)
        for column, value in (key.split("=") for key in where or {}):
            by_row[rows[column] == value] = (where or {})[f"{column}={value}"]
        shared = np.random.default_rng(7).normal(size=len(rows))
        rows["probability"] = 1 / (1 + np.exp(-(by_row * rows["label"] + shared + 0.3 * noise)))
        rows.to_parquet(folder / "predictions.parquet")
        config = stage(like, seed=seed).model_dump(exclude_none=True) | ({"placebo": "texts"} if placebo else {})
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        metrics = json.loads((folder / "metrics.json").read_text())
        metrics |= {"stage": f"{like} (texts shuffled)" if placebo else like, "seed": seed}
        metrics["splits"]["val"]["auc"] = auc(rows[rows["split"] == "val"])
        metrics["splits"]["test"]["auc"] = auc(rows[rows["split"] == "test"])
        (folder / "metrics.json").write_text(json.dumps(metrics))
        dataset = json.loads((folder / "dataset.json").read_text()) | {"mart": mart}
        (folder / "dataset.json").write_text(json.dumps(dataset))
        return folder

    return run


def answers(*runs: Path) -> dict[str, Finding]:
    loaded = [read_run(run, name) for run, name in zip(runs, short_names(list(runs)), strict=True)]
    return {one.key: one for one in findings(*groups_of(loaded))}


def test_rows(run: Path) -> pd.DataFrame:
    rows = pd.read_parquet(run / "predictions.parquet")
    return rows[rows["split"] == "test"].reset_index(drop=True)


test_rows.__test__ = False  # type: ignore[attr-defined]  # a helper


def auc(rows: pd.DataFrame) -> float:
    return float(wins(rows).mean())


def wins(rows: pd.DataFrame) -> np.ndarray:
    """For each pair of a positive and a negative 1, 1/2 or 0."""
    up, down = (rows.loc[rows["label"] == label, "probability"].to_numpy() for label in (1, 0))
    return (up[:, None] > down) + 0.5 * (up[:, None] == down)


def influence(all_rows: pd.DataFrame, in_B: np.ndarray) -> np.ndarray:
    """What the AUC of some rows gains with a row's weight, pair by pair; 0 elsewhere."""
    rows = all_rows[in_B]
    won = wins(rows)
    out = np.zeros(len(all_rows))
    positive = (rows["label"] == 1).to_numpy()
    own = np.empty(len(rows))
    own[positive] = (won.mean(1) - won.mean()) / positive.sum()
    own[~positive] = (won.mean(0) - won.mean()) / (~positive).sum()
    out[in_B] = own
    return out


def error(rows: pd.DataFrame, influence_B: np.ndarray) -> float:
    """By users, plus by items, less by rows."""
    by = [pd.Series(influence_B).groupby(rows[key].to_numpy()).sum().pow(2).sum() for key in ("user_id", "item_id")]
    return float(np.sqrt(max(sum(by) - (influence_B**2).sum(), *by)))


def said(rows: pd.DataFrame, value: float, influence_B: np.ndarray, family: int = 1, signs: bool = True) -> str:
    """The number and its interval as a sentence writes them."""
    seen = rows[influence_B != 0]
    fewest = min(seen["user_id"].nunique(), seen["item_id"].nunique())
    confidence = 0.95 ** (1 / family)
    wide = stats.t.ppf((1 + confidence) / 2, fewest - 1) * error(rows, influence_B)
    texts = [f"{x:{'+' if signs else ''}.4f}".replace("0.", ".", 1) for x in (value, value - wide, value + wide)]
    return "{} ({} to {})".format(*texts)


def difference(one: Path, other: Path, in_B: np.ndarray | None = None, family: int = 1) -> str:
    a, b = test_rows(one), test_rows(other)
    in_B = np.ones(len(a), bool) if in_B is None else in_B
    apart = influence(a, in_B) - influence(b, in_B)
    return said(a, auc(a[in_B]) - auc(b[in_B]), apart, family)


def test_what_the_best_is_worth(make: Any) -> None:
    best, trees, floor = make("01_dnn", "01_dnn", 2.0), make("00_gbdt", "00_gbdt", 1.5), make("f", "00_floor", 1.0)
    found = answers(floor, trees, best)["worth"]
    rows = test_rows(best)
    own = said(rows, auc(rows), influence(rows, np.ones(len(rows), bool)), signs=False)
    assert found.sentences[0] == f"01_dnn has a test AUC of {own}. It is the best of 3 on validation."
    assert found.sentences[1] == f"It is above the trees (00_gbdt) by {difference(best, trees)} AUC."
    assert found.sentences[2].endswith(f"one per item (f) by {difference(best, floor)} AUC.")
    close = make("00_close", "00_gbdt", 1.5, where={"split=test": 1.96})
    line = answers(best, close)["worth"].sentences[1]
    assert line == f"It isn't shown to differ from the trees (00_close): {difference(best, close)} AUC."
    alone = answers(best)
    assert alone["worth"].sentences[1] == "What it is worth over the trees is open: no such run is here."
    assert "Fit `00_floor` and `00_gbdt`" in alone["next"].sentences[0]
    assert not {"instant", "texts", "features"} & alone.keys(), "nothing here answers these"
    unknown = answers(trees, best)["unknown"]
    apart = influence(rows, np.ones(len(rows), bool)) - influence(test_rows(trees), np.ones(len(rows), bool))
    fewest = min(rows["user_id"].nunique(), rows["item_id"].nunique()) - 1
    least = (stats.t.ppf(0.975, fewest) + stats.t.ppf(0.8, fewest)) * error(rows, apart)
    assert unknown.sentences[0].startswith(f"A difference to the trees below {least:.4f} AUC")
    first = answers(trees)
    assert [s for s in first["next"].sentences if "Fit a network" in s]
    best_trees = answers(make("strong", "00_gbdt", 3.0), best)["worth"].sentences
    assert best_trees[2].startswith("It is above the best network (01_dnn) by +")


def test_seeds_of_one_stage_are_one(make: Any) -> None:
    seeds = [make(f"dnn/seed_{s}", "01_dnn", 2.0, seed=s) for s in (1, 2, 3)]
    trees = make("00_gbdt", "00_gbdt", 1.5)
    found = answers(trees, *seeds)
    numbers = found["worth"].numbers["gbdt"]
    points = [auc(test_rows(run)) for run in seeds]
    assert numbers["difference"] == pytest.approx(np.mean(points) - auc(test_rows(trees)))
    rows = test_rows(trees)
    everything = np.ones(len(rows), bool)
    apart = np.mean([influence(test_rows(run), everything) for run in seeds], axis=0) - influence(rows, everything)
    assert numbers["error"] == pytest.approx(np.sqrt(error(rows, apart) ** 2 + np.var(points, ddof=1) / 3))
    assert "over 3 seeds" in found["worth"].sentences[0]
    assert not [s for s in found["unknown"].sentences if "another seed" in s]


def test_the_instant(make: Any) -> None:
    v1 = make("night", "00_gbdt", 1.0)
    v2 = make("instant", "00_gbdt", 2.0, mart="training_examples_v2")
    (line,) = answers(v1, v2)["instant"].sentences
    assert line.endswith(f"(v1): {difference(v2, v1)} AUC for 00_gbdt.")


def test_whether_text_helps_and_on_whom(make: Any) -> None:
    plain = make("01_dnn", "01_dnn", 1.0)
    text = make("04_semantic", "04_semantic", 1.0, where={"user_level=zero": 3.0})
    shuffled = make("shuffled", "04_semantic", 1.0, placebo=True)
    rows = test_rows(text)
    levels = [n for n in ("zero", "few", "warm") if (rows["user_level"] == n).any()]
    parts = {n: (rows["user_level"] == n).to_numpy() for n in levels}
    parts = {n: in_B for n, in_B in parts.items() if min(np.bincount(rows["label"][in_B], minlength=2)) >= 30}
    family = len(parts) + 1  # all items are warm
    found = answers(plain, text, shuffled)["texts"]
    assert found.sentences[0] == (
        f"Yes: 04_semantic is at {difference(text, shuffled)} AUC against the same stage with its texts shuffled "
        "(shuffled)."
    )
    zero = difference(text, shuffled, parts["zero"], family)
    assert f"users without any history {zero}" in found.sentences[1]
    other = answers(plain, text)["texts"]
    assert f"at {difference(text, plain)} AUC against 01_dnn, the best network without texts." in other.sentences[0]
    assert "trainer fit --placebo" in other.sentences[1]
    assert "nothing to compare it with" in answers(text)["texts"].sentences[0]


def test_cold_users_and_scenes(make: Any) -> None:
    run = make("01_dnn", "01_dnn", 2.5, where={"user_level=zero": 0.2, "scene=video": -1.0})
    rows = test_rows(run)
    found = answers(run)
    asked = [n for n in ("zero", "few") if (rows["user_level"] == n).any()]
    warm = (rows["user_level"] == "warm").to_numpy()
    zero = (rows["user_level"] == "zero").to_numpy()
    apart = influence(rows, zero) - influence(rows, warm)
    gap = said(rows, auc(rows[zero]) - auc(rows[warm]), apart, len(asked))
    assert found["cold"].sentences[0].startswith("Users without any history")
    assert f"({zero.mean():.1%} of rows): AUC" in found["cold"].sentences[1]
    assert f"those with one, {gap}." in found["cold"].sentences[1]
    scenes = sorted(rows["scene"].unique())
    masks = {s: (rows["scene"] == s).to_numpy() for s in scenes}
    others = [s for s in scenes if s != "video"]
    value = auc(rows[masks["video"]]) - np.mean([auc(rows[masks[s]]) for s in others])
    apart = influence(rows, masks["video"]) - np.mean([influence(rows, masks[s]) for s in others], axis=0)
    text = said(rows, float(value), apart, len(scenes))
    assert found["scenes"].sentences[0].startswith("Yes: ")
    assert f"scene video (AUC {auc(rows[masks['video']]):.4f}".replace("0.", ".") in found["scenes"].sentences[1]
    assert f") at {text} to the mean of the others" in found["scenes"].sentences[1]


def test_whether_test_has_moved(make: Any) -> None:
    run = make("01_dnn", "01_dnn", 2.0, where={"split=test": 1.0})
    found = answers(run)["moved"]
    rows = pd.read_parquet(run / "predictions.parquet")
    test, val = ((rows["split"] == split).to_numpy() for split in ("test", "val"))
    apart = influence(rows, test) - influence(rows, val)
    text = said(rows, auc(rows[test]) - auc(rows[val]), apart)
    assert f"The AUC of 01_dnn from validation to test: {text}" in found.sentences[-1]
    drift = pd.read_csv(run / "drift.csv")
    far = drift[(drift["psi"] > 0.2) & (drift["psi"] > 2 * drift["psi_in_train"].fillna(0))]
    if len(far):
        assert found.sentences[0] == f"Yes: {len(far)} of {len(drift)} inputs have."
    else:
        assert found.sentences[0].startswith(f"No input of {len(drift)} has moved")
    rate = [rows["label"][own].mean() for own in (test, val)]
    line = next(s for s in found.sentences if s.startswith("Positive rate"))
    assert f"{rate[1]:.1%} in validation, {rate[0]:.1%} in test" in line
    of_rate = (
        np.where(test, rows["label"] - rate[0], 0) / test.sum() - np.where(val, rows["label"] - rate[1], 0) / val.sum()
    )
    fewest = min(rows["user_id"].nunique(), rows["item_id"].nunique())
    wide = stats.t.ppf(0.975, fewest - 1) * error(rows, of_rate)
    low, high = (100 * (rate[0] - rate[1] + k * wide) for k in (-1, 1))
    assert f"{100 * (rate[0] - rate[1]):+.1f} points ({low:+.1f} to {high:+.1f})" in line


def test_what_carries_the_result(make: Any) -> None:
    run = make("01_dnn", "01_dnn", 2.0)
    row = {"name": "item_rate", "group": "item", "drop": 0.1, "sd": 0.012, "repeats": 3, "rows": 900, "auc": 0.7}
    write_importance(run, [{"what": "feature"} | row, {"what": "group"} | row | {"name": "item", "sd": 0.0}])
    found = answers(run)["features"]
    wide = stats.t.ppf(0.975, 2) * 0.012 / np.sqrt(3)
    assert "In 01_dnn" in found.sentences[0] and "item +.1000 (+.1000 to +.1000)" in found.sentences[0]
    assert f"item_rate +.1000 (+{0.1 - wide:.4f} to +{0.1 + wide:.4f})".replace("+0.", "+.") in found.sentences[1]


def test_runs_that_do_not_compare_are_named(make: Any) -> None:
    run, other = make("01_dnn", "01_dnn", 2.0), make("00_gbdt", "00_gbdt", 1.0)
    rows = pd.read_parquet(other / "predictions.parquet")
    rows.iloc[:-5].to_parquet(other / "predictions.parquet")
    found = answers(run, other)
    assert "What it is worth over the trees is open" in found["worth"].sentences[1]
    assert "How 00_gbdt compares: other test rows" in found["unknown"].sentences[-1]
    rows = pd.read_parquet(run / "predictions.parquet")
    rows["label"] = 0
    rows.to_parquet(run / "predictions.parquet")
    assert answers(run) == {}, "without an AUC there is nothing to say"
