"""A block of rows as a column store: what columns/build.py makes of a mart, of the columns that a run reads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainer.base.errors import TrainerError, nearest
from trainer.columns.ragged import Lists, encode, ids_of
from trainer.columns.rows import Advice, Part, outcomes
from trainer.columns.store import Columns, History, TextColumn
from trainer.contract.schema import LEVELS, TEXT_ID_TYPES, Column, Input, inputs_of
from trainer.inputs.features import FittedInputs

BLOCK = Path("a block of rows")  # where a mart's columns would have their folder
HISTORY = Path("a history")
_ADVICE = Advice(
    "Leave such rows out, or train again with them.", "The run reads lists of that length.", "Leave such rows out."
)


@dataclass(frozen=True)
class RequiredColumns:
    """The contract's columns that a run's inputs are made of.

    inputs: those of the model. lengths: of each list column that is spread over positions. texts, history, levels:
    empty where the run reads none. Of a run that reads sequences, the user and the instant are among them; label: also
    what happened, and known_at, as of rows that are a history.
    """

    columns: dict[str, Column]
    inputs: tuple[Input, ...]
    scene: str
    lengths: dict[str, int]
    texts: tuple[Column, ...]
    history: dict[str, Column]
    levels: tuple[Column, ...]
    ids: dict[str, str]
    label: str | None = None

    @property
    def names(self) -> list[str]:
        return list(self.columns)

    @classmethod
    def of(cls, inputs: FittedInputs, contract: tuple[Column, ...], variables: dict[str, Any]) -> RequiredColumns:
        """From what the run saved: its inputs, and the contract it was trained with."""
        by_name = {c.name: c for c in contract}
        wanted = {*(d.name for d in inputs.dense), *(c.name for c in inputs.codes)}
        if inputs.window:
            wanted.add(next(c.name for c in contract if c.role == "key" and c.group == "user"))
        own = tuple(i for i in inputs_of(contract, variables) if i.name in wanted)
        scene = next(c for c in contract if c.role == "scene")
        texts = tuple(by_name[name] for name, _ in inputs.text_columns)
        history = {c.of: c for c in contract if c.role == "history" and c.of} if inputs.history else {}
        if not inputs.sizes.past_texts:
            history.pop("text_id", None)
        reads_levels = bool(inputs.text_columns or inputs.history)
        levels = tuple(c for c in contract if c.role == "level") if reads_levels else ()
        names = [scene.name, *(i.column for i in own), *(c.name for c in (*texts, *history.values(), *levels))]
        names += ["event_at"] if inputs.window else []
        lengths = {
            i.column: len(variables[positions])
            for i in own
            if i.position >= 0 and (positions := by_name[i.column].names)
        }
        ids = {i.group: i.name for i in own if i.is_id and i.group}
        return cls({n: by_name[n] for n in dict.fromkeys(names)}, own, scene.name, lengths, texts, history, levels, ids)

    def of_history(self, contract: tuple[Column, ...]) -> RequiredColumns:
        """The columns of rows whose outcomes are read."""
        more = [c for c in contract if c.role == "label" or c.name in ("known_at", "event_id")]
        label = next(c.name for c in more if c.role == "label")
        return replace(self, columns=self.columns | {c.name: c for c in more}, label=label)

    def check(self, schema: pa.Schema, where: str) -> None:
        """Raises: TrainerError naming the first column that is missing, or has a type that can't be read as its own."""
        for name, column in self.columns.items():
            if name not in schema.names:
                raise TrainerError(
                    f"{where} has no column {name} ({column.data_type}), which the run reads"
                    f"{nearest(name, schema.names)}. Add it; where it isn't known, make it NULL."
                )
            found = schema.field(name).type
            kinds = [column.data_type]
            if column.holds_text_ids:
                is_list = column.data_type.endswith("[]")
                kinds = [f"{kind}[]" if is_list else kind for kind in sorted(TEXT_ID_TYPES)]
            if not any(_fits(found, kind) for kind in kinds):
                raise TrainerError(f"{where}: column {name} is {found}; the run reads it as {kinds[0]}. Cast it.")


def _fits(found: pa.DataType, expected: str) -> bool:
    if pa.types.is_null(found):
        return True
    if expected == "timestamp":
        return pa.types.is_timestamp(found)
    if expected.endswith("[]"):
        return _is_list(found) and _fits(found.value_type, expected[:-2])
    if pa.types.is_dictionary(found):
        return _fits(found.value_type, expected)
    if expected == "string":
        return pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_string_view(found)
    numbers = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
    return any(is_number(found) for is_number in numbers)


def _is_list(found: pa.DataType) -> bool:
    return pa.types.is_list(found) or pa.types.is_large_list(found) or pa.types.is_fixed_size_list(found)


