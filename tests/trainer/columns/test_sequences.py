"""Which outcomes a row may see, held against a reading of the mart row by row."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.base.errors import TrainerError
from trainer.columns import sequences
from trainer.columns.build import open_columns
from trainer.columns.rows import NEVER
from trainer.columns.sequences import OutcomeIndex, Sequences
from trainer.columns.store import Columns
from trainer.contract.read import read_contract


@pytest.fixture
def columns(toy: Any, delays: Any, tmp_path: Path) -> Columns:
    return open_columns(read_contract(delays(toy(700)).write(tmp_path / "marts")))


def may_see(columns: Columns, row: int) -> list[int]:
    """The positions of the outcomes that a row may see, in the order in which they became known."""
    users, known = columns.codes_of("user"), columns.known_at_N
    own = [k for k in range(len(columns)) if users[k] == users[row] and known[k] < columns.event_at_N[row]]
    return sorted(own, key=lambda k: (known[k], k))


def seen(found: Sequences, row: int) -> list[int]:
    begin = found.begin_N[row]
    return found.index.order[begin : begin + found.seen_N[row]].tolist()


def test_a_row_sees_what_was_known_before_its_instant(columns: Columns) -> None:
    found = OutcomeIndex(columns).seen_by(columns)
    expected = [may_see(columns, row) for row in range(len(columns))]
    assert [seen(found, row) for row in range(len(columns))] == expected
    index = found.index
    assert index.own_seen.tolist() == [len(expected[row]) for row in index.order]
    users, at = columns.codes_of("user"), columns.event_at_N
    earlier = [int(((users == users[k]) & (at < at[k])).sum()) for k in range(len(columns))]
    assert sum(len(e) < n for e, n in zip(expected, earlier, strict=True)) > 100, "late outcomes are left out"
    pairs = np.stack([users, at], 1)
    assert len(np.unique(pairs, axis=0)) < len(columns) - 50, "some happen at one instant"


def test_rows_of_another_store_find_their_users_outcomes(columns: Columns, toy: Any, tmp_path: Path) -> None:
    """By the users' names; of a user whom the outcomes don't know nothing is seen."""
    mart = toy(700)
    mart.set("user_id", [f"u{(int(u[1:]) * 7) % 160}" for u in mart.rows["user_id"]])
    other = open_columns(read_contract(mart.write(tmp_path / "other")))
    found = OutcomeIndex(columns).seen_by(other)
    ours, theirs = ([None, *c.dictionaries["user_id"]] for c in (columns, other))
    users = np.array(ours, object)[columns.codes_of("user")]
    for row in range(0, 700, 7):
        name, at = theirs[other.codes_of("user")[row]], other.event_at_N[row]
        own = [k for k in range(len(columns)) if users[k] == name and columns.known_at_N[k] < at]
        assert seen(found, row) == sorted(own, key=lambda k: (columns.known_at_N[k], k))
    assert set(theirs) - set(ours), "some users are new"


def test_no_row_sees_its_own_outcome_whatever_known_at_says(columns: Columns) -> None:
    early = replace(columns, known_at_N=np.zeros(len(columns), np.int64))
    found, rows = OutcomeIndex(early).seen_by(early), range(len(columns))
    assert all(row not in seen(found, row) for row in rows)
    never = replace(columns, known_at_N=np.full(len(columns), NEVER))
    assert not OutcomeIndex(never).seen_by(never).seen_N.any()
    with pytest.raises(TrainerError, match="a column known_at with role time"):
        OutcomeIndex(replace(columns, known_at_N=None)).seen_by(columns)


@pytest.mark.parametrize("window", [3, 1000])
def test_a_layout_has_all_that_its_rows_need(columns: Columns, window: int) -> None:
    found = OutcomeIndex(columns).seen_by(columns)
    rows_B = np.random.default_rng(0).permutation(len(columns))[:60]
    layout = found.layout(rows_B, window, 2)
    for b, row in enumerate(rows_B):
        g, q = divmod(int(layout.place_B[b]), layout.asked_GQ.shape[1])
        assert layout.asked_GQ[g, q] == b
        here = layout.rows_T[layout.row_GL[g, : layout.asked_seen_GQ[g, q]]].tolist()
        expected = may_see(columns, row)
        assert here[-window:] == expected[-window:]
        for place, outcome in list(enumerate(here))[-window:]:  # and what those saw
            own = layout.rows_T[layout.row_GL[g, : layout.seen_GL[g, place]]].tolist()
            assert own[-window:] == may_see(columns, outcome)[-window:]
    if window == 3:
        assert len(layout.rows_T) < len(found.layout(rows_B, 1000, 2).rows_T), "no more than is needed"


def test_batches_have_every_row_once_and_whole_users(columns: Columns, monkeypatch: pytest.MonkeyPatch) -> None:
    found, rows = OutcomeIndex(columns).seen_by(columns), columns.rows("train")
    batches = found.batches(rows, 9, np.random.default_rng(1))
    assert len(batches) == 9
    np.testing.assert_array_equal(np.sort(np.concatenate(batches)), rows)
    users = [set(columns.codes_of("user")[b]) for b in batches]
    assert sum(map(len, users)) == len(set().union(*users)), "no user is in two batches"
    assert len(found.batches(rows, len(rows), np.random.default_rng(1))) == len(rows), "users are cut where they must"
    monkeypatch.setattr(sequences, "MOST", 3000)
    blocks = found.blocks(rows, 50)
    assert max(map(len, blocks)) <= 50 and len(blocks) > len(rows) / 50
    np.testing.assert_array_equal(np.sort(np.concatenate(blocks)), np.arange(len(rows)))
    assert found.blocks(rows[:0], 50) == []


def test_the_hash_of_the_rows_says_when_outcomes_were_known_if_that_was_later(
    toy: Any, delays: Any, tmp_path: Path
) -> None:
    def opened(mart: Any, name: str) -> Columns:
        return open_columns(read_contract(mart.write(tmp_path / name)))

    at_once, without, later = toy(300), toy(300), toy(300)
    without.columns = [c for c in without.columns if c["name"] != "known_at"]
    later.rows["known_at"] = [None, *(at + timedelta(seconds=1) for at in later.rows["event_at"][1:])]
    one, none, other = opened(at_once, "a"), opened(without, "b"), opened(later, "c")
    np.testing.assert_array_equal(one.known_at_N, one.event_at_N)
    assert none.known_at_N is None and none.content_hash == one.content_hash
    assert other.content_hash != one.content_hash
    assert sorted(set((other.known_at_N - other.event_at_N).tolist()) - {1_000_000})[0] > 10**15, "NULL is never"
    assert (other.known_at_N == NEVER).sum() == 1
