"""The same MMoE on the same rows by DeepCTR-Torch and by torch-rechub."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PEERS = ("deepctr-torch==0.3.0", "torch-rechub==0.9.0")
# What the peers import beyond this project's own requirements; constraints.txt says which version.
PEERS_NEED = ("pandas",)
CARDINALITIES = [100_000] * 2 + [10_000] * 8 + [1_000] * 10 + [50] * 19 + [5]
SIZE, BATCH, EXPERTS, HIDDEN, TOWER, RATE = 16, 4096, 8, [128, 64], [32], 1e-3
FIELDS = [f"f{k:02d}" for k in range(len(CARDINALITIES))]


def peers_rows(folder: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What the peers take: every category as a code below its cardinality, and five labels per row."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

    table = ds.dataset(folder / "marts" / "training_examples_v1", exclude_invalid_files=True).to_table(
        columns=[*FIELDS, "label"]
    )
    x = {name: pc.utf8_slice_codeunits(table[name], 1).cast(pa.int64()).to_numpy() for name in FIELDS}
    return x, np.repeat(table["label"].to_numpy()[:, None], 5, 1).astype(np.float32)


def timed_epoch(model: Any, epoch: Callable[[], object], reading: float) -> dict:
    wall, cpu = time.perf_counter(), time.process_time()
    epoch()
    return {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "reading": reading,
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def deepctr(folder: Path, threads: int, batch: int = BATCH, device: str = "cpu") -> dict:
    import torch
    from deepctr_torch.inputs import SparseFeat
    from deepctr_torch.models.multitask import MMOE

    torch.set_num_threads(threads)
    started = time.perf_counter()
    x, y = peers_rows(folder)
    reading = time.perf_counter() - started
    features = [SparseFeat(name, c, embedding_dim=SIZE) for name, c in zip(FIELDS, CARDINALITIES, strict=True)]
    model = MMOE(
        features,
        num_experts=EXPERTS,
        expert_dnn_hidden_units=tuple(HIDDEN),
        gate_dnn_hidden_units=(),
        tower_dnn_hidden_units=tuple(TOWER),
        l2_reg_linear=0,
        l2_reg_embedding=0,
        task_types=["binary"] * 5,
        task_names=[f"task{k}" for k in range(5)],
        device=device,
    )
    model.compile(torch.optim.Adam(model.parameters(), RATE), ["binary_crossentropy"] * 5, metrics=[])
    return timed_epoch(model, lambda: model.fit(x, y, batch_size=batch, epochs=1, verbose=0), reading)


def rechub(folder: Path, threads: int, batch: int = BATCH, device: str = "cpu") -> dict:
    import torch
    from torch_rechub.basic.features import SparseFeature
    from torch_rechub.models.multi_task import MMOE
    from torch_rechub.trainers import MTLTrainer
    from torch_rechub.utils.data import DataGenerator

    torch.set_num_threads(threads)
    started = time.perf_counter()
    x, y = peers_rows(folder)
    reading = time.perf_counter() - started
    features = [SparseFeature(name, c, embed_dim=SIZE) for name, c in zip(FIELDS, CARDINALITIES, strict=True)]
    model = MMOE(features, ["classification"] * 5, EXPERTS, {"dims": HIDDEN}, [{"dims": TOWER}] * 5)
    workers = 0 if device == "cpu" else 8  # rechub's own default is none
    few = {name: v[:BATCH] for name, v in x.items()}
    loader, _, _ = DataGenerator(x, y).generate_dataloader(
        x_val=few, y_val=y[:BATCH], x_test=few, y_test=y[:BATCH], batch_size=batch, num_workers=workers
    )
    trainer = MTLTrainer(
        model,
        ["classification"] * 5,
        optimizer_params={"lr": RATE, "weight_decay": 0},
        n_epoch=1,
        device=device,
        model_path=str(folder),
    )
    return timed_epoch(model, lambda: trainer.train_one_epoch(loader), reading)
