"""Blobs as they were read for requests, and what they count: the part that needs no store."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from trainer.serving.online import days, history, moments
from trainer.serving.online.blobs import NONE
from trainer.serving.online.supplied import DAYS, MOMENTS
from trainer.serving.online.values import Value

MAY_BE_NONE = ("_micros", "_date")  # ends of the names of counts that there may be none of


@dataclass
class Gathered:
    """Blobs of any number of requests; counted later, all at once.

    Per grain: the keys, each with an instant, their blobs, and for each request the position of its own among them.
    """

    keys: dict[str, list[bytes]] = field(default_factory=dict)
    blobs: dict[str, list[bytes | None]] = field(default_factory=dict)
    at: dict[str, list[int]] = field(default_factory=dict)
    position: dict[str, list[int]] = field(default_factory=dict)

    def joined(self, other: Gathered) -> Gathered:
        """This one, with the requests of another after its own."""
        for grain, positions in other.position.items():
            n = len(self.at.setdefault(grain, []))
            self.position.setdefault(grain, []).extend([n + one for one in positions])
            self.keys.setdefault(grain, []).extend(other.keys[grain])
            self.blobs.setdefault(grain, []).extend(other.blobs[grain])
            self.at[grain].extend(other.at[grain])
        return self


class Counts:
    """What the formulas stand on, counted when it is asked for. Legend: B requests, K keys of all grains of a kind."""

    def __init__(self, gathered: Gathered, n_scenes: int, history_length: int):
        self._gathered, self._n_scenes, self._length = gathered, n_scenes, history_length

    def values(self, names: Collection[str]) -> dict[str, Value]:
        """Whole numbers, (B,), int64, by the names of a grain and of a count of it."""
        out = {}
        for name in names:
            grain, _, count = name.partition(".")
            if name == "history.last_number":
                data_B = np.array(self._histories[0], np.int64)[self._gathered.position["history"]]
            else:
                counts, rows_B = self._moments if grain in MOMENTS else self._days
                data_B = counts[count][rows_B[grain]]
            out[name] = Value(data_B, data_B == NONE if name.endswith(MAY_BE_NONE) else None)
        return out

    @property
    def outcomes(self) -> list[list[list[Any]]]:
        """Per request, the values of the user's latest outcomes, latest first."""
        lists = self._histories[1]
        return [lists[place] for place in self._gathered.position["history"]]

    @cached_property
    def _moments(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        blobs, at_K, rows_B = self._of(MOMENTS)
        return moments.counted(blobs, at_K), rows_B

    @cached_property
    def _days(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        blobs, at_K, rows_B = self._of(DAYS)
        return days.counted(blobs, at_K // moments.DAY, self._n_scenes), rows_B

    @cached_property
    def _histories(self) -> tuple[list[int], list[list[list[Any]]]]:
        of = self._gathered
        return history.latest(of.blobs["history"], of.at["history"], self._length)

    def _of(self, grains: Mapping[str, Any]) -> tuple[list[bytes | None], np.ndarray, dict[str, np.ndarray]]:
        """The blobs and instants of several grains end to end, and for each grain every request's place there."""
        blobs, at, rows_B = list[bytes | None](), list[int](), dict[str, np.ndarray]()
        for grain in grains:
            if grain in self._gathered.position:
                rows_B[grain] = np.array(self._gathered.position[grain], np.int64) + len(at)
                blobs += self._gathered.blobs[grain]
                at += self._gathered.at[grain]
        return blobs, np.array(at, np.int64), rows_B
