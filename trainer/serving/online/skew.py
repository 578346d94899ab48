"""Skew in production: the features that a service read against those of the mart that was built later.

Most candidates were never shown, so the mart has no row of them; mart_rows.py finds those that it has.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainer.base.errors import TrainerError
from trainer.base.progress import silent
from trainer.contract.read import one_build, read_contract
from trainer.contract.schema import Contract
from trainer.serving.online.compared import Difference, pairs, plain_type
from trainer.serving.online.mart_rows import MartRows
from trainer.serving.online.served_files import KEYS, OWN, ServedFiles

SMAPE = (
    "SMAPE is the mean of 2 |served - stored| / (|served| + |stored|), 0 where both are 0, over the numbers that are "
    "there on both sides (lists of one length by their elements): from 0 to 2."
)
# Why a row of the log wasn't compared.
NO_DAY = "no_day"
NO_EVENT = "no_event"
NO_KEY = "no_key"
SEVERAL = "several"
OTHER_KEY = "other_key"
WORDS = {
    NO_KEY: "candidates without an event: never shown, or not in the mart yet",
    NO_EVENT: "with an event_id that the mart doesn't have: never shown, or not in the mart yet",
    NO_DAY: "of days that the mart doesn't have",
    SEVERAL: "whose user, item, scene and instant are those of several events",
    OTHER_KEY: "with the event_id of an event of another user, item or scene",
}


@dataclass
class FeatureSkew(Difference):
    """types: served and stored, where they differ and no value can be equal."""

    is_number: bool = False
    types: tuple[str, str] | None = None
    smape_sum: float = 0.0
    smape_n: int = 0

    def add(self, event_ids: pa.Array, served: pa.Array, expected: pa.Array) -> np.ndarray:
        if pa.types.is_null(served.type):
            served = served.cast(expected.type)  # a file in which the column has no value
        if plain_type(served.type) != plain_type(expected.type):
            self.types = (str(served.type), str(expected.type))
        if self.is_number:
            ours, theirs = pairs(served, expected)
            finite = np.isfinite(ours) & np.isfinite(theirs)
            size = np.abs(ours[finite]) + np.abs(theirs[finite])
            apart = 2 * np.abs(ours[finite] - theirs[finite])
            self.smape_sum += float(np.divide(apart, size, out=np.zeros_like(size), where=size > 0).sum())
            self.smape_n += len(size)
        return super().add(event_ids, served, expected)

    @property
    def mismatch_rate(self) -> float:
        return (self.rows - self.equal) / self.rows if self.rows else 0.0

    @property
    def smape(self) -> float | None:
        return self.smape_sum / self.smape_n if self.smape_n else None

    def report(self, name: str) -> dict[str, Any]:
        """What a program reads. largest: None for what isn't a number, and where lists have other lengths."""
        return {
            "name": name,
            "rows": self.rows,
            "mismatches": self.rows - self.equal,
            "mismatch_rate": self.mismatch_rate,
            "null_on_one_side": self.null_on_one_side,
            "smape": self.smape,
            "largest": self.largest if self.is_number and math.isfinite(self.largest) else None,
            "types": self.types and list(self.types),
            "examples": [list(one) for one in self.examples],
        }


