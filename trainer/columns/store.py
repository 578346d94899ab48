"""The rows of a mart as plain arrays: memory-mapped from disk, or in memory for a block of rows."""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from trainer.base.files import read_json
from trainer.base.paging import maps_of, release_pages
from trainer.base.team import ALONE, Team
from trainer.columns.ragged import Lists
from trainer.contract.schema import LEVELS, SPLITS

_READ = 1 << 12  # rows read before pages are released: spread over a log, each maps pages of its own
ARRAYS = ("dense_ND", "codes_NC", "scene_N", "label_N", "split_N", "level_NG", "event_at_N")


@dataclass(frozen=True)
class TextColumn:
    """A column of text ids: one a row, or a list of them.

    codes: 1 + position in `Columns.text_ids`; 0 for a NULL in a list. A NULL instead of a list is an empty one.
    """

    name: str
    group: str | None
    codes: Lists


@dataclass(frozen=True)
class History:
    """The user's latest known outcomes, most recent first; three lists of equal lengths.

    items: codes into the item id's dictionary. texts: codes into `Columns.text_ids`; None where the mart has none.
    labels: 0 or 1, -1 for NULL. longest: outcomes in the longest list.
    """

    items: Lists
    texts: Lists | None
    labels: Lists
    longest: int


@dataclass(frozen=True)
class Columns:
    """The rows of a mart as arrays, N rows in the order (event_date, event_at, event_id).

    dense_ND: float32, as in the mart; NaN where it is NULL, NaN, infinite or beyond rows.LARGEST
    codes_NC: int32, one column a categorical input; 0 is NULL, else 1 + position in `dictionaries[input]`
    scene_N:  int16, position in the contract's scenes
    label_N, split_N: uint8; split is a position in schema.SPLITS, or len(SPLITS) for a row that no split holds
    level_NG: int8, one column a level column; position in schema.LEVELS, -1 for NULL
    event_at_N: int64, microseconds since 1970 UTC
    known_at_N: the same, of when the row's outcome was known (rows.NEVER for NULL); None where the mart doesn't say
    texts: the columns of text ids; history: None where the mart has no such columns
    days: the partitions that the rows are of, each with a hash of its rows (build.py)
    not_finite: of each dense input that has any, the values that aren't NULL and yet are NaN in dense_ND
    Which input stands where: `dense_names` and `code_names`; levels: `level_groups` ("user", "item");
    `id_names`: the name in `code_names` of the id of "user" and "item".
    """

    folder: Path
    dense_names: tuple[str, ...]
    code_names: tuple[str, ...]
    level_groups: tuple[str, ...]
    id_names: dict[str, str]
    scenes: tuple[str, ...]
    content_hash: str
    dense_ND: np.ndarray
    codes_NC: np.ndarray
    scene_N: np.ndarray
    label_N: np.ndarray
    split_N: np.ndarray
    level_NG: np.ndarray
    event_at_N: np.ndarray
    texts: tuple[TextColumn, ...] = ()
    history: History | None = None
    known_at_N: np.ndarray | None = None
    not_finite: dict[str, int] = field(default_factory=dict)
    days: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.label_N)

    @cached_property
    def dictionaries(self) -> dict[str, list[str]]:
        """For each categorical input its distinct values, in the order in which they first occur."""
        return read_json(self.folder / "dictionaries.json")

    @cached_property
    def text_ids(self) -> list[int]:
        """The distinct text ids of all columns that hold them, in the order in which they first occur."""
        return read_json(self.folder / "text_ids.json")

    def rows(self, split: str) -> np.ndarray:
        """The positions of a split's rows, ascending, int64."""
        return np.flatnonzero(np.asarray(self.split_N) == SPLITS.index(split))

    @cached_property
    def _maps(self) -> list[mmap.mmap]:
        past = self.history
        lists = [c.codes for c in self.texts] + ([past.items, past.texts, past.labels] if past else [])
        arrays = [getattr(self, name) for name in ARRAYS] + ([] if self.known_at_N is None else [self.known_at_N])
        return maps_of(arrays + [a for part in lists if part is not None for a in (part.offsets, part.codes_M)])

    def dense_of(self, rows_N: np.ndarray, at: slice) -> np.ndarray:
        """Some of the dense columns of any number of rows. Shapes: -> (N, columns), float32."""
        out_ND = np.empty((len(rows_N), len(self.dense_names[at])), np.float32)
        for s in range(0, len(rows_N), _READ):
            out_ND[s : s + _READ] = self.dense_ND[rows_N[s : s + _READ], at]
            self.release_pages()
        return out_ND

    def release_pages(self) -> None:
        """To be called after each block of rows that was read: keeps the mapped pages this process holds few."""
        release_pages(self._maps)

    def codes_of(self, group: str) -> np.ndarray:
        """The codes of the user's or the item's id. Shapes: -> (N,), int32."""
        return self.codes_NC[:, self.code_names.index(self.id_names[group])]

    def event_ids(self, rows_B: np.ndarray) -> pa.Array:
        with pa.memory_map(str(self.folder / "event_ids.arrow")) as source:
            return pa.ipc.open_file(source).read_all()["event_id"].take(pa.array(rows_B)).combine_chunks()


