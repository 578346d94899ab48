"""A fitted stage: its inputs and its model, from rows to logits, to disk and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import nn

from trainer.base.errors import TrainerError, nearest
from trainer.base.progress import Tick, silent
from trainer.base.readable import readable
from trainer.base.threads import usable
from trainer.columns.sequences import OutcomeIndex
from trainer.columns.store import Columns
from trainer.config import GbdtStage, Stage
from trainer.inputs.batch import Sizes
from trainer.inputs.batcher import Batcher
from trainer.inputs.features import FittedInputs
from trainer.inputs.vectors import DEFAULT_VECTORS
from trainer.models import network_of
from trainer.training.distributed import device
from trainer.training.loop import determinism, predict
from trainer.training.trees import n_tree_features, tree_features

if TYPE_CHECKING:
    from trainer.models.gbdt import GBDT

_BLOCK = 1 << 17  # rows per block for the trees: bounds memory


def build_network(stage: Stage, sizes: Sizes) -> nn.Module:
    """The network a stage describes, its weights drawn from the stage's seed."""
    torch.manual_seed(stage.seed)
    return network_of(stage.model.kind)(sizes, stage.model)


def with_window(inputs: FittedInputs, stage: Stage) -> FittedInputs:
    """The inputs of a stage, with how far its rows see where they see their users' outcomes."""
    return replace(inputs, window=stage.inputs.sequence or 0, reach=stage.model.reach)


@dataclass(frozen=True)
class Fitted:
    """What training leaves behind. `model` is the trees or the network; `vectors` the folder of the vector stores."""

    stage: Stage
    inputs: FittedInputs
    model: GBDT | nn.Module
    vectors: Path = DEFAULT_VECTORS

    @property
    def is_trees(self) -> bool:
        return isinstance(self.stage, GbdtStage)

    @property
    def trees(self) -> GBDT:
        """The model of a stage of trees."""
        assert not isinstance(self.model, nn.Module)
        return self.model

    @property
    def network(self) -> nn.Module:
        """The model of a stage of a network."""
        assert isinstance(self.model, nn.Module)
        return self.model

    def logits(
        self, columns: Columns, rows_B: np.ndarray, tick: Tick = silent, outcomes: OutcomeIndex | None = None
    ) -> np.ndarray:
        """Shapes: rows_B positions in the columns -> logits_B, float64.

        tick: called with the number of rows processed. outcomes: where the users' outcomes are, for a model that reads
        sequences; None takes them from the columns.
        Raises: TrainerError when the columns lack an input or have a scene that the model doesn't know.
        """
        _check_inputs(self.inputs, columns)
        if outcomes is not None:
            _check_inputs(self.inputs, outcomes.columns)
        with determinism(self.stage.threads):
            if isinstance(self.stage, GbdtStage):
                batcher = Batcher(self.inputs, columns)
                blocks, threads = [np.empty(0)], usable(self.stage.threads)
                for s in range(0, len(rows_B), _BLOCK):
                    blocks.append(self.trees.predict(tree_features(batcher, rows_B[s : s + _BLOCK]), threads))
                    tick(len(blocks[-1]))
                return np.concatenate(blocks)
            there = device()
            batcher = Batcher(self.inputs, columns, self.vectors, there, there.type == "cpu", outcomes)
            logits_B = predict(self.network.to(there), batcher, rows_B, tick).astype(np.float64)
            self.network.cpu()
            return logits_B

    @property
    def n_parameters(self) -> int:
        """Weights of the network, or nodes of the trees."""
        if isinstance(self.stage, GbdtStage):
            return self.trees.n_nodes
        return sum(p.numel() for p in self.network.parameters())

    def save(self, folder: Path) -> None:
        """Write features.json, vocab/ and weights.safetensors."""
        self.inputs.save(folder)
        if isinstance(self.stage, GbdtStage):
            arrays = self.trees.to_arrays()
        else:
            arrays = {name: np.ascontiguousarray(w.numpy()) for name, w in self.network.state_dict().items()}
        save_file(arrays, folder / "weights.safetensors")

    @classmethod
    def load(cls, folder: Path, stage: Stage, vectors: Path = DEFAULT_VECTORS) -> Fitted:
        """Read what `save` wrote; nothing in the files is executed. Raises: TrainerError for a damaged file."""
        with readable(folder):
            inputs = with_window(FittedInputs.load(folder), stage)
            arrays = load_file(folder / "weights.safetensors")
            if isinstance(stage, GbdtStage):
                from trainer.models.gbdt import GBDT

                trees = GBDT.from_arrays(arrays)
                if trees.n_features[0] != (n := n_tree_features(inputs)):
                    raise ValueError(f"its trees read {trees.n_features[0]} inputs, features.json describes {n}")
                return cls(stage, inputs, trees)
            network = build_network(stage, inputs.sizes)
            network.load_state_dict({name: torch.from_numpy(a) for name, a in renamed(arrays, network).items()})
        return cls(stage, inputs, network, vectors)


def renamed(arrays: dict[str, np.ndarray], network: nn.Module) -> dict[str, np.ndarray]:
    """Weights by today's names: older runs hold those of the attention over outcomes without their layer's name."""
    own = network.state_dict().keys()
    return {new if name not in own and (new := f"history.{name}") in own else name: a for name, a in arrays.items()}


def _check_inputs(inputs: FittedInputs, columns: Columns) -> None:
    for names, known in (
        ([d.name for d in inputs.dense], columns.dense_names),
        ([c.name for c in inputs.codes], columns.code_names),
    ):
        for name in names:
            if name not in known:
                raise TrainerError(
                    f"The run was trained with the input {name}, which the mart doesn't have{nearest(name, known)}. "
                    "Use the mart version it was trained on (--mart), or train it again."
                )
    for scene in columns.scenes:
        if scene not in inputs.scenes:
            raise TrainerError(
                f"The mart has the scene '{scene}', the run knows {', '.join(inputs.scenes)}. "
                "Train it again with `trainer fit`."
            )
