"""A fitted stage: its inputs and its model, from rows to logits, to disk and back."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import nn

from trainer.checkpoint import SECONDS, Checkpoint
from trainer.code import code_hash
from trainer.config import Gbdt, GbdtStage, NetworkStage, Stage, Texts, dump_stage
from trainer.data import Columns, evenly
from trainer.errors import TrainerError, nearest
from trainer.finished import readable
from trainer.inputs import UNSEEN, Encoder, Inputs, fit_inputs
from trainer.layers import Sizes
from trainer.mart import Contract
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
from trainer.progress import Tick, progress, silent, working
from trainer.team import Team, device
from trainer.textside import cold_rows, required_history, texts_of_rows
from trainer.train import ALONE, UNCHOSEN, History, can_choose, determinism, predict, train
from trainer.vectors import DEFAULT_VECTORS, HISTORY, TextSpace, fit_text_space

if TYPE_CHECKING:  # scikit-learn takes 130 MB and two seconds, which only the trees should cost
    from trainer.models.gbdt import GBDT

_BLOCK = 1 << 17  # rows a block for the trees: bounds memory


def build_network(stage: NetworkStage, sizes: Sizes) -> nn.Module:
    """The network a stage describes, its weights drawn from the stage's seed."""
    torch.manual_seed(stage.seed)
    model = stage.model
    arguments = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in model.model_dump(exclude={"kind"}).items()
    }
    match model.kind:
        case "dnn":
            return DNN(sizes, **arguments)
        case "mmoe":
            return MMoE(sizes, **arguments)
        case "ple":
            return PLE(sizes, **arguments)
        case "semantic":
            return Semantic(sizes, **arguments)
        case "content_tower":
            return ContentTower(sizes, **arguments)
        case "llm_fallback":
            return LLMFallback(sizes, **arguments)
        case "star":
            return STAR(sizes, **arguments)
        case "pepnet":
            return PEPNet(sizes, **arguments)
        case "interest":
            return Interest(sizes, **arguments)
        case "match":
            return Matching(sizes, **arguments)


@dataclass(frozen=True)
class Fitted:
    """What training leaves behind. `model` is the trees or the network; `vectors` the folder of the vector stores."""

    stage: Stage
    inputs: Inputs
    model: GBDT | nn.Module
    vectors: Path = DEFAULT_VECTORS

    def logits(self, columns: Columns, rows_B: np.ndarray, tick: Tick = silent) -> np.ndarray:
        """Shapes: rows_B positions in the columns -> logits_B, float64. `tick` hears of rows as they are done.

        Raises: TrainerError when the columns lack an input or have a scene that the model doesn't know.
        """
        _check_inputs(self.inputs, columns)
        encoder = Encoder(self.inputs, columns, self.vectors)
        if isinstance(self.stage, GbdtStage):
            blocks = [np.empty(0)]
            for s in range(0, len(rows_B), _BLOCK):
                blocks.append(self.model.predict(tree_features(encoder, rows_B[s : s + _BLOCK]), self.stage.threads))
                tick(len(blocks[-1]))
            return np.concatenate(blocks)
        with determinism(self.stage.threads):
            logits_B = predict(self.model.to(device()), encoder, rows_B, tick).astype(np.float64)
            self.model.cpu()
            return logits_B

    @property
    def n_parameters(self) -> int:
        """Weights of the network, or nodes of the trees."""
        if isinstance(self.stage, GbdtStage):
            return len(self.model.nodes)
        return sum(p.numel() for p in self.model.parameters())

    def save(self, folder: Path) -> None:
        """Write features.json, vocab/ and weights.safetensors."""
        self.inputs.save(folder)
        if isinstance(self.stage, GbdtStage):
            arrays = self.model.to_arrays()
        else:
            arrays = {name: np.ascontiguousarray(w.numpy()) for name, w in self.model.state_dict().items()}
        save_file(arrays, folder / "weights.safetensors")

    @classmethod
    def load(cls, folder: Path, stage: Stage, vectors: Path = DEFAULT_VECTORS) -> Fitted:
        """Read what `save` wrote; nothing in the files is executed. Raises: TrainerError for a damaged file."""
        with readable(folder):
            inputs = Inputs.load(folder)
            arrays = load_file(folder / "weights.safetensors")
            if isinstance(stage, GbdtStage):
                from trainer.models.gbdt import GBDT

                return cls(stage, inputs, GBDT.from_arrays(arrays))
            network = build_network(stage, inputs.sizes)
            network.load_state_dict({name: torch.from_numpy(a) for name, a in arrays.items()})
        return cls(stage, inputs, network, vectors)


