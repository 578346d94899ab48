"""ladder.lock: which comparisons a ladder is about, written down before any rung's test rows are measured.

Intervals are simultaneous over a family of comparisons; that is worth nothing where the family is chosen by looking at
test. So the first ladder in a folder declares stages, seeds and comparisons for the rows it has, and what is compared
later without being declared is said to be so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from storage import atomic
from trainer.base.errors import TrainerError
from trainer.base.files import read_json
from trainer.ladder.rungs import BASELINE, Rung

FILE = "ladder.lock"


@dataclass(frozen=True)
class Lock:
    """What was declared. stages: each rung's name and the hash of what its YAML says, seed and threads aside.

    comparisons: (rung, other), of which the difference is rung minus other. read_before: runs that were finished in the
    folder before the declaration, so that their test metrics could be known. replaces: the data hashes of earlier
    declarations for other rows. smallest_effect: power.py's, from before any rung was fitted.
    """

    content_hash: str
    seeds: list[int]
    stages: dict[str, str]
    comparisons: list[tuple[str, str]]
    declared_at: str
    read_before: list[str] = field(default_factory=list)
    replaces: list[str] = field(default_factory=list)
    smallest_effect: dict[str, Any] | None = None

    def why_undeclared(self, one: Rung, other: Rung, seeds: Sequence[int]) -> str | None:
        """Why a comparison isn't one of those declared; None where it is."""
        if list(seeds) != self.seeds:
            return f"seeds {', '.join(map(str, self.seeds))} were declared"
        for rung in (one, other):
            if rung.name not in self.stages:
                return f"{rung.name} wasn't declared"
            if self.stages[rung.name] != stage_hash(rung):
                return f"{rung.name} was declared with another stage file"
        return None if (one.name, other.name) in self.comparisons else "the comparison wasn't declared"


def stage_hash(rung: Rung) -> str:
    said = rung.stage.model_dump(mode="json") | {"seed": 0, "threads": 0}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def comparisons_of(rungs: Sequence[Rung]) -> list[tuple[str, str]]:
    """Every difference of the main table, each once: a text rung against its placebo, each rung against the one before
    it, and each against the baseline."""
    names = [rung.name for rung in rungs]
    placebo = {rung.placebo_of: rung.name for rung in rungs if rung.placebo_of}
    out: list[tuple[str, str]] = []
    for k, rung in enumerate(rungs):
        others = (placebo.get(rung.name), rung.previous, BASELINE if BASELINE in names[:k] else None)
        out += [(rung.name, other) for other in others if other in names]
    return list(dict.fromkeys(out))


def read_lock(folder: Path) -> Lock | None:
    """None where nothing was declared. Raises: TrainerError for a file that is none of ours."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        raw = read_json(path)
        return Lock(**raw | {"comparisons": [(one, other) for one, other in raw["comparisons"]]})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise TrainerError(
            f"{path} can't be read as what an earlier ladder declared ({error}). Put back the file as `trainer ladder` "
            "wrote it; without it, name another --output, where a new ladder declares anew."
        ) from None


def declare(
    folder: Path,
    rungs: Sequence[Rung],
    seeds: Sequence[int],
    content_hash: str,
    smallest_effect: Callable[[], dict[str, Any]] | None = None,
) -> Lock:
    """The declaration for these rows: the one in the folder, or a new one, which is written before it is returned.

    smallest_effect: called only for a new one, since it takes long.
    """
    earlier = read_lock(folder)
    if earlier is not None and earlier.content_hash == content_hash:
        return earlier
    lock = Lock(
        content_hash,
        list(seeds),
        {rung.name: stage_hash(rung) for rung in rungs},
        comparisons_of(rungs),
        datetime.now(UTC).isoformat(timespec="seconds"),
        sorted(done.parent.relative_to(folder).as_posix() for done in folder.glob("*/seed_*/DONE")),
        [*earlier.replaces, earlier.content_hash] if earlier else [],
        smallest_effect() if smallest_effect else None,
    )
    folder.mkdir(parents=True, exist_ok=True)
    atomic.text(folder / FILE, json.dumps(asdict(lock), indent=2, ensure_ascii=False) + "\n")
    return lock
