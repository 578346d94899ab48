"""Blobs as they were read for requests, and what they count: the part that needs no store."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, TypeAlias

import numpy as np

from trainer.serving.online import days, history, moments
from trainer.serving.online.blobs import NONE
from trainer.serving.online.supplied import DAYS, MOMENTS
from trainer.serving.online.values import Value

_Rows: TypeAlias = np.ndarray | slice
MAY_BE_NONE = ("_micros", "_date")  # ends of the names of counts that there may be none of


@dataclass
class Gathered:
    """Blobs of any number of requests; counted later, all at once.

    Per grain: blobs, each with an instant, and for each request the position of its own among them. clock: of the state
    as they were read.
    """

    clock: int | None = None
    blobs: dict[str, list[bytes | None]] = field(default_factory=dict)
    at: dict[str, list[int]] = field(default_factory=dict)
    position: dict[str, list[int]] = field(default_factory=dict)

    def joined(self, other: Gathered) -> Gathered:
        """This one, with the requests of another after its own."""
        for grain, positions in other.position.items():
            n = len(self.at.setdefault(grain, []))
            self.position.setdefault(grain, []).extend([n + one for one in positions])
            self.blobs.setdefault(grain, []).extend(other.blobs[grain])
            self.at[grain].extend(other.at[grain])
        return self


@lru_cache
def _parts(names: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """Each name, the grain in it, and the count."""
    return [(name, *name.split(".", 1)) for name in names]  # type: ignore[misc]  # two parts


class Counts:
    """What the formulas stand on, counted when it is asked for.

    Legend: B requests, K keys of all grains of a kind. Where all requests share a key, its counts are (1,), not (B,).
    """

    def __init__(self, gathered: Gathered, n_scenes: int, history_length: int):
        self._gathered, self._n_scenes, self._length = gathered, n_scenes, history_length

    def values(self, names: Collection[str]) -> dict[str, Value]:
        """Whole numbers, (B,) or (1,), int64, by the names of a grain and of a count of it."""
        out = {}
        for name, grain, count in _parts(tuple(names)):
            if name == "history.last_number":
                data_B = np.array(self._histories[0], np.int64)[self._rows("history", 0)]
            else:
                counts, rows_B = self._moments if grain in MOMENTS else self._days
                data_B = counts[count][rows_B[grain]]
            out[name] = Value(data_B, data_B == NONE if count.endswith(MAY_BE_NONE) else None)
        return out

    @property
    def outcomes(self) -> list[list[list[Any]]]:
        """Per request, the values of the user's latest outcomes, latest first."""
        lists = self._histories[1]
        return [lists[place] for place in self._gathered.position["history"]]

    @cached_property
    def _moments(self) -> tuple[dict[str, np.ndarray], dict[str, _Rows]]:
        blobs, at_K, rows_B = self._of(MOMENTS)
        return moments.counted(blobs, at_K), rows_B

    @cached_property
    def _days(self) -> tuple[dict[str, np.ndarray], dict[str, _Rows]]:
        blobs, at_K, rows_B = self._of(DAYS)
        return days.counted(blobs, at_K // moments.DAY, self._n_scenes), rows_B

    @cached_property
    def _histories(self) -> tuple[list[int], list[list[list[Any]]]]:
        of = self._gathered
        return history.latest(of.blobs["history"], of.at["history"], self._length)

    def _of(self, grains: Mapping[str, Any]) -> tuple[list[bytes | None], np.ndarray, dict[str, _Rows]]:
        """The blobs and instants of several grains end to end, and for each grain every request's place there."""
        blobs, at, rows_B = list[bytes | None](), list[int](), dict[str, _Rows]()
        for grain in grains:
            if grain in self._gathered.position:
                rows_B[grain] = self._rows(grain, len(at))
                blobs += self._gathered.blobs[grain]
                at += self._gathered.at[grain]
        return blobs, np.array(at, np.int64), rows_B

    def _rows(self, grain: str, start: int) -> _Rows:
        """Every request's place among blobs of which the grain's own begin at `start`."""
        position, n = self._gathered.position[grain], len(self._gathered.blobs[grain])
        if n == 1 or position == list(range(n)):
            return slice(start, start + n)
        return np.array(position, np.int64) + start
