"""Each rung, taken back to the one before by copied weights. Legend as in trainer/models/layers."""

from __future__ import annotations

from dataclasses import replace

import torch

from tests.trainer.models.small import DROP, EXTRACTION, PAST, PLE_2, TEXT, TOWER, copied, different, made, same
from trainer.inputs.batch import Batch
from trainer.models.content_tower import ContentTower
from trainer.models.dnn import DNN
from trainer.models.interest import Interest
from trainer.models.llm_fallback import LLMFallback
from trainer.models.match import Matching
from trainer.models.mmoe import MMoE
from trainer.models.pepnet import PEPNet
from trainer.models.ple import PLE
from trainer.models.semantic import Semantic
from trainer.models.star import STAR
from trainer.training.fitted import renamed


def test_mmoe_with_one_expert_is_the_dnn(batch: Batch) -> None:
    dnn = made(DNN, 1, embedding_dim=8, hidden=[12, 10], **DROP)
    mmoe = made(MMoE, 2, experts=1, **(EXTRACTION | {"tower": []}))
    copied(dnn, mmoe)
    with torch.no_grad():
        mmoe.experts.first.load_state_dict(dnn.body[0].state_dict())
        mmoe.experts.weights[0][0] = dnn.body[3].weight.T
        mmoe.experts.biases[0][0] = dnn.body[3].bias
        mmoe.towers.layers[0].load_state_dict(dnn.heads.heads.state_dict())
    same(mmoe, dnn, batch)


def test_ple_without_private_experts_in_one_level_is_mmoe(batch: Batch) -> None:
    mmoe = made(MMoE, 1, experts=3, **EXTRACTION)
    ple = made(PLE, 2, shared=3, private=0, levels=1, **EXTRACTION)
    copied(mmoe, ple)
    ple.levels[0].shared.load_state_dict(mmoe.experts.state_dict())
    ple.levels[0].own_gates.load_state_dict(mmoe.gates.state_dict())
    same(ple, mmoe, batch)


def test_a_private_expert_hears_its_own_scene_alone(batch: Batch) -> None:
    ple = made(PLE, 1, **PLE_2)
    ple(batch)[batch.scene_B == 1].sum().backward()
    for level in ple.levels:
        by_scene = level.private.first.weight.grad.unflatten(0, (3, -1)).abs().sum((1, 2))
        assert (by_scene > 0).tolist() == [False, True, False]
    towers = ple.towers.layers[0].weight.grad.unflatten(0, (3, -1)).abs().sum((1, 2))
    assert (towers > 0).tolist() == [False, True, False]


def test_semantic_without_texts_is_ple(batch: Batch) -> None:
    ple, semantic = made(PLE, 1, **PLE_2), made(Semantic, 2, **PLE_2, **TEXT)
    copied(ple, semantic)
    different(semantic, ple, batch)
    none = replace(batch, text_BTV=torch.zeros(64, 3, 7), text_there_BT=torch.zeros(64, 3))
    same(semantic, ple, none)


def test_content_tower_without_alpha_is_the_structured_tower(batch: Batch) -> None:
    semantic, content = made(Semantic, 1, **PLE_2, **TEXT), made(ContentTower, 2, **PLE_2, **TEXT, **TOWER)
    copied(semantic, content)
    different(content, semantic, batch)
    alpha_B, content_B = content.alpha_and_content(batch)
    assert ((alpha_B > 0) & (alpha_B < 1)).all()
    torch.testing.assert_close(content(batch), (1 - alpha_B) * semantic(batch) + alpha_B * content_B)
    with torch.no_grad():
        content.gate.layers[-1].weight.zero_()
        content.gate.layers[-1].bias.fill_(-1e9)
    same(content, semantic, batch)


def test_alpha_hears_the_levels_and_the_scene(batch: Batch) -> None:
    content = made(ContentTower, 2, **PLE_2, **TEXT, **TOWER)
    alpha_B = content.alpha_and_content(batch)[0]
    colder_B = content.alpha_and_content(replace(batch, level_BG=torch.zeros_like(batch.level_BG)))[0]
    elsewhere_B = content.alpha_and_content(replace(batch, scene_B=(batch.scene_B + 1) % 3))[0]
    assert (alpha_B != colder_B).any() and (alpha_B != elsewhere_B).all()


