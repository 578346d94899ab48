from __future__ import annotations

import torch

from trainer.inputs.batch import Batch, Sizes
from trainer.models.dnn import DNN, Config

SIZES = Sizes(n_embeddings=30, n_fields=3, n_dense=4, n_scenes=3)


def batch(n: int = 12) -> Batch:
    torch.manual_seed(0)
    return Batch(
        torch.randint(0, 10, (n, 3)) + torch.tensor([0, 10, 20]),
        torch.randn(n, 4),
        torch.arange(n) % 3,
        (torch.rand(n) < 0.5).float(),
    )


def model() -> DNN:
    torch.manual_seed(1)
    return DNN(SIZES, Config(kind="dnn", embedding_dim=5, hidden=[16, 8], dropout=0.0, embedding_dropout=0.0))


def test_one_logit_a_row_whatever_its_neighbours() -> None:
    net, rows = model().eval(), batch()
    together = net(rows)
    assert together.shape == (12,)
    one = Batch(rows.ids_BF[5:6], rows.dense_BX[5:6], rows.scene_B[5:6], rows.label_B[5:6])
    torch.testing.assert_close(net(one), together[5:6])


def test_every_input_moves_the_logit() -> None:
    net, rows = model().eval(), batch()
    before = net(rows)
    for f in range(3):
        ids = rows.ids_BF.clone()
        ids[:, f] = f * 10 + (ids[:, f] - f * 10 + 1) % 10
        assert (net(Batch(ids, rows.dense_BX, rows.scene_B, rows.label_B)) != before).all()
    for x in range(4):
        dense = rows.dense_BX.clone()
        dense[:, x] += 1
        assert (net(Batch(rows.ids_BF, dense, rows.scene_B, rows.label_B)) != before).all()
    assert (net(Batch(rows.ids_BF, rows.dense_BX, (rows.scene_B + 1) % 3, rows.label_B)) != before).all()


def test_a_head_learns_from_its_own_scene_alone() -> None:
    net, rows = model(), batch()
    net(rows)[rows.scene_B == 1].sum().backward()
    gradient_SH = net.heads.heads.weight.grad
    assert gradient_SH[1].abs().sum() > 0
    assert gradient_SH[[0, 2]].abs().sum() == 0


def test_with_equal_heads_and_scene_vectors_it_is_one_plain_network() -> None:
    """The collapse: scenes that don't differ in weights don't differ in logits."""
    net, rows = model().eval(), batch()
    with torch.no_grad():
        net.scenes.weight.copy_(net.scenes.weight[:1].expand(3, -1))
        net.heads.heads.weight.copy_(net.heads.heads.weight[:1].expand(3, -1))
        net.heads.heads.bias.fill_(0.3)
    elsewhere = Batch(rows.ids_BF, rows.dense_BX, (rows.scene_B + 1) % 3, rows.label_B)
    torch.testing.assert_close(net(rows), net(elsewhere))
    x = torch.cat([net.embeddings(rows.ids_BF).flatten(1), net.scenes.weight[:1].expand(12, -1), rows.dense_BX], 1)
    torch.testing.assert_close(
        net(rows), torch.nn.functional.linear(net.body(x), net.heads.heads.weight[:1], net.heads.heads.bias[:1])[:, 0]
    )
