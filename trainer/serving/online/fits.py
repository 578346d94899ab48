"""Whether a run and a state belong together: the same mart, columns, vars and SQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer.base.errors import TrainerError
from trainer.base.files import read_json
from trainer.serving.online.state import Settings

# Vars that decide which rows train, and nothing else.
_OF_SPLITS = ("val_from", "test_from", "protocol", "split_salt", "held_out_share")


def check_fits(run: Path, scenes: tuple[str, ...], state: Settings) -> None:
    """scenes: those that the run knows.

    Raises: TrainerError naming what differs.
    """
    came_from = read_json(run / "lineage.json")
    if differ := list(_differences(came_from, scenes, state)):
        raise TrainerError(
            f"{run} doesn't fit the state: {'; '.join(differ)}. Expected a run that was fitted on the mart that the "
            "state was made for. Fit it anew on that mart, or build a state for the run's mart in another place: "
            "`trainer state build`."
        )


def _differences(came_from: dict[str, Any], scenes: tuple[str, ...], state: Settings) -> Iterator[str]:
    for name, its in (("mart", state.mart), ("dataset", state.dataset)):
        if came_from[name] != its:
            yield f"the run's {name} is {came_from[name]}, the state's {its}"
    if scenes != state.scenes:
        yield f"the run's scenes are {', '.join(scenes)}, the state's {', '.join(state.scenes)}"
    roles = {c["name"]: c["role"] for c in came_from["columns"]}
    yield from _compared("column", roles, {c["name"]: c["role"] for c in state.columns})
    ours, theirs = (
        {name: value for name, value in of.items() if name not in (*_OF_SPLITS, "scenes")}
        for of in (came_from["variables"], state.variables)
    )
    yield from _compared("var", ours, theirs)
    if state.checksums:  # a state of an earlier version has none
        built = (came_from.get("dbt") or {}).get("node_checksums") or {}
        changed = [name for name in sorted({*built, *state.checksums}) if built.get(name) != state.checksums.get(name)]
        if changed:
            yield f"the SQL of {', '.join(name.split('.', 2)[-1] for name in changed)} has changed between them"


def _compared(what: str, run: dict[str, Any], state: dict[str, Any]) -> Iterator[str]:
    for name in (*run, *(name for name in state if name not in run)):
        if name not in state:
            yield f"{what} {name} is in the run's mart, not in the state's"
        elif name not in run:
            yield f"{what} {name} is in the state's mart, not in the run's"
        elif run[name] != state[name]:
            yield f"{what} {name} is {run[name]!r:.80} in the run's mart, {state[name]!r:.80} in the state's"
