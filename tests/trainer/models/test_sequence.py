"""11_sequence: no outcome reaches a row before it is known, to the last bit; and the layer against a plain reading."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainer.columns.build import open_columns
from trainer.columns.sequences import OutcomeIndex
from trainer.columns.store import Columns
from trainer.contract.read import read_contract
from trainer.inputs.batcher import Batcher
from trainer.models.layers import RecentBlock, Sight
from trainer.training.fit import fit
from trainer.training.fitted import Fitted
from trainer.training.step import drop_ids

SMALL = {"epochs": 1, "min_steps": 4, "layers": 3}


def sharpened(fitted: Fitted) -> Fitted:
    """With weights so large that nothing small is lost in rounding."""
    with torch.no_grad():
        for parameter in fitted.network.parameters():
            parameter.mul_(2)
    return fitted


def made(mart: Any, stage: Any, tmp_path: Path, **options: Any) -> tuple[Fitted, Columns]:
    contract = read_contract(mart.write(tmp_path / "marts"))
    columns = open_columns(contract)
    return sharpened(fit(stage("11_sequence", **(SMALL | options)), contract, columns)[0]), columns


@pytest.fixture(params=[1000, 4])
def late(request: Any, toy: Any, delays: Any, stage: Any, tmp_path: Path) -> tuple[Fitted, Columns]:
    """A fitted stage whose window holds all outcomes, or slides."""
    return made(delays(toy(900)), stage, tmp_path, sequence=request.param)


def flipped(columns: Columns, which_N: np.ndarray) -> Columns:
    return replace(columns, label_N=np.where(which_N, 1 - columns.label_N, columns.label_N))


def test_what_is_not_yet_known_moves_no_logit(late: tuple[Fitted, Columns]) -> None:
    """Outcomes not known at an instant are reversed, some or all: rows up to that instant keep their logits.

    Late outcomes, those of the instant itself, and the rows' own are among them.
    """
    fitted, columns = late
    rows = np.arange(len(columns))
    before = fitted.logits(columns, rows)
    at, known, rng = columns.event_at_N, columns.known_at_N, np.random.default_rng(0)
    moved = 0
    for instant in at[rng.choice(rows[100:], 6, replace=False)]:
        unknown = known >= instant
        assert (unknown & (at < instant)).any(), "some happened before and are known later"
        for which in (unknown, unknown & (rng.random(len(rows)) < 0.5)):
            after = fitted.logits(flipped(columns, which), rows)
            np.testing.assert_array_equal(after[at <= instant], before[at <= instant])
            moved += int((after != before).sum())
    assert moved > 100, "later rows do see them"


def test_what_is_known_moves_logits(late: tuple[Fitted, Columns]) -> None:
    fitted, columns = late
    found = OutcomeIndex(columns).seen_by(columns)
    before = fitted.logits(columns, np.arange(len(columns)))
    moved = []
    for row in np.flatnonzero(found.seen_N > 0)[::40]:
        latest = found.index.order[found.begin_N[row] + found.seen_N[row] - 1]
        after = fitted.logits(flipped(columns, np.arange(len(columns)) == latest), np.arange(len(columns)))
        moved.append(after[row] != before[row])
        others = columns.codes_of("user") != columns.codes_of("user")[row]
        np.testing.assert_array_equal(after[others], before[others])
    assert len(moved) > 10 and all(moved)


def test_times_and_items_of_the_unknown_say_nothing_either(late: tuple[Fitted, Columns]) -> None:
    """A row of the future is shown to nobody, with or without its label."""
    fitted, columns = late
    instant = columns.event_at_N[600]
    later = (columns.known_at_N >= instant) & (columns.event_at_N > instant)
    changed = replace(
        columns,
        codes_NC=np.where(later[:, None], np.roll(columns.codes_NC, 1, 0), columns.codes_NC),
        dense_ND=np.where(later[:, None], 0, columns.dense_ND),
    )
    user = columns.code_names.index("user_id")
    changed.codes_NC[:, user] = columns.codes_NC[:, user]
    rows = np.arange(len(columns))
    before, after = fitted.logits(columns, rows), fitted.logits(changed, rows)
    np.testing.assert_array_equal(after[~later], before[~later])
    assert (after[later] != before[later]).any()


def test_beyond_the_window_nothing_is_seen(toy: Any, delays: Any, stage: Any, tmp_path: Path) -> None:
    """One layer sees the latest three outcomes; a second one those that these saw."""
    for layers in (1, 2):
        fitted, columns = made(delays(toy(900)), stage, tmp_path / str(layers), sequence=3, layers=layers)
        found = OutcomeIndex(columns).seen_by(columns)
        row = int(found.seen_N.argmax())
        seen = found.index.order[found.begin_N[row] : found.begin_N[row] + found.seen_N[row]]
        assert len(seen) > 8
        before = fitted.logits(columns, np.array([row]))
        moves = [
            bool(fitted.logits(flipped(columns, np.arange(len(columns)) == one), np.array([row])) != before)
            for one in seen[::-1]
        ]
        assert all(moves[:3])
        assert any(moves[3:]) == (layers == 2)


def test_a_row_is_the_same_in_any_company(late: tuple[Fitted, Columns], monkeypatch: pytest.MonkeyPatch) -> None:
    fitted, columns = late
    rows = np.random.default_rng(0).permutation(len(columns))
    together = fitted.logits(columns, rows)
    alone = np.concatenate([fitted.logits(columns, rows[k : k + 1]) for k in range(40)])
    np.testing.assert_allclose(alone, together[:40], atol=1e-4)
    other_store = replace(columns)
    vars(other_store)["dictionaries"] = columns.dictionaries
    np.testing.assert_array_equal(fitted.logits(columns, rows, outcomes=OutcomeIndex(other_store)), together)
    monkeypatch.setattr("trainer.models.layers.recent._ROWS", 2)
    np.testing.assert_allclose(fitted.logits(columns, rows), together, atol=1e-4)


def test_without_known_outcomes_it_is_a_network_on_the_row(late: tuple[Fitted, Columns]) -> None:
    """Then neither the user nor the instant makes a difference."""
    fitted, columns = late
    never = replace(columns, known_at_N=np.full(len(columns), np.iinfo(np.int64).max))
    other = replace(never, codes_NC=never.codes_NC.copy(), event_at_N=never.event_at_N[::-1].copy())
    other.codes_NC[:, columns.code_names.index("user_id")] = 1
    rows = np.arange(len(columns))
    np.testing.assert_allclose(fitted.logits(never, rows), fitted.logits(other, rows), atol=1e-5)
    assert np.abs(fitted.logits(never, rows) - fitted.logits(columns, rows)).max() > 0.01


def test_items_are_hidden_in_rows_and_in_outcomes(late: tuple[Fitted, Columns]) -> None:
    fitted, columns = late
    batch = Batcher(fitted.inputs, columns).batch(np.arange(len(columns)))
    unseen = torch.from_numpy(fitted.inputs.offsets)
    torch.manual_seed(0)
    hidden = drop_ids(batch, [fitted.inputs.sizes.item_field], unseen, 0.45)
    for before, after in ((batch, hidden), (batch.outcomes.rows, hidden.outcomes.rows)):
        changed = (before.ids_BF != after.ids_BF).float().mean(0)
        assert 0.3 < changed[fitted.inputs.sizes.item_field] < 0.55
        assert changed.sum() == changed[fitted.inputs.sizes.item_field]
    assert torch.equal(batch.outcomes.row_GL, hidden.outcomes.row_GL)


@pytest.mark.parametrize("window", [1000, 40])
def test_the_layer_against_a_softmax_row_by_row(window: int) -> None:
    torch.manual_seed(0)
    n_users, n_rows, n_outcomes, size, heads = 3, 300, 290, 8, 2
    layer = RecentBlock(size, heads, 0.0).eval()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(2)
        layer.nothing.normal_()
        layer.fading.copy_(torch.tensor([-1.0, 2.0]))
    x_GRD, memory_GLD = torch.randn(n_users, n_rows, size), torch.randn(n_users, n_outcomes, size)
    at_GL = torch.randint(0, 10**12, (n_users, n_outcomes)).sort(1).values
    at_GR = torch.randint(0, 10**12, (n_users, n_rows)).sort(1).values
    seen_GR = (at_GL[:, None] < at_GR[:, :, None]).sum(2)
    found = layer(x_GRD, layer.remember(memory_GLD), Sight.of(seen_GR, at_GR, at_GL, window))
    query_GRD = layer.query(layer.norm(x_GRD))
    key_GLD, value_GLD = layer.key_value(layer.norm(memory_GLD)).chunk(2, 2)
    for g in range(n_users):
        for r in range(0, n_rows, 23):
            first, last = max(0, int(seen_GR[g, r]) - window), int(seen_GR[g, r])
            minutes = (at_GR[g, r] - at_GL[g, first:last]).double() / 60e6
            parts = []
            for h in range(heads):
                own = slice(h * size // heads, (h + 1) * size // heads)
                keys = torch.cat([layer.nothing[0, 0, :, own], key_GLD[g, first:last, own]]).double()
                values = torch.cat([layer.nothing[1, 0, :, own], value_GLD[g, first:last, own]]).double()
                fading = torch.nn.functional.softplus(layer.fading[h].double())
                score = keys @ query_GRD[g, r, own].double() / 2 - fading * torch.cat(
                    [torch.zeros(1), torch.log1p(minutes)]
                )
                parts.append(score.softmax(0) @ values)
            x = x_GRD[g, r] + layer.out(torch.cat(parts).float())
            torch.testing.assert_close(found[g, r], x + layer.wide(x), atol=1e-4, rtol=1e-4)
