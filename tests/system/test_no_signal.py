"""Labels permuted in the raw log, before any feature is built: nothing is left to learn, in the whole path.

Where the SQL lets a row see its own outcome, the same path finds a lot: so the proof can fail.
"""

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.warehouse.logs import random_log, with_column
from tests.warehouse.project import Edit, Project
from trainer.columns.build import open_columns
from trainer.config import Stage, load_stage, parse_stage
from trainer.contract.read import read_contract
from trainer.metrics.metrics import auc
from trainer.training.fit import fit

OWN_ROW = Edit("warehouse/macros/windows.sql", "and 1 preceding", "and current row")


def permuted_log() -> pa.Table:
    """A log with taste in it, by user and item, whose labels are then permuted."""
    log = random_log(4000, seed=3)
    draw = random.Random(5)
    users, items = (
        {key: draw.gauss(0, 1) for key in sorted(set(log[name].to_pylist()))} for name in ("user_id", "item_id")
    )
    logits = [users[u] + items[i] for u, i in zip(log["user_id"].to_pylist(), log["item_id"].to_pylist(), strict=True)]
    labels = [int(draw.random() < 1 / (1 + np.exp(-z))) for z in logits]
    return with_column(log, "clicked", draw.sample(labels, len(labels)))


def small(name: str) -> Stage:
    """A stage cut down to a small log, without texts."""
    raw = load_stage(name).model_dump(exclude_none=True)
    raw["inputs"].pop("texts", None)
    raw["training"] |= {"epochs": 4, "batch_size": 256, "learning_rate": 0.003, "min_steps": 1, "patience": 100}
    raw["model"] |= {"hidden": [32, 16], "embedding_dim": 8}
    return parse_stage(raw, name)


def held_out(folder: Path, stage: Stage, cache: pytest.MonkeyPatch) -> tuple[float, float]:
    """AUC of the rows after train, and its standard error if there were nothing to learn."""
    cache.setenv("FIRST_IMPRESSION_CACHE", str(folder / "cache"))
    contract = read_contract(folder / "data/marts/my_log", "training_examples_v2", folder / "target/manifest.json")
    columns = open_columns(contract)
    fitted, _ = fit(stage, contract, columns)
    rows = columns.rows("test")  # validation chose the weights
    label = columns.label_N[rows]
    assert min(label.sum(), (1 - label).sum()) > 200
    return auc(label, fitted.logits(columns, rows)), float(np.sqrt((1 / label.sum() + 1 / (1 - label).sum()) / 12))


def test_nothing_is_learnt_of_labels_that_were_dealt_out_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = permuted_log()
    honest, leaky = Project(tmp_path / "honest"), Project(tmp_path / "leaky", (OWN_ROW,))
    for project in (honest, leaky):
        project.build_marts(log, versions=(2,))
    for name in ("01_dnn", "09_interest"):
        found, error = held_out(honest.folder, small(name), monkeypatch)
        assert abs(found - 0.5) < 3 * error, name
    found, error = held_out(leaky.folder, small("01_dnn"), monkeypatch)
    assert found > 0.5 + 6 * error
