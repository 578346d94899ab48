from __future__ import annotations

import pytest
import torch

from trainer.models.layers import Dropout, Experts, SceneTowers, by_scene, own_scene, take_fields


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    drop = Dropout(0.3)
    x = torch.ones(1000, 333)
    dropped = drop(x)
    assert (dropped == 0).float().mean().item() == pytest.approx(0.3, abs=0.003)
    assert dropped.mean().item() == pytest.approx(1, abs=0.005)
    assert dropped.unique().tolist() == [0, pytest.approx(256 / (256 - 77))]
    assert not torch.equal(drop(x), dropped)
    torch.manual_seed(0)
    assert torch.equal(drop(x), dropped)
    assert drop.eval()(x) is x


def test_rows_go_through_their_own_scene_in_their_own_order() -> None:
    scene_B = torch.tensor([2, 0, 2, 3, 0])  # no row of scene 1
    x_BX = torch.arange(10.0).view(5, 2)

    def every(x_BX: torch.Tensor) -> torch.Tensor:
        return torch.stack([x_BX + 100 * s for s in range(4)], 1)

    out_BX = by_scene(scene_B, 4, x_BX, lambda s, x_bX: x_bX + 100 * s, every)
    assert torch.equal(own_scene(every(x_BX), scene_B), out_BX)
    assert torch.equal(out_BX, x_BX + 100 * scene_B[:, None])


def test_an_exported_graph_computes_the_same() -> None:
    """torch.export takes the other way through by_scene; groups of any size come out of one graph."""
    torch.manual_seed(0)
    towers = SceneTowers(6, 3, (5,), 0.1).eval()
    rows = torch.export.Dim("rows", min=2, max=1000)
    graph = torch.export.export(
        towers, (torch.randn(8, 6), torch.randint(0, 3, (8,))), dynamic_shapes=({0: rows}, {0: rows})
    )
    for n in (5, 30):
        x_BX, scene_B = torch.randn(n, 6), torch.randint(0, 3, (n,))
        torch.testing.assert_close(graph.module()(x_BX, scene_B), towers(x_BX, scene_B))


def test_a_range_of_experts_is_a_part_of_all() -> None:
    experts = Experts(6, 5, (4, 3), 0.0)
    x_BX = torch.randn(7, 6)
    torch.testing.assert_close(experts(x_BX, 1, 3), experts(x_BX)[:, 1:3])


def test_fields_are_taken_as_by_a_list() -> None:
    x_BFE = torch.arange(24.0).view(2, 4, 3)
    for fields in ([], [2], [3, 0]):
        assert torch.equal(take_fields(x_BFE, fields), x_BFE[:, fields])