def test_llm_fallback_leaves_warm_rows_alone(batch: Batch) -> None:
    content, llm = made(ContentTower, 1, **PLE_2, **TEXT, **TOWER), made(LLMFallback, 2, **PLE_2, **TEXT, **TOWER)
    copied(content, llm)
    warm = torch.arange(64) % 2 == 0
    some = replace(
        batch, llm_BTV=batch.llm_BTV * ~warm[:, None, None], llm_there_BT=(batch.llm_there_BT * ~warm[:, None])
    )
    # The gate reads text, then levels; with the llm between them the levels' weights stand further right.
    with torch.no_grad():
        for source, target in zip(content.gate.layers[:1], llm.gate.layers[:1], strict=True):
            target.weight[:, -8:] = source.weight[:, -8:]
            target.weight[:, : source.weight.shape[1] - 8] = source.weight[:, :-8]
    difference_B = (llm(some) - content(some)).abs()
    assert difference_B[warm].max() < 1e-5
    assert difference_B[~warm].max() > 1e-3


def test_star_with_unit_weights_is_the_shared_network(batch: Batch) -> None:
    dnn = made(DNN, 1, embedding_dim=8, hidden=[12, 10], **DROP)
    star = made(STAR, 2, embedding_dim=8, hidden=[12, 10], auxiliary=4, **DROP)
    copied(dnn, star)
    with torch.no_grad():
        dnn.heads.heads.weight[:] = dnn.heads.heads.weight[:1]
        dnn.heads.heads.bias[:] = dnn.heads.heads.bias[:1]
        for shared, layer in zip((dnn.body[0], dnn.body[3]), star.layers, strict=False):
            layer.shared.load_state_dict(shared.state_dict())
        star.layers[-1].shared.weight[:] = dnn.heads.heads.weight[:1]
        star.layers[-1].shared.bias[:] = dnn.heads.heads.bias[:1]
        different(star, dnn, batch)
        for part in (star.scale.weight, star.shift.weight, star.auxiliary[1].weight, star.auxiliary[1].bias):
            part.zero_()
        for layer in star.layers:
            layer.weight_SHX.zero_()
            layer.bias_SH.zero_()
    same(star, dnn, batch)


def test_pepnet_with_unit_gates_is_the_dnn(batch: Batch) -> None:
    dnn = made(DNN, 1, embedding_dim=8, hidden=[12, 10], **DROP)
    pepnet = made(PEPNet, 2, embedding_dim=8, hidden=[12, 10], gate=4, **DROP)
    copied(dnn, pepnet)
    for target, source in zip(pepnet.body, (dnn.body[0], dnn.body[3]), strict=True):
        target.load_state_dict(source.state_dict())
    different(pepnet, dnn, batch)
    with torch.no_grad():
        for gate in (pepnet.embedding_gate, *pepnet.gates):
            gate.layers[-1].weight.zero_()
            gate.layers[-1].bias.zero_()  # 2 * sigmoid(0) = 1
    same(pepnet, dnn, batch)


def test_interest_without_a_history_is_semantic(batch: Batch) -> None:
    semantic, interest = made(Semantic, 1, **PLE_2, **TEXT), made(Interest, 2, **PLE_2, **TEXT, **PAST)
    copied(semantic, interest)
    different(interest, semantic, batch)
    same(interest, semantic, replace(batch, past_there_BL=torch.zeros(64, 4)))


def test_interest_ignores_what_isnt_there(batch: Batch) -> None:
    interest = made(Interest, 2, **PLE_2, **TEXT, **PAST)
    gone = batch.past_there_BL == 0
    other = replace(
        batch,
        past_item_BL=batch.past_item_BL.masked_fill(gone, 0),
        past_text_BL=batch.past_text_BL.masked_fill(gone, 0),
        past_label_BL=batch.past_label_BL.masked_fill(gone, 0),
    )
    torch.testing.assert_close(interest(batch), interest(other))


def test_weights_of_runs_from_before_the_attention_was_a_layer_are_read(batch: Batch) -> None:
    one, other = (made(Matching, seed, **PLE_2, **TEXT, **PAST, match=5) for seed in (1, 2))
    old = {name.removeprefix("history."): weight.numpy() for name, weight in one.state_dict().items()}
    assert {"places", "item_query.weight", "attention.query.weight"} <= old.keys()
    different(one, other, batch)
    other.load_state_dict({name: torch.from_numpy(a) for name, a in renamed(old, other).items()})
    same(one, other, batch)
