"""The model of a run for a few rows at a time: networks by onnxruntime, trees by LightGBM.

Rows of numbers, ids and categories are encoded here, straight from what the formulas computed. Rows with texts or
outcomes are encoded as `trainer score` does it, through a table; a network that reads whole rows runs in PyTorch.
Legend: B rows, F id and category fields, D numbers.
"""

from __future__ import annotations

import hashlib
import itertools
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import torch

from storage.home import user_cache
from trainer.base.errors import TrainerError, require_extra
from trainer.base.progress import working
from trainer.base.threads import usable
from trainer.columns.rows import LARGEST, Part, to_float
from trainer.columns.store import Columns
from trainer.inputs.batch import Batch
from trainer.inputs.batcher import Batcher
from trainer.inputs.features import UNSEEN
from trainer.inputs.table import BLOCK
from trainer.serving.online.event_rows import EventRows
from trainer.serving.online.formulas import Computed
from trainer.serving.online.past import Known
from trainer.serving.online.values import List, Value
from trainer.serving.onnx import OPSET, export_graph
from trainer.serving.score import Model
from trainer.training.trees import as_tree_features

_Numbers: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray]


class Predictor:
    """A finished run that gives probabilities for the rows of a request."""

    def __init__(self, model: Model, run: Path):
        """Makes the network's graph, or takes the one that an earlier start has made."""
        self._model, self._inputs, self._required = model, model.fitted.inputs, model.required
        self._reads_texts = bool(self._required.texts or self._required.history or self._required.levels)
        self._indices = [
            dict[Any, int](zip(code.values, itertools.count(1 + code.has_missing)))
            | {None: 1 if code.has_missing else UNSEEN}
            for code in self._inputs.codes
        ]
        by_name = {one.name: one for one in self._required.inputs}
        self._codes = [by_name[code.name] for code in self._inputs.codes]
        self._dense = [by_name[dense.name] for dense in self._inputs.dense]
        self._scenes = {scene: place for place, scene in enumerate(self._inputs.scenes)}
        self._session = None if model.fitted.is_trees or self._inputs.window else _session(model, run)
        self._taken = [one.name for one in self._session.get_inputs()] if self._session else []

    def __call__(self, computed: Computed, events: EventRows, past: Known | None = None) -> np.ndarray:
        """Shapes: the features of B rows, and the events that they are of -> (B,) probabilities, float64.

        past: the outcomes of their users, for a model that reads whole rows.
        """
        if past is not None and past.is_of_one:
            scene_B, numbers = self._numbers(computed, events)
            logits_B = past.ask(self._rows(*numbers), np.array(events.values("event_at"), np.int64))
        elif past is not None:
            columns = self._model.block(self.table(computed, events), "the request")
            scene_B = columns.scene_N.astype(np.int64)
            logits_B = self._model.fitted.logits(columns, np.arange(len(events)), outcomes=past.index)
        elif self._reads_texts:
            scene_B, logits_B = self._of_table(self.table(computed, events))
        else:
            scene_B, logits_B = self._of_numbers(computed, events)
        if not np.isfinite(logits_B).all():
            raise TrainerError("A prediction is no number: the run's weights have exploded, or their file is damaged.")
        return self._model.calibrated(logits_B, scene_B)

    def table(self, computed: Computed, events: EventRows) -> pa.Table:
        """What the model reads, as the mart has it."""
        return pa.table({name: _column(computed, events, name) for name in self._required.names})

    def _of_table(self, table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        columns = self._model.block(table, "the request")
        batch = Batcher(self._inputs, columns, self._model.fitted.vectors).batch(np.arange(len(table)))
        return columns.scene_N.astype(np.int64), self._of_batch(batch)

    def _of_numbers(self, computed: Computed, events: EventRows) -> tuple[np.ndarray, np.ndarray]:
        scene_B, numbers = self._numbers(computed, events)
        if self._session is None:
            x_BF = as_tree_features(self._inputs, *numbers)
            return scene_B, self._model.fitted.trees.predict(x_BF, usable(1))
        return scene_B, self._of_batch(self._rows(*numbers))

    def _numbers(self, computed: Computed, events: EventRows) -> tuple[np.ndarray, _Numbers]:
        """Scenes; their stand-ins, vocabulary indices and numbers. Shapes: -> (B,); (B,), (B, F), (B, D) float32."""
        read = _Read(computed, events, self._required.lengths)
        scenes = [self._scene(scene) for scene in read.values(self._required.scene, -1)]
        scene_B = np.broadcast_to(np.array(scenes, np.int64), computed.n_rows)
        raw_DB = np.empty((len(self._dense), computed.n_rows))
        for d, dense in enumerate(self._dense):
            data, null = read.numbers(dense.column, dense.position)
            raw_DB[d] = data
            if null is not None:
                np.copyto(raw_DB[d], np.nan, where=null)
        raw_BD = np.where(np.abs(raw_DB) <= LARGEST, raw_DB, np.nan).T
        codes_BF = np.empty((computed.n_rows, len(self._codes)), np.int64)
        for f, (code, index) in enumerate(zip(self._codes, self._indices, strict=True)):
            codes_BF[:, f] = [index.get(value, UNSEEN) for value in read.values(code.column, code.position)]
        return scene_B, (self._stand_ins[scene_B], codes_BF, raw_BD.astype(np.float32, order="C"))

    def _rows(self, stand_in_B: np.ndarray, codes_BF: np.ndarray, raw_BD: np.ndarray) -> Batch:
        return Batch(
            torch.from_numpy(codes_BF + self._inputs.offsets),
            self._batcher.dense(torch.from_numpy(raw_BD)),
            torch.from_numpy(stand_in_B),
            torch.zeros(len(raw_BD)),
        )

    def _of_batch(self, batch: Batch) -> np.ndarray:
        assert self._session is not None
        tensors = batch.tensors()
        (logit_B,) = self._session.run(["logit"], {name: tensors[name].numpy() for name in self._taken})
        return np.asarray(logit_B, np.float64)

    def _scene(self, scene: str) -> int:
        if scene not in self._scenes:
            raise TrainerError(f"Scene {scene!r} isn't one of {', '.join(self._scenes)}, which the run knows.")
        return self._scenes[scene]

    @cached_property
    def _stand_ins(self) -> np.ndarray:
        """From scenes to those whose part of the model they use."""
        scenes, stand_ins = self._inputs.scenes, self._inputs.stand_ins
        return np.array([scenes.index(stand_ins.get(scene, scene)) for scene in scenes], np.int64)

    @cached_property
    def _batcher(self) -> Batcher:
        """What standardises numbers: bound to no rows, its columns are in the order of the inputs."""
        nothing = np.empty((0, 0))
        names = (tuple(dense.name for dense in self._inputs.dense), tuple(code.name for code in self._inputs.codes))
        columns = Columns(
            BLOCK, *names, (), {}, self._inputs.scenes, "",
            nothing, nothing, nothing, nothing, nothing, nothing, nothing,
        )  # fmt: skip
        return Batcher(self._inputs, columns)


class _Read:
    """The columns of a request, or single positions of those that are lists."""

    def __init__(self, computed: Computed, events: EventRows, lengths: dict[str, int]):
        self._computed, self._events, self._lengths = computed, events, lengths
        self._lists: dict[str, list[Any]] = {}
        self._numbers: dict[str, np.ndarray] = {}

    def numbers(self, column: str, position: int) -> Value:
        """Shapes: -> (B,) or one for all; NaN may stand for NULL too."""
        value = self._computed.values.get(column)
        if value is None:
            if column not in self._numbers:
                self._numbers[column] = self._as_numbers(column)
            numbers = self._numbers[column]
            return Value(numbers if position < 0 else numbers[position])
        if not isinstance(value, List):
            return value
        data, null = value.elements[position]
        if value.null is not None:
            null = value.null if null is None else null | value.null
        return Value(data, null)

    def values(self, column: str, position: int) -> list[Any]:
        """Texts as they are, None for NULL. Shapes: -> (B,) or one for all."""
        value = self._computed.values.get(column)
        if value is not None and not isinstance(value, List):
            if value.null is None:
                return np.atleast_1d(value.data).tolist()
            data, null = np.broadcast_arrays(value.data, value.null)
            return [
                None if null else one for one, null in zip(data.ravel().tolist(), null.ravel().tolist(), strict=True)
            ]
        if column not in self._lists:
            self._lists[column] = self._listed(column) if column in self._lengths else self._plain(column)
        values = self._lists[column]
        return values if position < 0 else [None if one is None else one[position] for one in values]

    def _as_numbers(self, column: str) -> np.ndarray:
        """Shapes: -> (B,) or (1,); (L, B) or (L, 1) of a list of L elements."""
        if column not in self._lengths:
            return to_float(_column(self._computed, self._events, column))
        nothing = [None] * self._lengths[column]
        return np.array([nothing if one is None else one for one in self._listed(column)], np.float64).T

    def _listed(self, column: str) -> list[Any]:
        """Raises: TrainerError for a list of another length."""
        lists, length = self._plain(column), self._lengths[column]
        if any(one is not None and len(one) != length for one in lists):
            array = _column(self._computed, self._events, column)
            Part(pa.table({column: array}), self._lengths, "the request").check_lengths(column)
        return lists

    def _plain(self, column: str) -> list[Any]:
        """Shapes: -> (B,), or one for all that the events share."""
        name = self._computed.passed_on.get(column, f"request.{column}").removeprefix("request.")
        if column in self._computed.types and column not in self._computed.passed_on:
            return self._computed.array(column).to_pylist()
        if name in self._events.shared:
            return [self._events.shared[name]]
        if name in self._events:
            return self._events.values(name)
        return _column(self._computed, self._events, column).to_pylist()


def _column(computed: Computed, events: EventRows, name: str) -> pa.Array:
    return computed.array(name) if name in computed.types else events[name]


def _session(model: Model, run: Path) -> Any:
    """The network as onnxruntime runs it. The graph is kept in the user's cache, by the hash of what it is made of."""
    require_extra("serving", "Serving a network")
    import onnxruntime

    parts = [(run / name).read_bytes() for name in ("weights.safetensors", "features.json", "config.yaml")]
    made_of = hashlib.sha256(b"\0".join([*parts, f"{OPSET} {torch.__version__}".encode()])).hexdigest()
    path = user_cache() / "served" / f"{made_of}.onnx"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with working("Making the network's graph"):
            export_graph(model.fitted, None, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