@dataclass(frozen=True)
class Execution:
    """How a fit is carried out. Of these only `amp` and the size of the team change what comes out.

    checkpoint: the file to save to every `seconds`; resume: go on from it. amp: see train.train.
    """

    checkpoint: Path | None = None
    resume: bool = False
    seconds: float = SECONDS
    amp: bool = False
    team: Team = ALONE


PLAIN = Execution()


def fit(
    stage: Stage, contract: Contract, columns: Columns, vectors: Path = DEFAULT_VECTORS, execution: Execution = PLAIN
) -> tuple[Fitted, History]:
    """Fit inputs and model on train, choosing on validation. vectors: the folder of the vector stores.

    Raises: TrainerError when train has no rows or holds one class only, and where the mart has no texts or histories,
    or the store no vectors, that the stage reads.
    """
    train_rows, val_rows = columns.rows("train"), columns.rows("val")
    _check_classes(columns.label_N[train_rows], "train rows")
    match stage:
        case GbdtStage():
            return _fit_trees(stage, contract, columns, train_rows, val_rows)
        case NetworkStage():
            with working("Fitting vocabularies and scales"):
                inputs = fit_inputs(
                    columns, contract.inputs, train_rows, min_count=stage.inputs.min_count, clip=stage.inputs.clip
                )
            inputs = _with_texts_and_history(inputs, stage, contract, columns, vectors)
            encoder = Encoder(inputs, columns, vectors)
            with determinism(stage.threads):
                network = build_network(stage, inputs.sizes)
                history = train(
                    network, encoder, train_rows, val_rows, stage.training, stage.seed, amp=execution.amp,
                    team=execution.team, checkpoint=_checkpoint(execution, stage, inputs, columns),
                )  # fmt: skip
            return Fitted(stage, inputs, network, vectors), history


def _check_classes(label_B: np.ndarray, what: str) -> None:
    if len(label_B) and label_B.min() == label_B.max():
        raise TrainerError(
            f"All {len(label_B)} {what} have the label {label_B[0]}; expected both 0 and 1. "
            "Look at the adapter's label, or at val_from in dbt_project.yml."
        )


def _checkpoint(execution: Execution, stage: Stage, inputs: Inputs, columns: Columns) -> Checkpoint | None:
    """The fit's checkpoint, with a fingerprint of all that decides what it comes to."""
    if execution.checkpoint is None:
        return None
    stores = [(space.store, space.whitening.list_hash_) for space in (inputs.texts, inputs.llm) if space]
    decides = (
        dump_stage(stage), columns.content_hash, stores, execution.amp, execution.team.size, code_hash(),
        torch.__version__, np.__version__, str(device()),
    )  # fmt: skip
    fingerprint = hashlib.sha256(repr(decides).encode()).hexdigest()
    return Checkpoint(execution.checkpoint, fingerprint, execution.resume, execution.seconds)


