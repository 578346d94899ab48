"""The two optimisers of a network: one for the embedding table, one for the rest."""

from __future__ import annotations

import torch
from torch import nn

from trainer.config import TrainingConfig


def optimizers_of(model: nn.Module, config: TrainingConfig) -> tuple[torch.optim.Optimizer, ...]:
    """AdamW for everything but the embeddings (no decay on vectors), sparse Adam for the table; peak rates noted.

    A model without a table has the first alone.
    """
    table = [p for name, p in model.named_parameters() if name == "embeddings.weight"]
    rest = [p for name, p in model.named_parameters() if name != "embeddings.weight"]
    matrices, vectors = [p for p in rest if p.ndim > 1], [p for p in rest if p.ndim <= 1]
    dense = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
        lr=config.learning_rate,
        fused=True,
    )
    optimizers: list[torch.optim.Optimizer] = [dense]
    if table:
        optimizers.append(torch.optim.SparseAdam(table, lr=config.embedding_learning_rate))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return tuple(optimizers)
