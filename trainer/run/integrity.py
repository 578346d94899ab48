"""DONE, the last file of a run: that a fit came to its end, and the sha256 of all that it left.

What reads a run looks here first. So a run that was damaged, cut short or changed by hand is refused, instead of giving
other numbers without a word. It is no signature: who may write the run may write its DONE too.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from trainer.base.errors import TrainerError
from trainer.base.fetching import fetch
from trainer.base.files import write_json
from trainer.base.readable import readable

DONE = "DONE"
# For eyes alone: nothing reads it back.
_UNCHECKED = ("report.html", DONE)
# Read where they are there, so one that a fit didn't write must not be.
_OPTIONAL = ("calibration.json", "texts.json")


def seal(run: Path) -> None:
    """Write DONE."""
    write_json(run / DONE, {"sha256": {name: _sha256(run / name) for name in _files(run) if name not in _UNCHECKED}})


def check_finished(run: Path) -> None:
    """Raise TrainerError unless `run` is a finished run, and holds what its fit wrote.

    A DONE that is empty is an older trainer's: then there are no hashes to compare with. Links out of the run are
    refused either way.
    """
    fetch(run)
    again = "Restore it from a copy, or train it again with `trainer fit`."
    if not (run / DONE).exists():
        what = "isn't a finished run" if run.exists() else "doesn't exist"
        raise TrainerError(
            f"{run} {what}: expected a folder that `trainer fit --run {run}` wrote to its end (with DONE)."
        )
    found = set(_files(run))
    for name in sorted(found):
        if not (run / name).resolve().is_relative_to(run.resolve()):
            raise TrainerError(
                f"{run / name} is a link to {(run / name).resolve()}, outside the run; a run is read from its own "
                "folder alone. Put the file itself there."
            )
    with readable(run):
        text = (run / DONE).read_text(encoding="utf-8")
        expected: dict[str, str] = json.loads(text)["sha256"] if text else {}
        missing = sorted(expected.keys() - found)
        changed = sorted(name for name in expected.keys() & found if _sha256(run / name) != expected[name])
    if not text:
        return
    if missing:
        raise TrainerError(f"{run} lacks {', '.join(missing[:5])}, which its fit wrote. {again}")
    for name in sorted(found.intersection(_OPTIONAL) - expected.keys()):
        raise TrainerError(f"{run / name} wasn't written by the fit of this run. Remove it. {again}")
    if changed:
        raise TrainerError(f"{run / changed[0]} isn't what the fit of this run wrote: its sha256 differs. {again}")


def _files(run: Path) -> list[str]:
    """The files of a run by their paths below it, in order; links to folders are listed and not followed."""
    return sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_symlink() or not path.is_dir())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
