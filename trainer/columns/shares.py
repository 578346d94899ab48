"""A mart that several processes read: each its own days, whole, so that a day's rows stay together and checked."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trainer.base.errors import TrainerError
from trainer.base.team import ALONE, Team
from trainer.columns.build import content_hash, open_columns
from trainer.columns.rows import as_damage_error
from trainer.columns.store import Columns, evenly, evenly_spaced
from trainer.contract.schema import HELD_OUT, SPLITS, Contract

Days = dict[str, np.ndarray]  # partition -> its rows by split, in the order of SPLITS; int64


@dataclass(frozen=True)
class Share:
    """What this process reads. days: all of the mart's; own: this process's. Both are empty for a team of one."""

    team: Team = ALONE
    days: Days = field(default_factory=dict)
    own: tuple[str, ...] = ()

    def spread(self, columns: Columns, split: str, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Of `most` rows of a split, evenly spread over the mart, those that this process has, and which they are.

        Shapes: -> positions in the columns (B,), places among the chosen rows (B,), both ascending.
        """
        rows = columns.rows(split)
        if self.team.size == 1:
            chosen = evenly_spaced(rows, most)
            return chosen, np.arange(len(chosen))
        n_D = np.array([of_day[SPLITS.index(split)] for of_day in self.days.values()])
        begin = dict(zip(self.days, np.cumsum(n_D) - n_D, strict=True))
        n = dict(zip(self.days, n_D, strict=True))
        place_N = np.concatenate([np.arange(begin[day], begin[day] + n[day]) for day in self.own])
        wanted = evenly(int(n_D.sum()), most)
        return rows[np.isin(place_N, wanted)], np.flatnonzero(np.isin(wanted, place_N))


WHOLE = Share()


def open_share(contract: Contract, team: Team) -> tuple[Contract, Columns, Share]:
    """The columns of this process's days; their content_hash, and the contract's data_hash, are those of all days.

    Raises: TrainerError as `open_columns`, in every process, and where there are fewer days than processes.
    """
    names = list(files_of(contract))
    counted = team.gather(team.together(lambda: _count(contract, names[team.rank :: team.size])))
    found = {name: rows for part in counted for name, rows in part.items()}
    days = {name: found[name] for name in names}
    share = Share(team, days, tuple(shares(days, team.size)[team.rank]))

    def opened() -> tuple[Columns, dict[str, bytes]]:
        own = only(contract, share.own)
        return open_columns(own), own.file_hashes

    columns, hashes = team.together(opened)
    contract = replace(contract)
    parts = team.gather((columns.days, hashes))
    vars(contract)["file_hashes"] = {path: of_file for _, part in parts for path, of_file in part.items()}
    of_all = content_hash(contract, {day: of_day for part, _ in parts for day, of_day in part.items()})
    return contract, replace(columns, content_hash=of_all), share


def open_held_out(contract: Contract, columns: Columns, share: Share) -> Columns:
    """The columns of all days with rows of validation or test; of all days, where there are none.

    columns: those of the share, whose content_hash they take.
    """
    at = [SPLITS.index(split) for split in HELD_OUT]
    days = [name for name, rows in share.days.items() if rows[at].sum()] or list(share.days)
    return replace(open_columns(only(contract, tuple(days))), content_hash=columns.content_hash)


def files_of(contract: Contract) -> dict[str, list[Path]]:
    """The files of each day, by the name of its partition, in order."""
    by_day = groupby(contract.files, key=lambda path: path.relative_to(contract.folder).parts[0])
    return {name: list(files) for name, files in by_day}


def _count(contract: Contract, names: list[str]) -> Days:
    """The rows of these days. Reads one column."""
    files, split, out = files_of(contract), contract.having("split")[0].name, Days()
    for name in names:
        out[name] = np.zeros(len(SPLITS), np.int64)
        for path in files[name]:
            with as_damage_error(name), pq.ParquetFile(path) as parquet:
                at = pc.index_in(parquet.read(columns=[split], use_threads=False)[split], pa.array(SPLITS))
            out[name] += np.bincount(at.drop_null().to_numpy(), minlength=len(SPLITS))
    return out


def shares(days: Days, size: int) -> list[list[str]]:
    """The days of each process: the largest first, each to the process with the fewest train rows so far.

    Days without train rows go by all their rows. So the shares are as even as the days allow.
    Raises: TrainerError where there are fewer days than processes.
    """
    if len(days) < size:
        raise TrainerError(
            f"The mart has {len(days)} days, and this fit has {size} processes: expected at least one day for each, "
            f"since a process reads whole days. Start {len(days)} processes or fewer."
        )
    train = {name: int(rows[0]) for name, rows in days.items()}
    out: list[list[str]] = [[] for _ in range(size)]
    n_train, n_rows = np.zeros(size, np.int64), np.zeros(size, np.int64)
    for name in sorted(days, key=lambda name: (-train[name], -int(days[name].sum()), name)):
        first, then = (n_train, n_rows) if train[name] else (n_rows, n_train)
        r = int(np.lexsort((np.arange(size), then, first))[0])
        out[r].append(name)
        n_train[r] += train[name]
        n_rows[r] += days[name].sum()
    return [sorted(own) for own in out]


def only(contract: Contract, days: tuple[str, ...]) -> Contract:
    """The contract of these days alone."""
    files = files_of(contract)
    own = tuple(path for name in days for path in files[name])
    n_rows = sum(pq.read_metadata(path).num_rows for path in own)
    return replace(contract, files=own, n_rows=n_rows)
