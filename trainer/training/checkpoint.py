"""A fit that was killed goes on from its last checkpoint, to the same bytes as one that wasn't.

A checkpoint holds the weights, the best ones so far, both optimisers and what the loop has counted. Random choices need
none: they come from the seed and the step (loop.py). It is written atomically.
"""

from __future__ import annotations

import io
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from storage import atomic
from trainer.base.errors import TrainerError
from trainer.base.team import ALONE, Team

SECONDS = 60.0  # between checkpoints: what a kill can cost


class CheckpointError(TrainerError):
    """The checkpoint is damaged, or of another fit."""


@dataclass
class Checkpoint:
    """One file. fingerprint: of all that decides what a fit comes to; another one's checkpoint is refused."""

    path: Path
    fingerprint: str
    resume: bool = False
    seconds: float = SECONDS
    _saved_at: float = field(default_factory=time.monotonic, repr=False)

    def load(self, team: Team = ALONE) -> dict[str, Any] | None:
        """The state to go on from; None where the fit starts afresh. Raises: CheckpointError.

        team: all take the first process's file; the others may not see its disk.
        """
        found = self.path.read_bytes() if team.leads and self.resume and self.path.exists() else None
        found = team.agreed(found)
        if found is None:
            return None
        here = {"cuda:0": f"cuda:{torch.cuda.current_device()}"} if torch.cuda.is_initialized() else None
        try:
            # Tensors and plain values; runs nothing of the file's.
            saved = torch.load(io.BytesIO(found), here, weights_only=True)
            fingerprint, state = saved["fingerprint"], saved["state"]
        except Exception as error:  # an unpickler meets damaged bytes with whatever error they lead it to
            raise CheckpointError(
                f"{self.path} can't be read as a checkpoint: {' '.join(str(error).split())[:200]}. "
                "Remove it, or start afresh without --resume."
            ) from None
        if fingerprint != self.fingerprint:
            raise CheckpointError(
                f"{self.path} is of another fit: the stage, the seed, the data, the vectors, --amp, the number of "
                "processes, the code or the versions differ. Go on with what it was started with, or leave --resume "
                "out."
            )
        return state

    def due(self) -> bool:
        return time.monotonic() - self._saved_at >= self.seconds

    def save(self, state: dict[str, Any]) -> None:
        with atomic.file(self.path) as aside, aside.open("wb") as file:
            try:
                torch.save({"fingerprint": self.fingerprint, "state": state}, file)
            except RuntimeError as error:  # torch's writer hides what the file system said
                raise CheckpointError(
                    f"Can't write the checkpoint {self.path}: {error.__context__ or error}. Make room or mend the "
                    "folder, then go on with --resume."
                ) from None
        self._saved_at = time.monotonic()

    def remove(self) -> None:
        """Forget it, and what a killed process left half-written beside it."""
        for path in (self.path, atomic.partial(self.path)):
            path.unlink(missing_ok=True)
        atomic.remove_leftovers(self.path)