def block_columns(
    table: pa.Table, required: RequiredColumns, scenes: tuple[str, ...], where: str, folder: Path = BLOCK
) -> Columns:
    """The block as a column store in memory; split, and label and time where they aren't required, are zeros.

    Raises: TrainerError for a scene that is NULL or unknown to the run, a list of the wrong length, an unknown level;
    where they are required, for an instant that is NULL and a label other than 0 and 1.
    """
    n = len(table)
    table = _plain(table, required)
    part = Part(table, required.lengths, where, _ADVICE)
    dense = [i for i in required.inputs if i.kind == "dense"]
    codes = [i for i in required.inputs if i.kind == "categorical"]
    dictionaries: dict[str, dict[str, int]] = {i.name: {} for i in codes}
    dense_ND, codes_NC = np.empty((n, len(dense)), np.float32), np.empty((n, len(codes)), np.int32)
    for d, i in enumerate(dense):
        dense_ND[:, d], _ = part.numbers(i.column, i.position)
    for c, i in enumerate(codes):
        codes_NC[:, c] = part.encoded(i.column, i.position, dictionaries[i.name])
    text_index: dict[int, int] = {}
    item_index = dictionaries.get(required.ids.get("item", ""), {})
    texts = tuple(
        TextColumn(c.name, c.group, _lists(table, c.name, "text_id", where, text_index)) for c in required.texts
    )
    history = None
    if required.history:
        indices: dict[str, dict] = {"item_id": item_index, "text_id": text_index}
        past = {of: _lists(table, c.name, of, where, indices.get(of)) for of, c in required.history.items()}
        _check_equal(past, required, where)
        longest = int(np.diff(past["item_id"].offsets).max(initial=0))
        history = History(past["item_id"], past.get("text_id"), past["label"], longest)
    levels = [part.position(c.name, LEVELS, null=-1) for c in required.levels]
    event_at_N = part.instants("event_at") if "event_at" in required.columns else np.zeros(n, np.int64)
    out = Columns(
        folder,
        tuple(i.name for i in dense),
        tuple(i.name for i in codes),
        tuple(c.group or "" for c in required.levels),
        required.ids,
        scenes,
        "",
        dense_ND=dense_ND,
        codes_NC=codes_NC,
        scene_N=part.position(required.scene, scenes).astype(np.int16),
        label_N=part.label(required.label).astype(np.uint8) if required.label else np.zeros(n, np.uint8),
        split_N=np.zeros(n, np.uint8),
        level_NG=np.stack(levels, 1).astype(np.int8) if levels else np.empty((n, 0), np.int8),
        event_at_N=event_at_N,
        known_at_N=part.known_at("known_at") if required.label else None,
        texts=texts,
        history=history,
    )
    # In place of what the properties would read from the folder of a mart's columns.
    vars(out).update(
        dictionaries={name: list(index) for name, index in dictionaries.items()}, text_ids=list(text_index)
    )
    return out


def _plain(table: pa.Table, required: RequiredColumns) -> pa.Table:
    """The required columns as strings, numbers, and lists of them, whatever Arrow's kind of those was.

    Ids of texts stay as they are: a float64 holds no 64-bit integer.
    """
    types = {}
    for name, column in required.columns.items():
        if column.holds_text_ids:
            found = table[name].type
            plain = found.value_type if _is_list(found) else pa.int64() if pa.types.is_null(found) else found
        else:
            plain = pa.string() if column.data_type.startswith("string") else pa.float64()
            plain = pa.timestamp("us") if column.data_type == "timestamp" else plain
        types[name] = pa.list_(plain) if column.data_type.endswith("[]") else plain
    return pa.table({name: table[name].cast(plain, safe=False) for name, plain in types.items()})


def _lists(table: pa.Table, name: str, of: str, where: str, index: dict[Any, int] | None) -> Lists:
    """A column of lists of any length; a plain value is a list of one, NULL an empty one. Without index: labels."""
    array = table[name].combine_chunks()
    if pa.types.is_list(array.type):
        lengths_B = pc.fill_null(pc.list_value_length(array), 0).to_numpy().astype(np.int64)
        flat = array.flatten()
    else:
        lengths_B, flat = array.is_valid().to_numpy(zero_copy_only=False).astype(np.int64), array.drop_null()
    codes_K = outcomes(flat, name, where, _ADVICE) if index is None else encode(ids_of(flat, of, name, where), index)
    return Lists(np.concatenate([[0], np.cumsum(lengths_B)]).astype(np.int64), codes_K)


def _check_equal(past: dict[str, Lists], required: RequiredColumns, where: str) -> None:
    first = next(iter(past))
    for of, lists in past.items():
        if not np.array_equal(lists.offsets, past[first].offsets):
            a, b = required.history[of].name, required.history[first].name
            raise TrainerError(f"{where}: the lists of {a} and {b} differ in length in some row.")
