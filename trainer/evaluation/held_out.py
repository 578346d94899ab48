"""The held-out rows of finished runs, from predictions.parquet alone, so that runs can be compared without a mart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trainer.base.errors import TrainerError
from trainer.contract.schema import LEVELS
from trainer.metrics.bootstrap import Rows
from trainer.metrics.metrics import dense_ids

_COLUMNS = ("event_id", "user_id", "item_id", "scene", "user_level", "item_level", "split", "label", "probability")


@dataclass(frozen=True)
class HeldOut:
    """One split of one run, or both held-out ones, in the order of the mart's columns. Legend: B rows.

    scene_B, user_level_B, item_level_B: strings; levels None where the mart has no such column
    user_B: 0 .. users-1, in the order of the user ids' text: the same users get the same numbers in every run; so items
    """

    name: str
    split: str
    event_ids: pa.Array
    label_B: np.ndarray
    probability_B: np.ndarray
    user_B: np.ndarray
    users: int
    item_B: np.ndarray
    items: int
    scene_B: np.ndarray
    level_B: dict[str, np.ndarray]
    split_B: np.ndarray

    @property
    def rows(self) -> Rows:
        return Rows(self.label_B, self.probability_B, self.user_B, self.item_B)

    def parts(self) -> list[tuple[str, str, np.ndarray]]:
        """(kind, name, which rows): everything, each scene, each level, as they occur."""
        out = [("all", "all", np.ones(len(self.label_B), bool))]
        out += [("scene", str(s), self.scene_B == s) for s in sorted(set(self.scene_B))]
        for group, level_B in self.level_B.items():
            out += [(f"{group} level", level, level_B == level) for level in LEVELS if (level_B == level).any()]
        return out


def read_held_out(run: Path, split: str | None = "test") -> HeldOut:
    """split: None for validation and test together.

    Raises: TrainerError when predictions.parquet is damaged, or older than these columns."""
    path = run / "predictions.parquet"
    try:
        table = pq.read_table(path, filters=None if split is None else pc.field("split") == split)
    except (OSError, pa.ArrowException) as error:
        raise TrainerError(f"{path} can't be read ({error}). Train the run again with `trainer fit`.") from None
    for name in _COLUMNS:
        if name not in table.column_names:
            raise TrainerError(
                f"{path} has no column {name}: an older trainer wrote it. Train the run again with `trainer fit`."
            )
    user_B, users = dense_ids(_strings(table["user_id"]))
    item_B, items = dense_ids(_strings(table["item_id"]))
    levels = {g: _strings(table[f"{g}_level"]) for g in ("user", "item") if table[f"{g}_level"].null_count < len(table)}
    return HeldOut(
        run.resolve().name,
        split or "held-out",
        table["event_id"].combine_chunks(),
        table["label"].to_numpy().astype(np.uint8),
        table["probability"].to_numpy(),
        user_B,
        users,
        item_B,
        items,
        _strings(table["scene"]),
        levels,
        _strings(table["split"]),
    )


def _strings(column: pa.ChunkedArray) -> np.ndarray:
    return pc.fill_null(column.cast(pa.string()), "").to_numpy(zero_copy_only=False).astype(str)


def check_same_rows(a: HeldOut, b: HeldOut) -> None:
    """Raises: TrainerError unless both hold the same events with the same labels, in the same order."""
    if a.event_ids.equals(b.event_ids):
        if not np.array_equal(a.label_B, b.label_B):
            n = int((a.label_B != b.label_B).sum())
            raise TrainerError(
                f"{a.name} and {b.name} hold the same {a.split} rows, but {n:,} labels differ. They were trained on "
                "different logs: train both on one mart."
            )
        return
    common = pc.sum(pc.is_in(a.event_ids, value_set=b.event_ids)).as_py() or 0
    raise TrainerError(
        f"{a.name} and {b.name} were held to different {a.split} rows: {len(a.event_ids):,} and {len(b.event_ids):,}, "
        f"{common:,} in common. A difference between them would say nothing: train both on marts with the same split."
    )