def _with_texts_and_history(
    inputs: Inputs, stage: NetworkStage, contract: Contract, columns: Columns, vectors: Path
) -> Inputs:
    """The inputs, with the whitening fitted on train's texts and the length of a history where the stage reads them."""
    wanted, train_rows, spaces = stage.inputs, columns.rows("train"), {}
    if (wanted.texts or wanted.llm) and not columns.texts:
        raise TrainerError(
            f"{stage.stage} reads texts: columns with role text_id. {contract.folder.name} has none. "
            "Run `dbt build`, or train a stage without texts, such as 03_ple."
        )

    def space(texts: Texts, names: list[str], rows: np.ndarray, only: str = "") -> TextSpace:
        return fit_text_space(
            columns.text_ids, texts_of_rows(columns, names, rows), vectors, encoder=texts.encoder,
            dimensions=texts.dimensions, min_coverage=texts.min_text_coverage,
            build=f"embeddings build --marts {contract.folder.parent} --encoder {texts.encoder}{only}",
        )  # fmt: skip

    if wanted.texts:
        # Whole user texts are many, and only cold rows have them: they are for the language model.
        own = [c.name for c in contract.having("text_id") if not c.cold_only]
        spaces["texts"] = space(wanted.texts, own + [HISTORY] * bool(wanted.history), train_rows)
    if wanted.llm:
        every = [c.name for c in columns.texts]
        spaces["llm"] = space(wanted.llm, every, cold_rows(columns, train_rows), " --only cold")
    text_columns = tuple((c.name, c.group or "context") for c in columns.texts) if spaces else ()
    history = max(1, min(wanted.history, required_history(columns).longest)) if wanted.history else 0
    return replace(inputs, text_columns=text_columns, history=history, **spaces)


def _fit_trees(
    stage: GbdtStage, contract: Contract, columns: Columns, train_rows: np.ndarray, val_rows: np.ndarray
) -> tuple[Fitted, History]:
    from trainer.models.gbdt import GBDT

    model: Gbdt = stage.model
    train_rows = evenly(train_rows, model.max_train_rows)
    _check_classes(columns.label_N[train_rows], f"train rows that max_train_rows ({model.max_train_rows}) leaves")
    with working("Fitting vocabularies and scales"):
        inputs = fit_inputs(
            columns, contract.inputs, train_rows, min_count=stage.inputs.min_count, clip=stage.inputs.clip, ids=False,
            max_values=model.max_values,
        )  # fmt: skip
    encoder = Encoder(inputs, columns)
    val_labels = columns.label_N[val_rows]
    if not can_choose(val_labels):
        val_rows, val_labels = val_rows[:0], val_labels[:0]
    with progress() as bar:
        task = bar.add_task(
            "Boosting", total=model.max_iter, note=f"stops after {model.patience} without gain", unit="trees"
        )
        trees = GBDT.fit(
            tree_features(encoder, train_rows), columns.label_N[train_rows], tree_features(encoder, val_rows),
            val_labels,
            n_categorical=1 + len(inputs.codes), seed=stage.seed, threads=stage.threads,
            on_iteration=lambda done: bar.update(task, completed=done),
            **model.model_dump(exclude={"kind", "max_values", "max_train_rows"}),
        )  # fmt: skip
    evaluations = [
        {"step": k, "epoch": k, "train_loss": float(a), "val_log_loss": float(b)}
        for k, (a, b) in enumerate(trees.loss.T)
    ]
    stopped = (
        f"all iterations; {UNCHOSEN}"
        if not len(val_rows)
        else "all iterations"
        if len(evaluations) > model.max_iter
        else f"validation log_loss did not improve in {model.patience} iterations"
    )
    return Fitted(stage, inputs, trees), History(evaluations, trees.n_trees, stopped)


def tree_features(encoder: Encoder, rows_B: np.ndarray) -> np.ndarray:
    """What the trees see: the scene, the categories, then the numbers that vary in train.

    A category that train doesn't have is NaN, unless rare ones were folded into UNSEEN, which is then a category.
    Shapes: -> (B, F), float64; categories are 0 .. K-1 without gaps.
    """
    inputs = encoder.inputs
    present = [k for k, scene in enumerate(inputs.scenes) if scene not in inputs.stand_ins]
    parts = [np.searchsorted(present, encoder.scenes(rows_B))[:, None].astype(np.float64)]
    codes_BF = encoder.codes(rows_B).astype(np.float64)
    for f, code in enumerate(inputs.codes):
        if not code.has_rest:
            codes_BF[:, f] = np.where(codes_BF[:, f] == UNSEEN, np.nan, codes_BF[:, f] - 1)
    varies_D = np.array([d.scale > 0 for d in inputs.dense], bool)
    return np.concatenate([*parts, codes_BF, encoder.raw_dense(rows_B)[:, varies_D]], 1, dtype=np.float64)


def _check_inputs(inputs: Inputs, columns: Columns) -> None:
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
