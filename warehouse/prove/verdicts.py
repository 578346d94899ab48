"""What came of each feature: the cells that held, those that moved, and what can't be proven."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from .alterations import Alteration
from .models import Mart


@dataclass(frozen=True)
class Moved:
    """A cell that changed though it must not, the first of its alteration."""

    alteration: str
    event_id: str
    value: object
    without: object
    n_cells: int


@dataclass
class Feature:
    """held and moved: in how many cells, over all alterations. values: how many different ones the sample has."""

    name: str
    values: int
    why_unproven: str | None
    held: int = 0
    moved: list[Moved] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        return "moved" if self.moved else "unproven" if self.why_unproven else "held"

    @property
    def n_moved(self) -> int:
        """Cells that moved, over all alterations."""
        return sum(moved.n_cells for moved in self.moved)


@dataclass
class Verdicts:
    """Of one mart. lost_or_doubled: events that are not exactly one row of it."""

    mart: Mart
    features: dict[str, Feature]
    lost_or_doubled: list[str]

    @classmethod
    def of(cls, mart: Mart, rows: pa.Table, event_ids: list[str]) -> Verdicts:
        """Before any alteration: `rows` is the mart of the sample as it is."""
        features = {}
        for name in mart.features:
            values, why = variety(rows[name])
            features[name] = Feature(name, values, why)
        return cls(mart, features, lost_or_doubled(rows, event_ids))

    @property
    def leaks(self) -> list[Feature]:
        return [feature for feature in self.features.values() if feature.verdict == "moved"]

    def compare(self, alteration: Alteration, was: pa.Table, now: pa.Table) -> None:
        """Add what an alteration did to the cells that it must leave alone. Both tables are sorted by event_id."""
        asked = now
        if alteration.moment is not None:
            by, last = ("event_date", alteration.moment.date()) if self.mart.by_day else ("event_at", alteration.moment)
            asked = now.filter(pc.less_equal(now[by], pa.scalar(last, now[by].type)))
        places = pc.index_in(asked["event_id"], value_set=was["event_id"].combine_chunks())
        asked = asked.filter(places.is_valid())
        before = was.take(places.drop_null())
        for name, feature in self.features.items():
            moved = differing(before[name], asked[name])
            feature.held += len(asked) - len(moved)
            if moved:
                columns = (asked["event_id"], before[name], asked[name])
                event_id, value, without = (column[moved[0]].as_py() for column in columns)
                feature.moved.append(Moved(alteration.name, event_id, value, without, len(moved)))


def differing(was: pa.ChunkedArray, now: pa.ChunkedArray) -> list[int]:
    """The rows in which two columns differ by more than rounding."""
    if was.equals(now):
        return []
    pairs = zip(was.to_pylist(), now.to_pylist(), strict=True)
    return [row for row, (before, after) in enumerate(pairs) if not agree(after, before)]


def agree(found: object, expected: object) -> bool:
    """Equal up to the rounding of sums; NaN equals NaN."""
    if isinstance(expected, list) and isinstance(found, list):
        return len(found) == len(expected) and all(map(agree, found, expected))
    if isinstance(expected, float) and isinstance(found, float):
        return math.isclose(found, expected, rel_tol=1e-9) or (math.isnan(found) and math.isnan(expected))
    return found == expected


def variety(column: pa.ChunkedArray) -> tuple[int, str | None]:
    """How many different values a column has, and why it can't be proven: what never varies can't move either."""
    present = [value for value in column.to_pylist() if value not in (None, [])]
    values = {str(value) for value in present}
    if len(values) > 1:
        return len(values), None
    if not values:
        return 0, "NULL or empty in every event of the sample"
    return 1, f"{shown(present[0])} in every event of the sample that has a value"


def lost_or_doubled(rows: pa.Table, event_ids: list[str]) -> list[str]:
    """Events that are not exactly one row of the mart: the first ten, each with what is wrong."""
    found = rows["event_id"].to_pylist()
    lost = [f"{event_id} is missing" for event_id in sorted(set(event_ids) - set(found))]
    doubled = sorted({one for one, following in itertools.pairwise(found) if one == following})
    return [*lost, *(f"{event_id} has several rows" for event_id in doubled)][:10]


def shown(value: Any) -> str:
    """A value for a table: short."""
    text = f"{value:.6g}" if isinstance(value, float) else "NULL" if value is None else str(value)
    return text if len(text) <= 40 else text[:37] + "..."
