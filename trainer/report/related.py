"""What lies beside the runs: the ladder they are rungs of, what was served of them, the truth of a simulated log."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from trainer.base.errors import TrainerError
from trainer.base.fetching import fetch, look
from trainer.base.files import read_json
from trainer.metrics.metrics import ANY

SKEW = "skew.json"
_SKEW = ("dataset", "mart", "sentences", "definition", "allow", "passed", "features", "days")
_LADDER = ("dataset", "mart", "rungs", "bayes", "seeds", "test_rows", "users", "definition")


def runs_of(given: Path) -> list[Path]:
    """The runs in a ladder's folder, in the order of its rungs; else what is given.

    Raises: TrainerError where its ladder.json is damaged.
    """
    fetch(given / "ladder.json")
    if not (given / "ladder.json").is_file():
        return [given]
    rungs = _read_ladder(given / "ladder.json")["rungs"]
    return [given / run for rung in rungs for run in rung.get("runs", ())] or [given]


def find_ladder(given: Path | None, runs: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The ladder.json given, else the one beside or above the runs whose rows were theirs; None without.

    Raises: TrainerError where the file given is no ladder; one found by itself is then left out, since it may be
    another trainer's, and a fit must not end for that.
    """
    if given is not None:
        look(given)
        return _read_ladder(given / "ladder.json" if given.is_dir() else given)
    for run in runs:
        if not (run["folder"] / "DONE").exists():
            continue  # it is being written, so what ladder there is was made without it
        own = run["folder"].resolve()
        for folder in (own.parent, own.parent.parent):
            with suppress(TrainerError):
                ladder = _read_ladder(folder / "ladder.json")
                if ladder.get("content_hash") == run["lineage"]["content_hash"]:
                    return ladder
    return None


def _read_ladder(path: Path) -> dict[str, Any]:
    return _read(path, "ladder", _LADDER, "the ladder.json of `trainer ladder`")


def find_skew(given: Path | None, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What `trainer replay --served` found, each with its name: of the file given, else of each run that has one.

    Raises: TrainerError where a file isn't one of those.
    """
    found = {run["name"]: run["folder"] / SKEW for run in runs} if given is None else {given.name: given}
    expected = "the file that `trainer replay --served ... --output` writes"
    return [
        _read(path, "comparison of what was served", _SKEW, expected) | {"name": name}
        for name, path in found.items()
        if given is not None or path.exists()
    ]


def _read(path: Path, what: str, needed: tuple[str, ...], expected: str) -> dict[str, Any]:
    fetch(path)
    try:
        found: dict[str, Any] = read_json(path)
        missing = [key for key in needed if key not in found]
    except (OSError, ValueError, TypeError) as error:
        raise TrainerError(f"{path} can't be read ({error}). Expected {expected}.") from None
    if missing:
        raise TrainerError(f"{path} is no {what}: it lacks {', '.join(missing)}. Expected {expected}.")
    return found


def find_ceiling(given: Path | None, dataset: str) -> dict[tuple[str, str, str], float | None] | None:
    """The Bayes AUC on test by (user level, item level, scene), `all` for a margin; None where no file is.

    The file: splits.test.overall.auc, .scenes.<scene>.auc, .{user,item}_levels.<level>.auc, and .cells.
    """
    if given is not None:
        fetch(given)
    path = given or Path("data/raw") / dataset / "truth" / "bayes.json"
    if not path.exists():
        if given:
            raise TrainerError(f"No Bayes file {path}. Leave --bayes out to go without a ceiling.")
        return None
    try:
        test = read_json(path)["splits"]["test"]
        out = {(ANY, ANY, ANY): float(test["overall"]["auc"])}
        out |= {(ANY, ANY, scene): one["auc"] for scene, one in test["scenes"].items()}
        out |= {(level, ANY, ANY): one["auc"] for level, one in test.get("user_levels", {}).items()}
        out |= {(ANY, level, ANY): one["auc"] for level, one in test.get("item_levels", {}).items()}
        return out | {(c["user_level"], c["item_level"], c["scene"]): c["auc"] for c in test.get("cells", [])}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise TrainerError(
            f"{path}: expected the Bayes AUC by split, as `warehouse simulate` writes it. "
            "Write it again, or name another file with --bayes."
        ) from None