@dataclass
class Skew:
    """What was compared, and how it differs.

    left: rows of the log that weren't compared, by reason. repeated: rows whose event an earlier row had already.
    elsewhen: compared rows whose instant isn't the event's. missing: columns of the log that the mart lacks.
    """

    contract: Contract
    log: ServedFiles
    n_log: int = 0
    n_compared: int = 0
    n_differ: int = 0
    repeated: int = 0
    elsewhen: int = 0
    days: list[date] = field(default_factory=list)
    n_mart: int = 0
    never_served: int = 0
    left: Counter[str] = field(default_factory=Counter)
    missing: list[str] = field(default_factory=list)
    hint: str = ""
    features: dict[str, FeatureSkew] = field(default_factory=dict)

    def passed(self, allow: float) -> bool:
        """Whether no feature differs in more than this share of its rows, and every column could be compared."""
        wrong = self.left[OTHER_KEY] / (self.left[OTHER_KEY] + self.n_compared)
        return not self.missing and max([wrong, *(f.mismatch_rate for f in self.features.values())]) <= allow

    def report(self, allow: float = 0.0) -> dict[str, Any]:
        """What a program reads, and `trainer report` shows: the features that differ most come first."""
        features = [one.report(name) for name, one in self.features.items()]
        features.sort(key=lambda one: (-one["mismatch_rate"], -(one["smape"] or 0.0), one["name"]))
        return {
            "served": str(self.log.folder),
            "dataset": self.contract.dataset,
            "mart": self.contract.folder.name,
            "days": [str(self.days[0]), str(self.days[-1])],
            "allow": allow,
            "passed": self.passed(allow),
            "log_rows": self.n_log,
            "compared": self.n_compared,
            "rows_that_differ": self.n_differ,
            "repeated": self.repeated,
            "at_another_instant": self.elsewhen,
            "not_compared": {reason: self.left[reason] for reason in WORDS},
            "mart_rows": self.n_mart,
            "never_served": self.never_served,
            "not_in_mart": self.missing,
            "left_out": [{"path": one.path, "reason": one.reason} for one in self.log.left_out],
            "definition": SMAPE,
            "features": features,
            "sentences": self.sentences(),
        }

    def sentences(self) -> list[str]:
        """The result in words, the most important first."""
        mart, n = self.contract.folder.name, len(self.features)
        differ, compared = self.n_differ, self.n_compared
        if differ:
            rate, n_equal = f"{differ / compared:.2%}", sum(one.rows == one.equal for one in self.features.values())
            said = [
                f"{differ:,} of {compared:,} rows ({rate}) differ from {mart} in at least one feature; {n_equal} of "
                f"{n} features are equal in every row."
            ]
        else:
            said = [f"{compared:,} rows were compared: all {n} features are those of {mart} in every row."]
        for name, one in self.features.items():
            if one.types:
                said.append(f"{name} was served as {one.types[0]}, the mart has {one.types[1]}: no value is equal.")
        if self.missing:
            said.append(
                f"The mart doesn't have {', '.join(self.missing)}, so what was served isn't compared.{self.hint}"
            )
        if self.elsewhen:
            said.append(
                f"{self.elsewhen:,} of the rows compared were asked for at another instant than that of their event, "
                "which may be why they differ."
            )
        if self.repeated:
            said.append(f"{self.repeated:,} of the rows compared are of an event that was compared already.")
        days = " – ".join(dict.fromkeys((str(self.days[0]), str(self.days[-1]))))
        n_left = self.n_log - self.n_compared
        said.append(
            f"The log has {self.n_log:,} rows ({days}){f', {n_left:,} of them not compared' if n_left else ''}."
        )
        said += [f"{self.left[reason]:,} {words}." for reason, words in WORDS.items() if self.left[reason]]
        said.append(f"Of the mart's {self.n_mart:,} rows of these days {self.never_served:,} aren't in the log.")
        return said


def compare_served(log: ServedFiles, contract: Contract, tick: Callable[[int], None] = silent) -> Skew:
    """Compare every row of the log that the mart has a row of.

    tick: called with the number of rows of the log that were read since the last call.
    Raises: TrainerError where the log can't be read, or no row of it can be compared.
    """
    skew = Skew(contract, log)
    with one_build(contract.folder, contract.build):
        mart = MartRows(contract)
        for _, rows in log.batches():
            _compare(skew, mart, rows)
            tick(len(rows))
        if not skew.n_log:
            raise TrainerError(f"--served {log.folder} has no rows. Nothing was served yet.")
        seen = [mart.served[day] for day in skew.days if day in mart.served]
        skew.n_mart, skew.never_served = sum(map(len, seen)), sum(int((~one).sum()) for one in seen)
    if skew.missing:
        skew.hint = _other_mart(contract, skew.missing)
    if not skew.features:
        raise TrainerError(
            f"--served {log.folder} has no column that is a feature of {contract.folder}.{skew.hint} Expected the "
            "features that the model read, by their names in the mart."
        )
    if not skew.n_compared:
        why = "; ".join(f"{skew.left[reason]:,} {words}" for reason, words in WORDS.items() if skew.left[reason])
        raise TrainerError(
            f"None of the {skew.n_log:,} rows in {log.folder} can be compared with {contract.folder} ({why}). "
            f"The mart has {mart.first} to {mart.last}. Build it with the days that were served, and name the mart of "
            "the log that was served."
        )
    return skew


