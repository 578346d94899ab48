"""The rungs of a ladder: stages in order, what each is compared with, and which of their runs are still good."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.installed import version_of
from storage.places import recorded
from trainer.base.code_hash import code_hash
from trainer.base.errors import TrainerError, nearest
from trainer.base.files import read_json
from trainer.config import STAGES, Stage, load_stage, parse_stage
from trainer.inputs.vectors import vectors_hashes
from trainer.run.integrity import check_finished
from trainer.training.placebo import as_placebo, label, reads_texts

FLOOR = "00_floor"  # the first of the trainer's own stages by name, below the baseline
BASELINE = "00_gbdt"
PACKAGES = ("torch", "numpy", "lightgbm", "scikit-learn")  # other versions of these may give other numbers


@dataclass(frozen=True)
class Rung:
    """One line of the table.

    previous: the rung it is compared with, None for the first. placebo_of: the rung whose texts are shuffled here.
    """

    name: str
    stage: Stage
    previous: str | None
    placebo_of: str | None = None

    def run(self, folder: Path, seed: int) -> Path:
        return folder / (f"{self.placebo_of}.texts_shuffled" if self.placebo_of else self.name) / f"seed_{seed}"

    def with_seed(self, seed: int, threads: int) -> Stage:
        return parse_stage(self.stage.model_dump() | {"seed": seed, "threads": threads}, self.name)


def read_rungs(chosen: list[str] | None, *, placebo: bool = False) -> list[Rung]:
    """The rungs for stages by path or name; None takes all of the trainer's own.

    A rung is compared with the stage that its `compares_to` names, else with the one before it. Where the named one
    isn't among the chosen, the one before takes its place. placebo: after each stage that reads texts, the same with
    its texts shuffled, held against the same rung as the real one.
    Raises: TrainerError for an unknown stage, or for two with one name.
    """
    stages = [load_stage(s) for s in chosen or sorted(p.stem for p in STAGES.glob("*.yaml"))]
    names = [s.stage for s in stages]
    for name in names:
        if names.count(name) > 1:
            raise TrainerError(
                f"Two stages are named {name}. A ladder needs a name for each: set `stage` in their YAML."
            )
    out: list[Rung] = []
    for k, stage in enumerate(stages):
        named = stage.compares_to
        if named is not None and named not in names[:k]:
            known = sorted(p.stem for p in STAGES.glob("*.yaml"))
            if named not in known and named not in names:
                raise TrainerError(f"{stage.stage}: compares_to names {named}, no stage{nearest(named, known)}.")
            named = None
        previous = named or (names[k - 1] if k else None)
        out.append(Rung(stage.stage, stage, previous))
        if placebo and reads_texts(stage):
            shuffled = as_placebo(stage)
            out.append(Rung(label(shuffled), shuffled, previous, placebo_of=stage.stage))
    if placebo and not any(rung.placebo_of for rung in out):
        raise TrainerError("--placebo shuffles texts, but none of the stages reads any. Take a text stage in.")
    return out


def why_redo(run: Path, stage: Stage, content_hash: str, text_ids: Sequence[int] = ()) -> str | None:
    """Why a rung's run has to be made (again); None where the finished one is as good as a new one.

    text_ids: those of the mart; of the vectors, what stands for them counts. The number of threads is no part of it: a
    run made with another is kept.
    """
    if not (run / "DONE").exists():
        return "not there yet"
    try:
        check_finished(run)
        lineage: dict[str, Any] = read_json(run / "lineage.json")
        saved = load_stage(run / "config.yaml")
    except (OSError, ValueError, TrainerError):
        return "its files can't be read"
    if _without_threads(saved) != _without_threads(stage):
        return "the stage has changed"
    if lineage.get("content_hash") != content_hash:
        return "the mart's rows have changed"
    if lineage.get("code_hash") != code_hash():
        return "the trainer's code has changed"
    hashes: dict[str, str] = lineage.get("vectors_hashes", {})
    if vectors_hashes(recorded(lineage["vectors"]), hashes, text_ids if hashes else ()) != hashes:
        return "the vectors have changed"
    changed = [p for p in PACKAGES if lineage.get("versions", {}).get(p) != version_of(p)]
    return f"another version of {', '.join(changed)}" if changed else None


def _without_threads(stage: Stage) -> str:
    return json.dumps(stage.model_dump(mode="json") | {"threads": 0}, sort_keys=True)
