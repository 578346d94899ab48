"""Matches of a user's outcomes with an item, taken back to the rung before."""

from __future__ import annotations

from dataclasses import replace

import torch

from tests.trainer.models.small import EXTRACTION, PAST, PLE_2, SIZES, TEXT, copied, different, made, same
from trainer.inputs.batch import Batch
from trainer.models.entity_match import EntityMatch
from trainer.models.interest import Interest
from trainer.models.layers import SpaceMatch
from trainer.models.match import Matching
from trainer.models.mmoe import MMoE


def test_match_that_nobody_hears_is_interest(batch: Batch) -> None:
    interest = made(Interest, 1, **PLE_2, **TEXT, **PAST)
    matching = made(Matching, 2, **PLE_2, **TEXT, **PAST, match=5)
    copied(interest, matching)
    different(matching, interest, batch)
    with torch.no_grad():  # what reads the input of the first level; the match is its last columns
        for name, parameter in matching.levels[0].named_parameters():
            if parameter.shape[-1:] == (matching.levels[0].shared_gate.in_features,):
                assert name.endswith("weight")
                parameter[..., -matching.match.width :] = 0
    same(matching, interest, batch)


def test_a_match_is_of_two_sides_and_needs_both(batch: Batch) -> None:
    match = made(Matching, 1, **PLE_2, **TEXT, **PAST, match=5).match
    e_BFE = torch.randn(64, 4, 8)
    texts_BTV = batch.text_BTV * batch.text_there_BT[..., None]
    plain_BX = match(e_BFE, texts_BTV)
    cosine_BP = plain_BX[:, 5:]
    expected_BP = torch.cosine_similarity(texts_BTV[:, :2], texts_BTV[:, 2:], dim=2)
    torch.testing.assert_close(cosine_BP, expected_BP)  # user text against both texts of the item
    assert (cosine_BP[batch.text_there_BT[:, 2] == 0] == 0).all()
    # A field that is no id has no say; the user's id has one, through the product alone.
    other = e_BFE.clone()
    other[:, 2:] = 0
    torch.testing.assert_close(match(other, texts_BTV), plain_BX)
    other[:, 0] = 0
    moved_BX = match(other, texts_BTV)
    assert (moved_BX[:, :5] - plain_BX[:, :5]).abs().max() > 1e-3
    torch.testing.assert_close(moved_BX[:, 5:], cosine_BP)


def test_entity_match_without_texts_is_mmoe(batch: Batch) -> None:
    mmoe = made(MMoE, 1, experts=3, **EXTRACTION)
    match = made(EntityMatch, 2, experts=3, text_dropout=0.0, **EXTRACTION)
    copied(mmoe, match)
    different(match, mmoe, batch)
    same(match, mmoe, replace(batch, text_BTV=torch.zeros(64, 3, 7)))


def test_a_match_in_space_is_the_product_of_the_sides_means(batch: Batch) -> None:
    match = SpaceMatch(SIZES, 0.0)
    texts_BTV = batch.text_BTV * batch.text_there_BT[..., None]
    found_BX = match(texts_BTV)
    assert found_BX.shape == (64, match.width) == (64, 7 + 2)
    for x_X, texts_TV in zip(found_BX, texts_BTV, strict=True):
        unit_TV = [t / t.norm() if t.norm() > 0 else t for t in texts_TV]
        item = unit_TV[0] + unit_TV[1]
        item = item / item.norm() if item.norm() > 0 else item
        torch.testing.assert_close(x_X[:7], 7 * unit_TV[2] * item)
        torch.testing.assert_close(x_X[7:], torch.stack([unit_TV[2] @ unit_TV[0], unit_TV[2] @ unit_TV[1]]))


def test_a_like_outcome_weighs_more_and_its_label_counts(batch: Batch) -> None:
    attention = made(Interest, 2, **PLE_2, **TEXT, **PAST).history.attention
    with torch.no_grad():
        attention.query.weight.copy_(torch.eye(8))
        attention.query.bias.zero_()
        attention.key.weight.copy_(torch.eye(8))
    like = torch.full((1, 8), 2.0)
    keys = torch.stack([like, -like], 1)
    there = torch.ones(1, 2)
    clicked = attention(like, keys, torch.tensor([[1, 0]]), there)[0, :4].unflatten(0, (2, 2))  # heads x (clicked, not)
    assert (clicked[:, 0] > 0.9).all() and (clicked[:, 1] < 0.01).all()
    other = attention(like, keys, torch.tensor([[0, 1]]), there)[0, :4].unflatten(0, (2, 2))
    torch.testing.assert_close(other, clicked.flip(1))
    assert attention(like, keys, torch.tensor([[1, 0]]), 0 * there).abs().max() == 0