def evenly_spaced(values_N: np.ndarray, most: int) -> np.ndarray:
    """All values, or `most` of them, spread evenly from the first to the last, in their order."""
    return values_N if len(values_N) <= most else values_N[evenly(len(values_N), most)]


def evenly(n: int, most: int) -> np.ndarray:
    """0 .. n - 1, or `most` of these numbers, spread evenly from the first to the last. Shapes: -> (min(n, most),)."""
    return np.arange(n) if n <= most else np.linspace(0, n - 1, most).astype(np.int64)


def facts(columns: Columns, team: Team = ALONE) -> dict[str, Any]:
    """What was trained on, by split: rows, time span (UTC), positive rate, users, items, shares of scenes, levels.

    team: the rows are those of all its processes; what they come to is the first one's.
    """
    out: dict[str, Any] = {}
    for split in SPLITS:
        columns.release_pages()
        parts = team.to_leader(_counts(columns, columns.rows(split), by_name=team.size > 1))
        if not parts:
            continue
        n = sum(part["rows"] for part in parts)
        one: dict[str, Any] = {"rows": n}
        if n:
            instants = [at for part in parts for at in part["span"]]
            span = np.array([min(instants), max(instants)]).astype("datetime64[us]").astype("datetime64[s]")
            one |= {"first": str(span[0]), "last": str(span[1])}
            one["positive_rate"] = sum(part["positives"] for part in parts) / n
            for group in ("users", "items"):
                one[group] = len(set().union(*(part[group] for part in parts)))
            for name, (_, known) in parts[0]["shares"].items():
                summed = sum(part["shares"][name][0] for part in parts)
                one[name] = {value: float(count / n) for value, count in zip(known, summed, strict=True)}
        out[split] = one
    return out


def _counts(columns: Columns, rows: np.ndarray, by_name: bool) -> dict[str, Any]:
    """What `facts` adds up. by_name: users and items by their names, which other processes know too."""
    out: dict[str, Any] = {
        "rows": len(rows),
        "span": columns.event_at_N[rows[[0, -1]]].tolist() if len(rows) else [],
        "positives": int(columns.label_N[rows].sum(dtype=np.int64)),
    }
    for group in ("user", "item"):
        codes = np.unique(columns.codes_of(group)[rows]).tolist()
        names = columns.dictionaries[columns.id_names[group]] if by_name else []
        out[f"{group}s"] = {names[code - 1] for code in codes} if by_name else set(codes)
    shares = {"scenes": (_n_of(columns.scene_N[rows], columns.scenes), columns.scenes)}
    for g, group in enumerate(columns.level_groups):
        shares[f"{group}_levels"] = (_n_of(columns.level_NG[rows, g], LEVELS), LEVELS)
    return out | {"shares": shares}


def _n_of(positions_B: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    return np.array([int((positions_B == k).sum()) for k in range(len(names))])
