"""The two optimisers of a network: one for the embedding table, one for the rest."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from trainer.config import TrainingConfig

TABLE = "embeddings"  # the network's part that is the embedding table


def optimizers_of(model: nn.Module, config: TrainingConfig) -> tuple[torch.optim.Optimizer, ...]:
    """AdamW for everything but the embeddings (no decay on vectors), Adam by row for the table; peak rates noted.

    A model without a table has the first alone. On a CPU the table's gradient is sparse, and a step costs what a batch
    touches. A GPU would have to wait for how much that is; there the gradient is dense, and a step costs the table.
    """
    table = [p for name, p in model.named_parameters() if name == f"{TABLE}.weight"]
    rest = [p for name, p in model.named_parameters() if name != f"{TABLE}.weight"]
    matrices, vectors = [p for p in rest if p.ndim > 1], [p for p in rest if p.ndim <= 1]
    on_gpu = rest[0].is_cuda
    dense = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
        lr=config.learning_rate,
        fused=True,
        capturable=on_gpu,
    )
    optimizers: list[torch.optim.Optimizer] = [dense]
    if table:
        embedding = model.get_submodule(TABLE)
        assert isinstance(embedding, nn.Embedding)
        embedding.sparse = not on_gpu
        by_row = RowAdam if on_gpu else torch.optim.SparseAdam
        optimizers.append(by_row(table, lr=config.embedding_learning_rate))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
            if on_gpu:  # on the device, where a recorded step reads it
                group["lr"] = torch.tensor(float(group["lr"]), device=rest[0].device)
    return tuple(optimizers)


def set_rates(optimizers: Iterable[torch.optim.Optimizer], factor: float) -> None:
    """Set every learning rate to its peak times `factor`."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(group["peak"] * factor)
            else:
                group["lr"] = group["peak"] * factor


class RowAdam(torch.optim.Optimizer):
    """Adam that leaves a row as it is, moments too, where its gradient is 0: torch's SparseAdam on dense gradients.

    Source: Kingma and Ba 2015, algorithm 1; what is done about untouched rows is SparseAdam's.
    """

    def __init__(self, params: Iterable[torch.Tensor], lr: float):
        super().__init__(params, {"lr": lr, "betas": (0.9, 0.999), "eps": 1e-8})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # no closure
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for weight_NE in group["params"]:
                grad_NE, state = weight_NE.grad, self.state[weight_NE]
                if not state:
                    state["step"] = torch.zeros((), device=weight_NE.device)
                    state["exp_avg"] = torch.zeros_like(weight_NE)
                    state["exp_avg_sq"] = torch.zeros_like(weight_NE)
                first_NE, second_NE = state["exp_avg"], state["exp_avg_sq"]
                state["step"] += 1
                touched_N1 = (grad_NE != 0).any(1, keepdim=True).to(grad_NE.dtype)
                first_NE.addcmul_(grad_NE - first_NE, touched_N1, value=1 - beta1)
                second_NE.addcmul_(grad_NE * grad_NE - second_NE, touched_N1, value=1 - beta2)
                size = group["lr"] * (1 - beta2 ** state["step"]).sqrt() / (1 - beta1 ** state["step"])
                weight_NE.sub_(first_NE / second_NE.sqrt().add_(group["eps"]) * (touched_N1 * size))
