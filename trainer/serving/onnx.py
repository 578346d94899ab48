"""A network as ONNX: the same numbers without Python, checked before the file is kept.

The graph takes encoded inputs, by the names and meanings of inputs.batch.Batch, and gives `probability` and `logit`,
calibration by scene included. A JSON file beside it says how rows are encoded.
"""

from __future__ import annotations

import json
import logging
import warnings
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from storage import atomic
from trainer.base.errors import TrainerError, require_extra
from trainer.base.progress import working
from trainer.config import GbdtStage, load_stage
from trainer.evaluation.calibration import Calibration
from trainer.inputs.batch import Batch, Outcomes
from trainer.inputs.features import FittedInputs
from trainer.run.integrity import check_finished
from trainer.run.provenance import vectors_of
from trainer.serving.onnx_inputs import guide
from trainer.training.fitted import Fitted
from trainer.training.loop import determinism
from trainer.training.placebo import refuse_placebo

TOLERANCE = 1e-5
OPSET = 18
CHECKED = (1, 2, 257)  # rows of the batches that are compared
_SPAN = 30 * 86_400_000_000  # microseconds
FREE = ("past_item_U", "past_text_UV")  # their length is its own, not the batch's
OUTCOME = "outcome_"  # begins the names of what is given of each outcome of the user


class _Served(nn.Module):
    """The network with named tensors in place of a Batch, and what serving wants of it.

    Legend: B rows, S scenes.
    """

    temperature_S: torch.Tensor
    shift_S: torch.Tensor

    def __init__(self, network: nn.Module, names: tuple[str, ...], scenes: tuple[str, ...], calibration: Calibration):
        super().__init__()
        self.network, self.names = network, names
        self.register_buffer("temperature_S", torch.tensor([calibration.temperature.get(s, 1.0) for s in scenes]))
        self.register_buffer("shift_S", torch.tensor([calibration.shift.get(s, 0.0) for s in scenes]))

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Shapes: the tensors in the order of `names` -> probability_B, logit_B, float32."""
        given = dict(zip(self.names, tensors, strict=True))
        scene_B = given["scene_B"]
        logit_B = self.network(_batch(given))
        logit_B = logit_B / self.temperature_S[scene_B] + self.shift_S[scene_B]
        return logit_B.sigmoid(), logit_B


def _batch(given: dict[str, torch.Tensor]) -> Batch:
    """The batch of tensors by their names in the graph; where it has outcomes, the rows are one user's."""
    own: dict[str, Any] = {f.name: given[f.name] for f in fields(Batch) if f.name in given}
    rows = Batch(**own, label_B=torch.zeros_like(given["scene_B"], dtype=torch.float32))
    if "at_B" not in given:
        return rows
    past = {name.removeprefix(OUTCOME): tensor for name, tensor in given.items() if name.startswith(OUTCOME)}
    at_T, known_at_T = past.pop("at_T"), past.pop("known_at_T")
    by_name = {name.rpartition("_")[0]: name for name in (f.name for f in fields(Batch)) if "_" in name}
    of_outcomes: dict[str, Any] = {by_name[name.rpartition("_")[0]]: tensor for name, tensor in past.items()}
    outcomes = Batch(**of_outcomes)
    return replace(rows, outcomes=Outcomes.of_one_user(outcomes, at_T, known_at_T, given["at_B"]))


def export_run(run: Path, output: Path, *, force: bool = False) -> dict[str, Any]:
    """Write `output` (ONNX) and `<output>.json`; returns what the JSON holds.

    Both are written aside; the graph is kept only when onnxruntime gives PyTorch's probabilities within TOLERANCE on
    batches of several sizes.
    Raises: TrainerError for trees, for a placebo, and where the two don't agree.
    """
    require_extra("export", "`trainer export`")
    check_finished(run)
    stage = load_stage(run / "config.yaml")
    if isinstance(stage, GbdtStage):
        raise TrainerError(
            f"{run} holds gradient-boosted trees ({stage.stage}); only networks are exported to ONNX. "
            "Serve the trees with `trainer score`, or export a network."
        )
    refuse_placebo(stage, "be exported")
    if output.exists() and not force:
        raise TrainerError(f"{output} exists already. Name another file with --output, or replace it with --force.")
    fitted = Fitted.load(run, stage, vectors_of(run))
    calibration = Calibration.load(run)
    with working("Exporting and checking"):
        difference = export_graph(fitted, calibration, output)
    about = {"run": str(run), "opset": OPSET, "largest_difference_to_pytorch": difference} | guide(
        fitted.inputs, example(fitted.inputs, CHECKED[-1], len(CHECKED) - 1), FREE, calibrated=calibration is not None
    )
    atomic.text(output.with_name(output.name + ".json"), json.dumps(about, indent=2, ensure_ascii=False) + "\n")
    return about