def _compare(skew: Skew, mart: MartRows, rows: pa.Table) -> None:
    names = [name for name in rows.column_names if name not in OWN]
    for name in names:
        if name not in mart.columns:
            skew.missing += [] if name in skew.missing else [name]
        elif name not in skew.features:
            skew.features[name] = FeatureSkew(is_number=mart.columns[name])
    names = [name for name in names if name in mart.columns]
    day_B = pc.cast(rows["event_at"], pa.date32())
    skew.n_log += len(rows)
    skew.days = sorted({*skew.days, *pc.unique(day_B).to_pylist()})
    mart.hold(set(pc.unique(day_B).to_pylist()))
    served = rows.select(["event_id", *KEYS]).append_column("position", pa.array(np.arange(len(rows))))
    found = mart.match(served)
    single = pc.and_(pc.equal(found["found"], 1), pc.invert(found["other"]))
    skew.left[SEVERAL] += pc.sum(pc.greater(found["found"], 1)).as_py() or 0
    skew.left[OTHER_KEY] += pc.sum(pc.and_(pc.equal(found["found"], 1), found["other"])).as_py() or 0
    _count_unknown(skew, mart, rows, day_B, found["position"].to_numpy())
    found = found.filter(single)
    for day in pc.unique(found["day"]).to_pylist():
        of_day = found.filter(pc.equal(found["day"], day))
        number_N = of_day["number"].to_numpy()
        ours = rows.take(of_day["position"])
        theirs = mart.table(day, tuple(names)).take(pa.array(number_N))
        skew.n_compared += len(ours)
        moved = pc.not_equal(ours["event_at"], theirs["event_at"].cast(pa.timestamp("us"), safe=False))
        skew.elsewhen += pc.sum(moved).as_py() or 0
        there = mart.served[day]
        skew.repeated += len(number_N) - int((~there[np.unique(number_N)]).sum())
        there[number_N] = True
        differ_N = np.zeros(len(ours), bool)
        event_ids = theirs["event_id"].combine_chunks()
        for name in names:
            of_both = (one[name].combine_chunks() for one in (ours, theirs))
            differ_N |= skew.features[name].add(event_ids, *of_both)
        skew.n_differ += int(differ_N.sum())


def _count_unknown(skew: Skew, mart: MartRows, rows: pa.Table, day_B: pa.ChunkedArray, position_N: np.ndarray) -> None:
    unknown_B = np.ones(len(rows), bool)
    unknown_B[position_N] = False
    has_day_B = pc.is_in(day_B, pa.array(mart.days, pa.date32())).to_numpy()
    has_event_B = pc.is_valid(rows["event_id"]).to_numpy()
    skew.left[NO_DAY] += int((unknown_B & ~has_day_B).sum())
    skew.left[NO_EVENT] += int((unknown_B & has_day_B & has_event_B).sum())
    skew.left[NO_KEY] += int((unknown_B & has_day_B & ~has_event_B).sum())


def _other_mart(contract: Contract, missing: list[str]) -> str:
    for folder in sorted(contract.folder.parent.glob("training_examples_v*")):
        try:
            has = {c.name for c in read_contract(contract.folder.parent, folder.name).columns}
        except TrainerError:
            continue
        if has.issuperset(missing):
            return f" {folder.name} has them all: --mart {folder.name}."
    return ""
