from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainer.base.errors import TrainerError
from trainer.columns.build import open_columns
from trainer.columns.store import Columns
from trainer.contract.read import read_contract
from trainer.contract.schema import Contract
from trainer.inputs.batcher import Batcher
from trainer.inputs.features import UNSEEN, fit_inputs
from trainer.metrics.metrics import auc
from trainer.training.fit import fit
from trainer.training.fitted import build_network
from trainer.training.loop import predict, sigmoid, train
from trainer.training.schedule import Schedule, learning_rate_factor
from trainer.training.step import drop_ids


@pytest.fixture
def opened(toy: Any, tmp_path: Path) -> tuple[Contract, Columns]:
    contract = read_contract(toy().write(tmp_path / "marts"))
    return contract, open_columns(contract)


def trained(opened: tuple[Contract, Columns], stage: Any, val: np.ndarray | None = None) -> tuple[Any, Any, Batcher]:
    contract, columns = opened
    inputs = fit_inputs(columns, contract.inputs, columns.rows("train"), min_count=1, clip=8.0)
    encoder, network = Batcher(inputs, columns), build_network(stage, inputs.sizes)
    rows = columns.rows("val") if val is None else val
    return network, train(network, encoder, columns.rows("train"), rows, stage.training, stage.seed), encoder


def test_the_best_weights_on_validation_are_restored(opened: Any, stage: Any) -> None:
    # A rate this high makes later evaluations worse, so the best ones are not the last.
    wild = stage("01_dnn", epochs=6, learning_rate=0.05, embedding_learning_rate=0.1, patience=20, warmup_steps=0)
    network, history, encoder = trained(opened, wild)
    found = [e["val_auc"] for e in history.evaluations]
    assert history.best_step == history.evaluations[int(np.argmax(found))]["step"] < history.evaluations[-1]["step"]
    rows = opened[1].rows("val")
    assert auc(opened[1].label_N[rows], predict(network, encoder, rows)) == max(found)


def test_stops_when_validation_stops_improving(opened: Any, stage: Any) -> None:
    wild = stage("01_dnn", epochs=50, learning_rate=0.05, embedding_learning_rate=0.1, patience=3, metric="log_loss")
    _, history, _ = trained(opened, wild)
    losses = [e["val_log_loss"] for e in history.evaluations]
    assert "log_loss did not improve in 3 evaluations" in history.stopped
    assert len(losses) == int(np.argmin(losses)) + 1 + 3 < 100


def test_without_validation_all_epochs_are_trained(opened: Any, stage: Any) -> None:
    config, n_rows = stage("01_dnn", epochs=2), len(opened[1].rows("train"))
    network, history, encoder = trained(opened, config, val=np.empty(0, np.int64))
    assert "could not choose" in history.stopped
    assert history.best_step == history.evaluations[-1]["step"] == Schedule.of(config.training, n_rows).n_steps
    assert predict(network, encoder, np.empty(0, np.int64)).shape == (0,)


def test_it_learns_what_was_planted(opened: Any, stage: Any) -> None:
    fitted, _ = fit(stage("01_dnn"), *opened)
    rows = opened[1].rows("test")
    assert auc(opened[1].label_N[rows], fitted.logits(opened[1], rows)) > 0.65


def test_shuffled_labels_teach_nothing(toy: Any, stage: Any, tmp_path: Path) -> None:
    mart = toy()
    mart.set("label", np.random.default_rng(0).permutation(mart.rows["label"]).tolist())
    contract = read_contract(mart.write(tmp_path / "marts"))
    columns = open_columns(contract)
    for name in ("00_gbdt", "01_dnn"):
        fitted, _ = fit(stage(name), contract, columns)
        rows = columns.rows("test")
        label = columns.label_N[rows]
        error = np.sqrt((1 / label.sum() + 1 / (1 - label).sum()) / 12)
        assert abs(auc(label, fitted.logits(columns, rows)) - 0.5) < 3 * error, name