def export_graph(fitted: Fitted, calibration: Calibration | None, output: Path) -> float:
    """Write the network as ONNX; returns the largest difference of a probability to PyTorch.

    Raises: TrainerError where the two don't agree; then nothing is written.
    """
    batches = [example(fitted.inputs, n, seed) for seed, n in enumerate(CHECKED)]
    names = tuple(batches[0])
    served = _Served(fitted.network.eval(), names, fitted.inputs.scenes, calibration or Calibration({}, {})).eval()
    with atomic.file(output) as aside:
        with determinism(fitted.stage.threads):
            _export(served, batches[-1], aside)
            difference = max(_difference(served, batch, aside) for batch in batches)
        if not difference < TOLERANCE:
            raise TrainerError(
                f"onnxruntime and PyTorch differ by {difference:.2g} on a probability; expected less than {TOLERANCE}. "
                "Nothing was written."
            )
    return difference


def example(inputs: FittedInputs, rows: int, seed: int) -> dict[str, torch.Tensor]:
    """Random rows that the model could be given, by the names of Batch's fields; those it doesn't read are left out.

    A model that reads sequences gets the rows' instants too, and outcomes of one user: some late, some of them seen.
    """
    out = _example(inputs, rows, seed)
    if not inputs.window:
        return out
    outcomes = _example(inputs, rows + 3, seed + len(CHECKED))
    generator = torch.Generator().manual_seed(seed)
    at_T = torch.randint(0, _SPAN, (rows + 3,), generator=generator)
    late_T = torch.randint(0, _SPAN // 4, (rows + 3,), generator=generator)
    out["at_B"] = torch.randint(_SPAN // 2, _SPAN, (rows,), generator=generator)
    for name in ("ids_BF", "dense_BX", "scene_B", "text_BTV", "text_there_BT"):
        if name in out:
            stem, _, dims = name.rpartition("_")
            out[f"{OUTCOME}{stem}_{dims.replace('T', 'C').replace('B', 'T')}"] = outcomes[name]
    label_T = torch.randint(0, 2, (rows + 3,), generator=generator).float()
    return out | {f"{OUTCOME}label_T": label_T, f"{OUTCOME}at_T": at_T, f"{OUTCOME}known_at_T": at_T + late_T}


def _example(inputs: FittedInputs, rows: int, seed: int) -> dict[str, torch.Tensor]:
    sizes, generator = inputs.sizes, torch.Generator().manual_seed(seed)

    def whole(high: int, *shape: int) -> torch.Tensor:
        return torch.randint(0, max(1, high), shape, generator=generator)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    fields_BF = [int(o) + whole(c.size, rows) for o, c in zip(inputs.offsets, inputs.codes, strict=True)]
    out = {
        "ids_BF": torch.stack(fields_BF, 1) if fields_BF else torch.empty(rows, 0, dtype=torch.int64),
        "dense_BX": normal(rows, sizes.n_dense),
        "scene_B": whole(sizes.n_scenes, rows),
    }
    if inputs.text_columns or inputs.history:
        out["level_BG"] = whole(4, rows, 2)
    columns = len(inputs.text_columns)
    for name, dim in (("text", sizes.text_dim), ("llm", sizes.llm_dim)):
        if dim:
            there_BT = whole(2, rows, columns).float()
            out[f"{name}_BTV"], out[f"{name}_there_BT"] = normal(rows, columns, dim) * there_BT[..., None], there_BT
    if inputs.history:
        length, distinct = inputs.history, rows + 3
        item = inputs.codes[sizes.item_field]
        out["past_item_U"] = int(inputs.offsets[sizes.item_field]) + whole(item.size, distinct)
        out["past_item_BL"] = whole(distinct, rows, length)
        if sizes.past_texts:
            out["past_text_UV"], out["past_text_BL"] = normal(distinct, sizes.text_dim), whole(distinct, rows, length)
        out["past_there_BL"] = whole(2, rows, length).float()
        out["past_label_BL"] = whole(2, rows, length) * out["past_there_BL"].long()
    return {f.name: out[f.name] for f in fields(Batch) if f.name in out}


def _export(served: _Served, batch: dict[str, torch.Tensor], path: Path) -> None:
    rows = torch.export.Dim("rows", min=1)
    outcomes = torch.export.Dim("outcomes", min=1)
    shapes = tuple(
        {0: torch.export.Dim(name, min=1) if name in FREE else outcomes if name.startswith(OUTCOME) else rows}
        for name in batch
    )
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                served,
                tuple(batch.values()),
                path,
                input_names=list(batch),
                output_names=["probability", "logit"],
                dynamic_shapes=(shapes,),
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    finally:
        quiet.setLevel(level)


def _difference(served: _Served, batch: dict[str, torch.Tensor], path: Path) -> float:
    """The largest difference of a probability between PyTorch and onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    taken = {i.name for i in session.get_inputs()}
    feed = {name: tensor.numpy() for name, tensor in batch.items() if name in taken}
    found = session.run(["probability"], feed)[0]
    with torch.inference_mode():
        expected = served(*batch.values())[0].numpy()
    return float(np.abs(found - expected).max())
