"""Levels, texts and the user's latest outcomes, gathered by row (batch.Batch says what each tensor is)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import embedding_bag

from trainer.base.errors import TrainerError, nearest
from trainer.columns.store import Columns, History, TextColumn
from trainer.contract.schema import LEVELS
from trainer.inputs.vectors import HISTORY, TextSpace

GROUPS = ("user", "item")  # the order of level_BG
UNKNOWN = len(LEVELS)
COLD = (LEVELS.index("zero"), LEVELS.index("few"))
_BLOCK = 1 << 16


@dataclass(frozen=True)
class TextSide:
    """What a model reads beside ids and numbers, bound to a column store.

    text_columns, texts, llm, history: as in FittedInputs. item_rows: from the store's item codes to embedding rows.
    """

    columns: Columns
    vectors: Path
    text_columns: tuple[tuple[str, str], ...]
    texts: TextSpace | None
    llm: TextSpace | None
    history: int
    item_rows: np.ndarray

    def tensors(self, rows_B: np.ndarray) -> dict[str, torch.Tensor]:
        """The Batch's optional fields for these rows."""
        level_BG = self._levels(rows_B)
        out = {"level_BG": torch.from_numpy(level_BG)}
        if self.texts:
            out["text_BTV"], out["text_there_BT"] = self._gathered(self.texts, self._table, rows_B)
        if self.llm:
            vectors_BTV, there_BT = self._gathered(self.llm, self._llm_table, rows_B)
            cold_B = torch.from_numpy(np.isin(level_BG, COLD).any(1).astype(np.float32))
            out["llm_BTV"], out["llm_there_BT"] = vectors_BTV * cold_B[:, None, None], there_BT * cold_B[:, None]
        if self.history:
            out |= self._past(rows_B)
            self.columns.release_pages()
        return out

    @cached_property
    def _level_at(self) -> list[int | None]:
        groups = self.columns.level_groups
        return [groups.index(group) if group in groups else None for group in GROUPS]

    def _levels(self, rows_B: np.ndarray) -> np.ndarray:
        found_BG = np.full((len(rows_B), len(GROUPS)), UNKNOWN, np.int64)
        for g, at in enumerate(self._level_at):
            if at is not None:
                level_B = self.columns.level_NG[rows_B, at]
                found_BG[:, g] = np.where(level_B < 0, UNKNOWN, level_B)
        return found_BG

    @cached_property
    def _text_columns(self) -> list[TextColumn]:
        known = {c.name: c for c in self.columns.texts}
        for name, _ in self.text_columns:
            if name not in known:
                raise TrainerError(
                    f"The run reads the texts of the column {name}, which the mart doesn't have"
                    f"{nearest(name, known)}. Use the mart version it was trained on (--mart), or train it again."
                )
        return [known[name] for name, _ in self.text_columns]

    @cached_property
    def _table(self) -> torch.Tensor:
        assert self.texts is not None
        return self._table_of(self.texts)

    @cached_property
    def _llm_table(self) -> torch.Tensor:
        assert self.llm is not None
        return self._table_of(self.llm)

    def _table_of(self, space: TextSpace) -> torch.Tensor:
        return torch.from_numpy(space.table(self.columns.text_ids, str(self.columns.folder), self.vectors))

    def _gathered(self, space: TextSpace, table: torch.Tensor, rows_B: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        vectors_BTV = torch.empty(len(rows_B), len(self._text_columns), space.dimensions)
        there_BT = torch.empty(vectors_BTV.shape[:2])
        for t, column in enumerate(self._text_columns):
            if column.name not in space.means:  # not this encoder's to read
                vectors_BTV[:, t], there_BT[:, t] = 0, 0
                continue
            begin, codes_K = column.codes.take(rows_B)
            self.columns.release_pages()
            sum_BX = embedding_bag(
                torch.from_numpy(codes_K.astype(np.int64)), table, torch.from_numpy(begin[:-1]), mode="sum"
            )
            n_B1 = sum_BX[:, -1:]  # the table's last column: how many of the row's texts have a vector
            there_B1 = (n_B1 > 0).float()
            mean_V = torch.from_numpy(space.means[column.name])
            vectors_BTV[:, t] = sum_BX[:, :-1] / n_B1.clamp(min=1) - mean_V * there_B1
            there_BT[:, t] = there_B1[:, 0]
        return vectors_BTV, there_BT

    def _past(self, rows_B: np.ndarray) -> dict[str, torch.Tensor]:
        history = required_history(self.columns)
        label_BL, real_BL = history.labels.padded(rows_B, self.history)
        real_BL &= label_BL >= 0  # an outcome without a label says nothing
        item_BL = np.where(real_BL, self.item_rows[history.items.padded(rows_B, self.history)[0]], self.item_rows[0])
        item_U, item_BL = distinct(item_BL, int(self.item_rows.max()) + 1)
        out = {
            "past_item_U": item_U,
            "past_item_BL": item_BL,
            "past_label_BL": np.where(real_BL, label_BL, 0).astype(np.int64),
            "past_there_BL": real_BL.astype(np.float32),
        }
        tensors = {name: torch.from_numpy(array) for name, array in out.items()}
        if self.texts and HISTORY in self.texts.means:
            if history.texts is None:
                raise TrainerError(
                    "The run reads the texts of the user's latest outcomes, which the mart doesn't list. Use the mart "
                    "version it was trained on (--mart), or train it again."
                )
            text_BL = np.where(real_BL, history.texts.padded(rows_B, self.history)[0], 0).astype(np.int64)
            text_U, text_BL = distinct(text_BL, len(self._table))
            found_UX = self._table[torch.from_numpy(text_U)]
            mean_V = torch.from_numpy(self.texts.means[HISTORY])
            tensors["past_text_UV"] = found_UX[:, :-1] - mean_V * found_UX[:, -1:]
            tensors["past_text_BL"] = torch.from_numpy(text_BL)
        return tensors


def distinct(values_BL: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values, ascending, and where each value is among them; as np.unique, without its sort.

    Shapes: values_BL int64 in 0 .. n-1 -> values_U, positions_BL, int64.
    """
    seen = np.zeros(n, bool)
    seen[values_BL] = True
    values_U = np.flatnonzero(seen)
    position = np.zeros(n, np.int64)
    position[values_U] = np.arange(len(values_U))
    return values_U, position[values_BL]


def required_history(columns: Columns) -> History:
    """Raises: TrainerError where the mart doesn't list the user's latest outcomes."""
    if columns.history is None:
        raise TrainerError(
            "This stage reads the user's latest outcomes: columns with role history whose meta `of` is item_id and "
            "label. The mart has none; version 2 of training_examples has them. Run `dbt build`, and use --mart."
        )
    return columns.history


def texts_of_rows(columns: Columns, names: Iterable[str], rows_N: np.ndarray) -> dict[str, np.ndarray]:
    """Distinct texts that the named columns hold in these rows (HISTORY: the latest outcomes'). Codes, ascending."""
    sources = {c.name: c.codes for c in columns.texts}
    if columns.history and columns.history.texts:
        sources[HISTORY] = columns.history.texts
    out = {}
    for name in [n for n in names if n in sources]:
        seen = np.zeros(1 + len(columns.text_ids), bool)
        for s in range(0, len(rows_N), _BLOCK):
            seen[sources[name].take(rows_N[s : s + _BLOCK])[1]] = True
            columns.release_pages()
        seen[0] = False
        out[name] = np.flatnonzero(seen)
    return out


def cold_rows(columns: Columns, rows_N: np.ndarray) -> np.ndarray:
    """Those of the rows whose user or item is cold."""
    return rows_N[np.isin(columns.level_NG[rows_N], COLD).any(1)]
