"""A mart's rows in their order, as blocks of a few days: read and checked, coded, not yet written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from storage.ahead import ahead
from trainer.base.errors import TrainerError
from trainer.columns.ragged import ListReader, encode_days
from trainer.columns.rows import Day, Part, as_damage_error, name_of, ordered, outcomes
from trainer.contract.schema import EXCLUDED, LEVELS, SPLITS, Contract

# Of files that are read together: a day costs some 100 calls of Arrow whatever its rows. A larger day is a block by
# itself.
_BYTES = 8 << 20


@dataclass(frozen=True)
class Block:
    """Some days' rows. days: their partitions, each with its rows of the block.

    lists: by stem, the rows' lengths and all elements' codes end to end.
    """

    days: list[tuple[str, slice]]
    event_ids: pa.Array
    arrays: dict[str, np.ndarray]
    lists: dict[str, tuple[np.ndarray, np.ndarray]]


class _Rows(NamedTuple):
    """Some days' rows as `ordered` returns them, and their lists."""

    table: pa.Table
    order_B: np.ndarray
    ends_D: np.ndarray
    lists: ListReader


class BlockReader:
    """Blocks of a mart in the order of its days. `index` and `text_index` grow: codes into them are final.

    The blocks' limits decide nothing: codes are given as if each day were read by itself.
    """

    def __init__(self, contract: Contract):
        self.contract = contract
        self.dense = [i for i in contract.inputs if i.kind == "dense"]
        self.codes = [i for i in contract.inputs if i.kind == "categorical"]
        self.levels = [c.name for c in contract.having("level")]
        self.scene, self.label, self.split = (contract.having(role)[0].name for role in ("scene", "label", "split"))
        self.item = next(i for i in self.codes if i.is_id and i.group == "item")
        self.known_at = "known_at" if any(c.name == "known_at" for c in contract.having("time")) else None
        self.columns = list(
            dict.fromkeys(
                [
                    *("event_id", "event_at", self.scene, self.label, self.split),
                    *([self.known_at] if self.known_at else []),
                    *self.levels,
                    *(i.column for i in contract.inputs),
                ]
            )
        )
        self.lengths = {c.name: len(contract.variables[c.names]) for c in contract.columns if c.names}
        self.list_columns = {f"text.{c.name}": ("text_id", c.name) for c in contract.texts}  # stem -> of what, column
        history = contract.history
        if {"item_id", "label"} <= history.keys():
            self.list_columns |= {f"history.{of}": (of, c.name) for of, c in history.items()}
        self.index: dict[str, dict[str, int]] = {i.name: {} for i in self.codes}
        self.text_index: dict[int, int] = {}
        self.longest = 0
        self.not_finite = dict.fromkeys((i.name for i in self.dense), 0)

    def blocks(self) -> Iterator[Block]:
        """A thread reads the next block's files meanwhile.

        Raises: TrainerError for values the contract excludes, naming column, value and partition.
        """
        with closing(ahead(self._rows_of, self._together(), depth=1)) as found:
            for days, rows in found:
                try:
                    block = self._read(days, rows)
                except TrainerError:
                    if len(days) == 1:
                        raise
                    for day in days:  # the error is to name the day, not several
                        yield self._read([day], self._rows_of([day])[1])
                else:
                    yield block

    def _together(self) -> Iterator[list[Day]]:
        folder, size = self.contract.folder, 0
        days: list[Day] = []
        for name, files in groupby(self.contract.files, key=lambda path: path.relative_to(folder).parts[0]):
            day = (name, list(files))
            of_day = sum(path.stat().st_size for path in day[1])
            if days and size + of_day > _BYTES:
                yield days
                days, size = [], 0
            days.append(day)
            size += of_day
        yield days

    def _rows_of(self, days: list[Day]) -> tuple[list[Day], _Rows | TrainerError]:
        """Their rows as they are read, in order; or why not, for who asks for them."""
        lists = ListReader({name: of for of, name in self.list_columns.values()})
        try:
            with as_damage_error(name_of(days)):
                return days, _Rows(*ordered(days, self.columns, lists), lists)
        except TrainerError as error:
            return days, error

    def _read(self, days: list[Day], rows: _Rows | TrainerError) -> Block:
        """What can fail comes first: a block that failed has left no codes behind."""
        if isinstance(rows, TrainerError):
            raise rows
        where, table = name_of(days), rows.table
        with as_damage_error(where):
            part = Part(table, self.lengths, where)
            arrays, not_finite = self._arrays(part)
            lists = {
                stem: rows.lists.ordered(name, rows.order_B, where) for stem, (_, name) in self.list_columns.items()
            }
            self._check_history(lists, where)
            coded = {
                stem: (lengths_B, outcomes(elements_K, self.list_columns[stem][1], where))
                for stem, (lengths_B, elements_K) in lists.items()
                if stem == "history.label"
            }
            for i in self.codes:
                if i.position >= 0:
                    part.check_lengths(i.column)
        self._encode(part, arrays, lists, coded, rows.ends_D)
        for name, n in not_finite.items():
            self.not_finite[name] += n
        starts = [0, *rows.ends_D[:-1]]
        slices = [slice(int(start), int(end)) for start, end in zip(starts, rows.ends_D, strict=True)]
        return Block(
            [(name, of_day) for (name, _), of_day in zip(days, slices, strict=True)],
            table["event_id"].combine_chunks(),
            arrays,
            {stem: coded[stem] for stem in self.list_columns},
        )

    def _arrays(self, part: Part) -> tuple[dict[str, np.ndarray], dict[str, int]]:
        """Arrays in the order in which they are hashed, codes still empty; and by input how many numbers are none."""
        n, not_finite = len(part.table), {}
        dense_BD = np.empty((n, len(self.dense)), np.float32)
        for d, i in enumerate(self.dense):
            dense_BD[:, d], not_finite[i.name] = part.numbers(i.column, i.position)
        level_BG = np.empty((n, len(self.levels)), np.int8)
        for g, name in enumerate(self.levels):
            level_BG[:, g] = part.position(name, LEVELS, null=-1)
        arrays = {
            "dense_ND": dense_BD,
            "codes_NC": np.empty((n, len(self.codes)), np.int32),
            "scene_N": part.position(self.scene, self.contract.scenes).astype(np.int16),
            "label_N": part.label(self.label).astype(np.uint8),
            "split_N": part.position(self.split, (*SPLITS, EXCLUDED)).astype(np.uint8),
            "level_NG": level_BG,
            "event_at_N": part.table["event_at"].to_numpy(),
        }
        if self.known_at:
            arrays["known_at_N"] = part.known_at(self.known_at)
        return arrays, not_finite

    def _encode(self, part: Part, arrays: Any, lists: Any, coded: Any, ends_D: np.ndarray) -> None:
        """Fill in the codes, of `arrays` and of `coded`."""

        def ends_of(stem: str) -> np.ndarray:
            return np.cumsum(lists[stem][0])[ends_D - 1]

        for c, i in enumerate(self.codes):
            if i is not self.item:
                arrays["codes_NC"][:, c] = part.encoded(i.column, i.position, self.index[i.name])
        # Items are those of rows and of histories, texts those of all columns: one index each.
        for of, index in (("item_id", self.index[self.item.name]), ("text_id", self.text_index)):
            stems = [stem for stem, (what, _) in self.list_columns.items() if what == of]
            own = [(part.table[self.item.column].combine_chunks(), ends_D)] if of == "item_id" else []
            if not own and not stems:
                continue
            codes = encode_days([*own, *((lists[stem][1], ends_of(stem)) for stem in stems)], index)
            if own:
                arrays["codes_NC"][:, self.codes.index(self.item)] = codes.pop(0)
            coded |= {stem: (lists[stem][0], codes_K) for stem, codes_K in zip(stems, codes, strict=True)}

    def _check_history(self, lists: dict[str, tuple[np.ndarray, Any]], where: str) -> None:
        """Raises: TrainerError for a row whose history lists differ in length."""
        history = {name: lists[stem][0] for stem, (_, name) in self.list_columns.items() if stem.startswith("history.")}
        for name, lengths_B in history.items():
            self.longest = max(self.longest, int(lengths_B.max(initial=0)))
            first, expected_B = next(iter(history.items()))
            if (lengths_B != expected_B).any():
                k = int(np.flatnonzero(lengths_B != expected_B)[0])
                raise TrainerError(
                    f"Column {name}: a list of {lengths_B[k]} elements beside {expected_B[k]} in {first}, in "
                    f"{where}; expected the lists of role history to be of one length. Run `dbt build`."
                )
