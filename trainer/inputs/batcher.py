"""Fitted inputs bound to a column store: positions of rows in, batches out, on the device that trains."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer.columns.sequences import OutcomeIndex, Sequences
from trainer.columns.store import Columns
from trainer.columns.tensors import CPU, ColumnTensors, Raw, Reads, on_device, sent
from trainer.inputs.batch import Batch, Outcomes
from trainer.inputs.features import TRANSFORMS, FittedInputs
from trainer.inputs.text import TextSide
from trainer.inputs.vectors import DEFAULT_VECTORS

_OUTCOME = "outcome/"  # begins the names of the outcomes' own values


@dataclass(frozen=True)
class Batcher:
    """Fitted inputs bound to a column store.

    vectors: the folder of the vector stores. device: where batches are made. resident: whether the columns lie there
    too; else they stay in the host's memory, and a batch's values are sent. outcomes: where the users' outcomes are
    found, for a model that reads them; None takes them from the columns themselves.
    """

    inputs: FittedInputs
    columns: Columns
    vectors: Path = DEFAULT_VECTORS
    device: torch.device = CPU
    resident: bool = True
    outcomes: OutcomeIndex | None = None

    @cached_property
    def sequences(self) -> Sequences | None:
        """What each row may see of its user's outcomes; None for a model that reads none."""
        if not self.inputs.window:
            return None
        return (self.outcomes or OutcomeIndex(self.columns)).seen_by(self.columns)

    @cached_property
    def _past(self) -> Batcher:
        """A batcher of the outcomes: this one, where they are rows of the same store, or there are none."""
        if self.outcomes is None or self.outcomes.columns is self.columns or not len(self.outcomes.columns):
            return self
        return replace(self, columns=self.outcomes.columns, outcomes=None)

    @cached_property
    def reads(self) -> Reads:
        return self._text_side.reads

    @cached_property
    def _tensors(self) -> ColumnTensors:
        return ColumnTensors(self.columns, self.reads, self.device if self.resident else CPU)

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
            self._sent(self._lookups[item] + self.inputs.offsets[item] if self._lookups else [0], np.int64),
        )

    @cached_property
    def _lookups(self) -> list[np.ndarray]:
        return [c.lookup(self.columns.dictionaries[c.name]) for c in self.inputs.codes]

    @cached_property
    def _codes_at(self) -> torch.Tensor:
        return self._sent([self.columns.code_names.index(c.name) for c in self.inputs.codes], np.int64)

    @cached_property
    def _embedding_rows(self) -> tuple[torch.Tensor, torch.Tensor]:
        """All fields' lookups end to end, as rows of the embedding table, and where each field's begins."""
        rows = [lookup + offset for lookup, offset in zip(self._lookups, self.inputs.offsets, strict=True)]
        begin_F = np.cumsum([0, *map(len, rows)])[:-1]
        return self._sent(np.concatenate(rows) if rows else [], np.int64), self._sent(begin_F, np.int64)

    @cached_property
    def _dense_order(self) -> tuple[torch.Tensor, torch.Tensor, dict[str, slice]]:
        """Where the numbers stand in the store, those of one transform beside each other; the way back; which they are.

        Shapes: (D,), (D,).
        """
        dense = self.inputs.dense
        order = sorted(range(len(dense)), key=lambda k: dense[k].transform)
        parts = {}
        for transform in TRANSFORMS:
            own = [k for k, d in enumerate(order) if dense[d].transform == transform]
            if own:
                parts[transform] = slice(own[0], own[-1] + 1)
        at = [self.columns.dense_names.index(dense[k].name) for k in order]
        return self._sent(at, np.int64), self._sent(np.argsort(order), np.int64), parts

    @cached_property
    def _scaling(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Mean, scale, (D,) each, and which numbers have a flag that says they are missing."""
        d = self.inputs.dense
        flags = [k for k, x in enumerate(d) if x.has_missing]
        mean_D, scale_D = self._sent([x.mean for x in d], np.float32), self._sent([x.scale for x in d], np.float32)
        return mean_D, scale_D, self._sent(flags, np.int64)

    @cached_property
    def _scene_lookup(self) -> torch.Tensor:
        """From the store's scenes to the model's, stand-ins applied."""
        scenes, stand_ins = self.inputs.scenes, self.inputs.stand_ins
        return self._sent([scenes.index(stand_ins.get(s, s)) for s in self.columns.scenes], np.int64)

    def _sent(self, values: object, kind: type) -> torch.Tensor:
        return torch.from_numpy(np.array(values, kind)).to(self.device)

    def raw(self, rows_B: np.ndarray) -> Raw:
        """The store's values of these rows, where the columns lie. Shapes: rows_B int64 positions."""
        raw = self._tensors.rows(rows_B)
        return raw | self._raw_outcomes(rows_B) if self.sequences else raw

    def _raw_outcomes(self, rows_B: np.ndarray) -> Raw:
        """The values of the outcomes, and Outcomes' own tensors."""
        assert self.sequences is not None
        layout = self.sequences.layout(rows_B, self.inputs.window, self.inputs.reach)
        past = self._past
        arrays = {name: array for name, array in vars(layout).items() if name != "rows_T"} | {
            "at_GL": past.columns.event_at_N[layout.rows_T][layout.row_GL] if len(layout.rows_T) else layout.row_GL,
            "asked_at_GQ": self.columns.event_at_N[rows_B][layout.asked_GQ],
        }
        rows_T = layout.rows_T if len(layout.rows_T) else np.zeros(1, np.int64)  # which no row sees
        here = self.device if self.resident else CPU
        own = {f"{_OUTCOME}{name}": tensor for name, tensor in past._tensors.rows(rows_T).items()}
        return own | {name: on_device(torch.from_numpy(array), here) for name, array in arrays.items()}

    def codes(self, rows_B: np.ndarray) -> np.ndarray:
        """Vocabulary indices, without offsets. Shapes: rows_B -> (B, F), int64."""
        codes_BC = torch.from_numpy(self.columns.codes_NC[rows_B])
        self.columns.release_pages()
        return self._ids(codes_BC.to(self.device)).cpu().numpy() - self.inputs.offsets

    def raw_dense(self, rows_B: np.ndarray) -> np.ndarray:
        """The mart's own numbers, NaN for missing. Shapes: rows_B -> (B, D), float32."""
        raw_BD = self.columns.dense_ND[rows_B]
        self.columns.release_pages()
        return raw_BD[:, [self.columns.dense_names.index(d.name) for d in self.inputs.dense]]

    def scenes(self, rows_B: np.ndarray) -> np.ndarray:
        return self._scene_lookup.cpu().numpy()[self.columns.scene_N[rows_B]]

    def batch(self, rows_B: np.ndarray) -> Batch:
        """Shapes: rows_B int64 positions in the column store -> Batch of B rows."""
        return self.encoded(sent(self.raw(rows_B), self.device))

    def encoded(self, raw: Raw) -> Batch:
        """The batch of values that lie on the device."""
        batch = self._encoded(raw)
        if not self.sequences:
            return batch
        own = {name.removeprefix(_OUTCOME): tensor for name, tensor in raw.items() if name.startswith(_OUTCOME)}
        layout = {f.name: raw[f.name] for f in fields(Outcomes) if f.name != "rows"}
        return replace(batch, outcomes=Outcomes(self._past._encoded(own), **layout))

    def blocks(self, rows_B: np.ndarray, most: int) -> list[np.ndarray]:
        """Positions in rows_B, each once, in blocks of `most` rows or fewer that are cheap to predict together."""
        if self.sequences:
            return self.sequences.blocks(rows_B, most)
        return [np.arange(s, min(s + most, len(rows_B))) for s in range(0, len(rows_B), most)]

    def _encoded(self, raw: Raw) -> Batch:
        batch = Batch(
            self._ids(raw["codes_BC"]),
            self.dense(raw["dense_BD"]),
            self._scene_lookup[raw["scene_B"].long()],
            raw["label_B"].float(),
        )
        if self.inputs.text_columns or self.inputs.history:
            more: dict[str, Any] = dict(self._text_side.tensors(raw))
            batch = replace(batch, **more)
        return batch

    def _ids(self, codes_BC: torch.Tensor) -> torch.Tensor:
        """Shapes: the store's codes -> (B, F), int64, rows of the embedding table."""
        rows, begin_F = self._embedding_rows
        return rows[codes_BC.index_select(1, self._codes_at).long() + begin_F]

    def dense(self, raw_BD: torch.Tensor) -> torch.Tensor:
        """Shapes: the store's numbers -> (B, X): transformed, standardised and clipped, then the missing flags."""
        at_D, back_D, parts = self._dense_order
        mean_D, scale_D, flags = self._scaling
        x_BD = raw_BD.index_select(1, at_D)
        for transform, own in parts.items():
            x_BD[:, own] = TRANSFORMS[transform](x_BD[:, own])
        x_BD = x_BD.index_select(1, back_D)
        missing_BD = x_BD.isnan()
        x_BD = ((x_BD - mean_D) * scale_D).masked_fill_(missing_BD, 0).clamp_(-self.inputs.clip, self.inputs.clip)
        return torch.cat([x_BD, missing_BD.index_select(1, flags).float()], 1)
