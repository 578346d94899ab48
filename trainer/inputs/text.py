"""Levels, texts and the user's latest outcomes, gathered by row (batch.Batch says what each tensor is)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import embedding_bag

from trainer.base.errors import TrainerError, nearest
from trainer.base.team import Team
from trainer.columns.store import Columns, History, TextColumn
from trainer.columns.tensors import Raw, Reads
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
    item_rows: torch.Tensor
    _means: dict[tuple[str, str], torch.Tensor] = field(default_factory=dict, repr=False)

    def tensors(self, raw: Raw) -> dict[str, torch.Tensor]:
        """The Batch's optional fields for these rows' values."""
        level_BG = self._levels(raw["level_BG"])
        out = {"level_BG": level_BG}
        if self.texts:
            out["text_BTV"], out["text_there_BT"] = self._gathered(self.texts, self._table, raw)
        if self.llm:
            vectors_BTV, there_BT = self._gathered(self.llm, self._llm_table, raw)
            cold_B = torch.stack([level_BG == level for level in COLD]).any(0).any(1).float()
            out["llm_BTV"], out["llm_there_BT"] = vectors_BTV * cold_B[:, None, None], there_BT * cold_B[:, None]
        if self.history:
            out |= self._past(raw)
        return out

    @property
    def reads(self) -> Reads:
        """Raises: TrainerError where the run reads texts or outcomes that the mart doesn't have."""
        past_texts = False
        if self.history:
            past = required_history(self.columns)
            past_texts = bool(self.texts and HISTORY in self.texts.means)
            if past_texts and past.texts is None:
                raise TrainerError(
                    "The run reads the texts of the user's latest outcomes, which the mart doesn't list. Use the mart "
                    "version it was trained on (--mart), or train it again."
                )
        return Reads(tuple(column.name for column in self._text_columns), self.history, past_texts)

    @property
    def _device(self) -> torch.device:
        return self.item_rows.device

    def _levels(self, level_BG: torch.Tensor) -> torch.Tensor:
        """In the order of GROUPS; UNKNOWN where the store has NULL, or no such level."""
        groups = self.columns.level_groups
        known_BG = torch.where(level_BG < 0, UNKNOWN, level_BG.long())
        nothing_B = torch.full((len(level_BG),), UNKNOWN, device=self._device)
        return torch.stack([known_BG[:, groups.index(g)] if g in groups else nothing_B for g in GROUPS], 1)

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
        table = space.table(self.columns.text_ids, str(self.columns.folder), self.vectors)
        return torch.from_numpy(table).to(self._device)

    def _gathered(self, space: TextSpace, table: torch.Tensor, raw: Raw) -> tuple[torch.Tensor, torch.Tensor]:
        n_rows = len(raw["scene_B"])
        vectors_BTV = torch.empty(n_rows, len(self._text_columns), space.dimensions, device=self._device)
        there_BT = torch.empty(vectors_BTV.shape[:2], device=self._device)
        for t, column in enumerate(self._text_columns):
            if column.name not in space.means:  # not this encoder's to read
                vectors_BTV[:, t], there_BT[:, t] = 0, 0
                continue
            codes_K, begin_B = raw[f"texts/{column.name}"].long(), raw[f"begin/{column.name}"]
            sum_BX = embedding_bag(codes_K, table, begin_B, mode="sum")
            n_B1 = sum_BX[:, -1:]  # the table's last column: how many of the row's texts have a vector
            there_B1 = (n_B1 > 0).float()
            mean_V = self._mean(space, column.name)
            vectors_BTV[:, t] = sum_BX[:, :-1] / n_B1.clamp(min=1) - mean_V * there_B1
            there_BT[:, t] = there_B1[:, 0]
        return vectors_BTV, there_BT

    def _mean(self, space: TextSpace, column: str) -> torch.Tensor:
        at = (space.encoder, column)
        if at not in self._means:
            self._means[at] = torch.from_numpy(space.means[column]).to(self._device)
        return self._means[at]

    def _past(self, raw: Raw) -> dict[str, torch.Tensor]:
        label_BL = raw["past_label_BL"]
        real_BL = label_BL >= 0  # an outcome without a label says nothing
        item_BL = torch.where(real_BL, self.item_rows[raw["past_item_BL"].long()], self.item_rows[0])
        item_U, item_BL = distinct(item_BL, self._n_rows)
        out = {
            "past_item_U": item_U,
            "past_item_BL": item_BL,
            "past_label_BL": label_BL.clamp(min=0).long(),
            "past_there_BL": real_BL.float(),
        }
        if self.texts and "past_text_BL" in raw:
            text_U, out["past_text_BL"] = distinct(
                torch.where(real_BL, raw["past_text_BL"].long(), 0), len(self._table)
            )
            found_UX = self._table[text_U]
            out["past_text_UV"] = found_UX[:, :-1] - self._mean(self.texts, HISTORY) * found_UX[:, -1:]
        return out

    @cached_property
    def _n_rows(self) -> int:
        """How many rows of the embedding table there are up to the last item's."""
        return int(self.item_rows.max()) + 1


def distinct(values_BL: torch.Tensor, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The distinct values, ascending, and where each value is among them; as torch.unique, without its sort.

    On a GPU their number isn't asked for, which would wait for it: as many come as there can be, the last one repeated.
    Shapes: values_BL int64 in 0 .. n-1 -> values_U, positions_BL, int64.
    """
    seen_N = torch.zeros(n, dtype=torch.int64, device=values_BL.device)
    seen_N[values_BL] = 1
    rank_N = seen_N.cumsum(0)
    n_distinct = min(n, values_BL.numel()) if values_BL.is_cuda else int(rank_N[-1])
    wanted_U = torch.arange(1, n_distinct + 1, device=values_BL.device)
    return torch.searchsorted(rank_N, wanted_U).clamp_(max=n - 1), rank_N[values_BL] - 1


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


def texts_of_all(
    text_ids: Sequence[int], codes: dict[str, np.ndarray], team: Team
) -> tuple[Sequence[int], dict[str, np.ndarray]]:
    """What `texts_of_rows` found in every process, as text ids, then ascending, and codes into them."""
    if team.size == 1:
        return text_ids, codes
    ids_K = np.array(text_ids, np.int64)
    parts = team.gather({name: ids_K[of_name - 1] for name, of_name in codes.items()})
    merged = {name: np.unique(np.concatenate([part[name] for part in parts])) for name in codes}
    all_T = np.unique(np.concatenate([np.empty(0, np.int64), *merged.values()]))
    return all_T.tolist(), {name: 1 + np.searchsorted(all_T, of_name) for name, of_name in merged.items()}


def cold_rows(columns: Columns, rows_N: np.ndarray) -> np.ndarray:
    """Those of the rows whose user or item is cold."""
    return rows_N[np.isin(columns.level_NG[rows_N], COLD).any(1)]
