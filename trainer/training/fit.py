"""Fit a stage: inputs, then model, on train rows; validation chooses."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from trainer.base.code_hash import code_hash
from trainer.base.errors import TrainerError
from trainer.base.progress import working
from trainer.base.team import ALONE, Team
from trainer.columns.store import Columns
from trainer.config import GbdtStage, NetworkStage, Stage, TextsConfig, dump_stage
from trainer.contract.schema import Contract
from trainer.inputs.batcher import Batcher
from trainer.inputs.features import FittedInputs, fit_inputs
from trainer.inputs.text import cold_rows, required_history, texts_of_all, texts_of_rows
from trainer.inputs.vectors import DEFAULT_VECTORS, HISTORY, TextSpace, fingerprint_of, fit_text_space, vectors_hashes
from trainer.training.checkpoint import SECONDS, Checkpoint
from trainer.training.distributed import device
from trainer.training.feed import Place, lie_on_device
from trainer.training.fitted import Fitted, build_network, with_window
from trainer.training.loop import TrainingHistory, check_classes, determinism, train
from trainer.training.trees import fit_trees


@dataclass(frozen=True)
class Execution:
    """How a fit is carried out. Of these only `amp` and the size of the team change what comes out.

    checkpoint: the file to save to every `seconds`; resume: go on from it. amp: see loop.train. columns_on: where the
    columns lie (feed.py).
    """

    checkpoint: Path | None = None
    resume: bool = False
    seconds: float = SECONDS
    amp: bool = False
    team: Team = ALONE
    columns_on: Place = "auto"


PLAIN = Execution()


def fit(
    stage: Stage, contract: Contract, columns: Columns, vectors: Path = DEFAULT_VECTORS, execution: Execution = PLAIN
) -> tuple[Fitted, TrainingHistory]:
    """Fit inputs and model on train, choosing on validation. vectors: the folder of the vector stores.

    columns: of the days that this process reads, where the execution's team has several. They fit the same inputs, and
    the first one ends with the best weights.
    Raises: TrainerError when train has no rows or holds one class only, and where the mart has no texts or histories,
    or the store no vectors, that the stage reads.
    """
    train_rows, val_rows = columns.rows("train"), columns.rows("val")
    team = execution.team
    check_classes(columns.label_N[train_rows], "train rows", team)
    match stage:
        case GbdtStage():
            inputs, trees, history = fit_trees(stage, contract, columns, train_rows, val_rows)
            return Fitted(stage, inputs, trees), history
        case NetworkStage():
            with working("Fitting vocabularies and scales"):
                inputs = fit_inputs(
                    columns,
                    stage.model.chosen(contract.inputs),
                    train_rows,
                    min_count=stage.inputs.min_count,
                    clip=stage.inputs.clip,
                    team=team,
                )
            inputs = with_window(_with_texts_and_history(inputs, stage, contract, columns, vectors, team), stage)
            inputs = team.agreed(inputs)  # to the last bit, whatever machine each process is on
            batcher = Batcher(inputs, columns, vectors, device())
            on_device = lie_on_device(execution.columns_on, columns, batcher.reads, batcher.device)
            batcher = replace(batcher, resident=on_device)
            with determinism(stage.threads):
                network = build_network(stage, inputs.sizes)
                history = train(
                    network,
                    batcher,
                    train_rows,
                    val_rows,
                    stage.training,
                    stage.seed,
                    amp=execution.amp,
                    team=team,
                    checkpoint=_checkpoint(execution, stage, inputs, columns, vectors),
                )
            history.device, history.columns_on = batcher.device.type, "device" if on_device else "host"
            return Fitted(stage, inputs, network, vectors), history
        case _:
            raise TypeError(f"expected a GbdtStage or a NetworkStage, found {type(stage).__name__}")


def _checkpoint(
    execution: Execution, stage: Stage, inputs: FittedInputs, columns: Columns, vectors: Path
) -> Checkpoint | None:
    """The fit's checkpoint, with a fingerprint of all that decides what it comes to."""
    if execution.checkpoint is None:
        return None
    stores = [space.store for space in (inputs.texts, inputs.llm) if space]
    hashes = vectors_hashes(vectors, stores, columns.text_ids) if stores else {}
    decides = (
        dump_stage(stage),
        columns.content_hash,
        hashes,
        execution.amp,
        execution.team.size,
        code_hash(),
        torch.__version__,
        np.__version__,
        str(device()),
    )
    fingerprint = execution.team.agreed(hashlib.sha256(repr(decides).encode()).hexdigest())
    return Checkpoint(execution.checkpoint, fingerprint, execution.resume, execution.seconds)


def _with_texts_and_history(
    inputs: FittedInputs, stage: NetworkStage, contract: Contract, columns: Columns, vectors: Path, team: Team = ALONE
) -> FittedInputs:
    """The inputs, with the whitening fitted on train's texts and the length of a history where the stage reads them."""
    wanted, train_rows = stage.inputs, columns.rows("train")
    if (wanted.texts or wanted.llm) and not columns.texts:
        raise TrainerError(
            f"{stage.stage} reads texts: columns with role text_id. {contract.folder.name} has none. "
            "Run `dbt build`, or train a stage without texts, such as 03_ple."
        )

    def space(texts: TextsConfig, names: list[str], rows: np.ndarray, only: str = "") -> TextSpace:
        text_ids, codes = texts_of_all(columns.text_ids, texts_of_rows(columns, names, rows), team)
        return fit_text_space(
            text_ids,
            codes,
            vectors,
            encoder=texts.encoder,
            dimensions=texts.dimensions,
            min_coverage=texts.min_text_coverage,
            build=f"embeddings build --marts {contract.folder.parent} --encoder {texts.encoder}{only}",
            fingerprint=lambda: fingerprint_of(columns, for_encoders, train_rows, team),
        )

    for_texts = for_llm = None
    # Whole user texts are many, and only cold rows have them: they are for the language model.
    for_encoders = [c.name for c in contract.having("text_id") if not c.cold_only]
    if wanted.texts:
        for_texts = space(wanted.texts, for_encoders + [HISTORY] * bool(wanted.history), train_rows)
    if wanted.llm:
        every = [c.name for c in columns.texts]
        for_llm = space(wanted.llm, every, cold_rows(columns, train_rows), " --only cold")
    text_columns = tuple((c.name, c.group or "context") for c in columns.texts) if for_texts or for_llm else ()
    history = 0
    if wanted.history:
        history = max(1, min(wanted.history, max(team.gather(required_history(columns).longest))))
    return replace(inputs, text_columns=text_columns, texts=for_texts, llm=for_llm, history=history)