def test_the_losses_are_what_they_were(opened: Any, stage: Any) -> None:
    """A change of the code that is meant to change nothing must not move them. Other processors round otherwise."""
    _, history = fit(stage("01_dnn", epochs=2, threads=1), *opened)
    found = [(e["step"], e["train_loss"], e["val_auc"]) for e in history.evaluations]
    assert found == [
        pytest.approx(expected, abs=2e-5)
        for expected in [
            (78, 0.6206321603931266, 0.7530529172320217),
            (155, 0.5183707298336261, 0.7489515233748612),
            (232, 0.48739818129864293, 0.7460219563340323),
            (310, 0.4861809006778171, 0.7468237325767855),
        ]
    ]


def test_seeds_decide(opened: Any, stage: Any) -> None:
    def weights(seed: int) -> torch.Tensor:
        return torch.cat(
            [w.flatten() for w in trained(opened, stage("01_dnn", seed=seed, epochs=1))[0].state_dict().values()]
        )

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_the_unseen_row_is_trained(opened: Any, stage: Any) -> None:
    """min_count is 1 here, so the row learns by id_dropout alone."""
    for share, moved in ((0.3, True), (0.0, False)):
        one = stage("01_dnn", epochs=1, id_dropout=share)
        network, _, encoder = trained(opened, one)
        start = build_network(one, encoder.inputs.sizes).embeddings.weight[encoder.inputs.offsets[:2] + UNSEEN]
        now = network.embeddings.weight[encoder.inputs.offsets[:2] + UNSEEN]
        assert bool((start != now).all()) == moved


def test_dropped_ids_go_to_their_own_unseen_row(opened: Any) -> None:
    contract, columns = opened
    inputs = fit_inputs(columns, contract.inputs, columns.rows("train"), min_count=1, clip=8.0)
    rows = columns.rows("train")
    before = Batcher(inputs, columns).batch(rows)
    unseen_F = torch.from_numpy(inputs.offsets)
    torch.manual_seed(0)
    after = drop_ids(Batcher(inputs, columns).batch(rows), [0, 1], unseen_F, 0.25)
    changed = after.ids_BF != before.ids_BF
    assert not changed[:, 2:].any()
    for f in (0, 1):
        assert changed[:, f].float().mean() == pytest.approx(0.25, abs=0.04)
        assert (after.ids_BF[changed[:, f], f] == unseen_F[f]).all()


def test_a_loss_that_is_no_number_is_named(opened: Any, stage: Any) -> None:
    with pytest.raises(TrainerError, match=r"loss is .* after step \d+ of .*\.learning_rate 1e\+30 .* lower both"):
        trained(opened, stage("01_dnn", learning_rate=1e30))


def test_learning_rate_warms_up_and_falls_to_zero() -> None:
    factors = [learning_rate_factor(step, 100, 10) for step in range(101)]
    assert factors[:10] == sorted(factors[:10]) and factors[0] > 0
    assert factors[10] == 1
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[100] == pytest.approx(0, abs=1e-12)


def test_sigmoid_is_exact_and_never_overflows() -> None:
    z = np.array([-1000.0, -3.0, 0.0, 3.0, 1000.0], np.float32)
    np.testing.assert_allclose(sigmoid(z), [0, 1 / (1 + np.exp(3)), 0.5, 1 / (1 + np.exp(-3)), 1])


@pytest.mark.parametrize(
    ("n_rows", "batch_size", "epochs", "n_steps"),
    [(700_144, 4096, 2, 342), (150_000, 1000, 2, 300), (17_000, 113, 2, 302), (100, 64, 150, 300), (1, 64, 300, 300)],
)
def test_a_small_log_gets_enough_updates(n_rows: int, batch_size: int, epochs: int, n_steps: int, stage: Any) -> None:
    config = stage("01_dnn", epochs=2, min_steps=300, batch_size=4096, evaluations_per_epoch=2, warmup_steps=100)
    plan = Schedule.of(config.training, n_rows)
    assert (plan.batch_size, plan.epochs, plan.n_steps) == (batch_size, epochs, n_steps)
    assert len(plan.evaluate_at) == 4
    assert max(plan.evaluate_at) == n_steps
    assert plan.warmup <= 100
