from __future__ import annotations

import pytest
import torch

from trainer.inputs.batch import Batch


@pytest.fixture
def batch() -> Batch:
    torch.manual_seed(3)
    n = 64
    return Batch(
        torch.randint(0, 50, (n, 4)),
        torch.randn(n, 6),
        torch.randint(0, 3, (n,)),
        torch.rand(n).round(),
        torch.randint(0, 4, (n, 2)),
        torch.randn(n, 3, 7),
        torch.rand(n, 3).round(),
        torch.randn(n, 3, 5),
        torch.rand(n, 3).round(),
        torch.randint(0, 50, (9,)),
        torch.randint(0, 9, (n, 4)),
        torch.randn(5, 7),
        torch.randint(0, 5, (n, 4)),
        torch.randint(0, 2, (n, 4)),
        torch.rand(n, 4).round(),
    )
