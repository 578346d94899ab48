"""The true click probabilities of a simulated log, for the rows of a ladder: what no honest model can beat."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trainer.base.errors import TrainerError

FILE = "true_probabilities.parquet"
PARTS = "true_probabilities_part*.parquet"  # of a log that was simulated in parts


def truth_of(dataset: str, given: Path | None) -> Path | None:
    """The truth's file, or the folder of its parts, for a dataset; None where there is none.

    Raises: TrainerError when `given` isn't there.
    """
    path = given or Path("data/raw") / dataset / "truth" / FILE
    if path.exists():
        return path
    if not given and any(path.parent.glob(PARTS)):
        return path.parent
    if given:
        raise TrainerError(f"No file {path} with true probabilities. Leave --truth out to go without a ceiling.")
    return None


def true_probabilities(path: Path, event_ids: pa.Array) -> np.ndarray | None:
    """The true probability of each event; None where some are lacking, so that it is of another log.

    path: a file, or the `truth` folder of a log in parts. Read in batches: memory is that of the events asked for.
    Shapes: (B,) -> (B,), float64.
    Raises: TrainerError for a file without the two columns.
    """
    out = np.full(len(event_ids), np.nan)
    try:
        for one in sorted(path.glob(PARTS)) if path.is_dir() else [path]:
            with pq.ParquetFile(one) as file:
                for batch in file.iter_batches(1 << 18, columns=["event_id", "true_probability"]):
                    at = pc.index_in(batch["event_id"].cast(event_ids.type), value_set=event_ids)
                    found = at.is_valid().to_numpy(zero_copy_only=False)
                    out[at.drop_null().to_numpy()] = batch["true_probability"].to_numpy(zero_copy_only=False)[found]
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise TrainerError(
            f"{path}: expected columns event_id and true_probability, as `warehouse simulate` writes them ({error})."
        ) from None
    return None if np.isnan(out).any() else out
