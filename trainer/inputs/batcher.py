"""Fitted inputs bound to a column store: positions of rows in, batches out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from trainer.columns.store import Columns
from trainer.inputs.batch import Batch
from trainer.inputs.features import FittedInputs, transformed
from trainer.inputs.text import TextSide
from trainer.inputs.vectors import DEFAULT_VECTORS


@dataclass(frozen=True)
class Batcher:
    """Fitted inputs bound to a column store: rows in, batches out. vectors: the folder of the vector stores."""

    inputs: FittedInputs
    columns: Columns
    vectors: Path = DEFAULT_VECTORS

    @cached_property
    def _text_side(self) -> TextSide:
        item = self.inputs.sizes.item_field
        return TextSide(
            self.columns,
            self.vectors,
            self.inputs.text_columns,
            self.inputs.texts,
            self.inputs.llm,
            self.inputs.history,
            self._lookups[item] + self.inputs.offsets[item],
        )

    @cached_property
    def _lookups(self) -> list[np.ndarray]:
        return [c.lookup(self.columns.dictionaries[c.name]) for c in self.inputs.codes]

    @cached_property
    def _code_at(self) -> list[int]:
        return [self.columns.code_names.index(c.name) for c in self.inputs.codes]

    @cached_property
    def _dense_at(self) -> list[int]:
        return [self.columns.dense_names.index(d.name) for d in self.inputs.dense]

    @cached_property
    def _scaling(self) -> tuple[np.ndarray, ...]:
        """Mean, scale, missing flag?, each (D,)."""
        d = self.inputs.dense
        return (
            np.array([x.mean for x in d], np.float32),
            np.array([x.scale for x in d], np.float32),
            np.array([x.has_missing for x in d], bool),
        )

    @cached_property
    def _scene_lookup(self) -> np.ndarray:
        """From the store's scenes to the model's, stand-ins applied."""
        scenes, stand_ins = self.inputs.scenes, self.inputs.stand_ins
        return np.array([scenes.index(stand_ins.get(s, s)) for s in self.columns.scenes], np.int64)

    def codes(self, rows_B: np.ndarray) -> np.ndarray:
        """Vocabulary indices, without offsets. Shapes: rows_B -> (B, F), int64."""
        raw_BC = self.columns.codes_NC[rows_B]
        self.columns.release_pages()
        out_BF = np.empty((len(rows_B), len(self._lookups)), np.int64)
        for f, (at, lookup) in enumerate(zip(self._code_at, self._lookups, strict=True)):
            out_BF[:, f] = lookup[raw_BC[:, at]]
        return out_BF

    def raw_dense(self, rows_B: np.ndarray) -> np.ndarray:
        """The mart's own numbers, NaN for missing. Shapes: rows_B -> (B, D), float32."""
        raw_BD = self.columns.dense_ND[rows_B]
        self.columns.release_pages()
        return raw_BD[:, self._dense_at]

    def scenes(self, rows_B: np.ndarray) -> np.ndarray:
        return self._scene_lookup[self.columns.scene_N[rows_B]]

    def batch(self, rows_B: np.ndarray) -> Batch:
        """Shapes: rows_B int64 positions in the column store -> Batch of B rows."""
        mean_D, scale_D, flag_D = self._scaling
        x_BD = self.raw_dense(rows_B)
        missing_BD = np.isnan(x_BD)
        with np.errstate(over="ignore"):  # what overflows is clipped like any other large number
            x_BD = (transformed(x_BD, [d.transform for d in self.inputs.dense]) - mean_D) * scale_D
        x_BD[missing_BD] = 0
        np.clip(x_BD, -self.inputs.clip, self.inputs.clip, out=x_BD)
        dense_BX = np.concatenate([x_BD, missing_BD[:, flag_D].astype(np.float32)], 1)
        batch = Batch(
            torch.from_numpy(self.codes(rows_B) + self.inputs.offsets),
            torch.from_numpy(dense_BX),
            torch.from_numpy(self.scenes(rows_B)),
            torch.from_numpy(self.columns.label_N[rows_B].astype(np.float32)),
        )
        if self.inputs.text_columns or self.inputs.history:
            batch = replace(batch, **self._text_side.tensors(rows_B))
        return batch
