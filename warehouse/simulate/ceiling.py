"""How much of the Bayes AUC a model could know: the AUC of the true probabilities without effects that no row reveals.

The Bayes AUC is that of a judge who sees every hidden effect. A model sees rows. What a user makes of an item that they
never met, and a user's mood of the day, stand in no row before; so the log is drawn again, its probabilities are taken
apart, and effects are left out one after another. What is left is still known exactly, where a model has to learn it.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from .bayes import SPLITS, Truth, score
from .events import draw, in_steps, pair_normal, plan, solve_intercepts
from .parameters import MODEL_VERSION, N_DAYS, N_SCENES, PROBABILITY_STEPS, SCENES, Parameters
from .request import Request, SimulationError
from .truth import made_by, read_truth
from .world import make_world

# Left out one after another: each line lacks what the lines above it lack.
LEFT_OUT = (
    ("nothing: the Bayes AUC", "nothing"),
    ("the user's mood of the day", "mood"),
    ("the liking of one item by one user, where they did not meet on an earlier day", "new_pair"),
    ("that liking where they did", "known_pair"),
    ("the match of the user's taste and the item's topics", "match"),
)


def ceiling_report(out: Path, on_rows: Callable[[int], None] = lambda rows: None) -> dict:
    """AUCs of the log at `out`, by split: for each line of LEFT_OUT overall and by scene.

    Raises: SimulationError if there is no log, or these versions would not draw the same one.
    """
    truth = read_truth(out)
    wrote = made_by(out)
    p, request = Parameters(), Request(**wrote["request"])
    drawn = _drawn_again(request, p, on_rows)
    same = wrote["model_version"] == MODEL_VERSION and np.array_equal(drawn["millionths"], truth.millionths)
    if not same:
        raise SimulationError(
            f"{out} was drawn from other parameters or by other versions of this code and NumPy ({wrote['versions']}); "
            "make it again with --force to take its truth apart"
        )
    met = _met_before(truth)
    z = np.log(truth.millionths / (PROBABILITY_STEPS - truth.millionths))
    effects = {
        "nothing": 0.0,
        "mood": drawn["mood"],
        "match": drawn["match"],
        "known_pair": np.where(met, drawn["pair"], 0),
        "new_pair": np.where(met, 0, drawn["pair"]),
    }
    report: dict = {"left_out": []}
    for title, name in LEFT_OUT:
        z = z - effects[name]
        report["left_out"].append({"title": title, "splits": _scored(z, truth)})
    return report


def _drawn_again(request: Request, p: Parameters, on_rows: Callable[[int], None]) -> dict[str, np.ndarray]:
    """Every row's probability in steps of 1e-6, and the effects that are left out, in logits. Shapes: (n,) each."""
    world = make_world(request.seed, request.events, p)
    intercepts = solve_intercepts(world)
    out = {name: np.empty(request.events, np.float32) for name in ("mood", "pair", "match")}
    out["millionths"] = np.empty(request.events, np.int32)
    at = 0
    for block in plan(request.events, request.parts):
        rows, _ = draw(world, intercepts, block)
        here = slice(at, at + block.n_rows)
        out["millionths"][here] = rows.millionths
        out["mood"][here] = world.users.mood[rows.user, block.day]
        out["pair"][here] = np.array(p.user_item)[rows.scene] * pair_normal(world.pair_key, rows.user, rows.item)
        out["match"][here] = np.array(p.taste)[rows.scene] * rows.match
        at += block.n_rows
        on_rows(block.n_rows)
    return out


def _met_before(truth: Truth) -> np.ndarray:
    """Whether a row's user was shown its item on an earlier day. Shapes: -> (n,), bool."""
    pair = truth.user.astype(np.int64) * (int(truth.item.max()) + 1) + truth.item
    _, place = np.unique(pair, return_inverse=True)
    first = np.full(int(place.max()) + 1, N_DAYS, np.int8)
    np.minimum.at(first, place, truth.day)
    return first[place] < truth.day


def _scored(z: np.ndarray, truth: Truth) -> dict:
    every, splits = in_steps(z), {}
    for name, (first, last) in SPLITS.items():
        inside = (truth.day >= first) & (truth.day < last)
        steps, label, scene = every[inside], truth.label[inside], truth.scene[inside]
        scenes = {SCENES[s]: score(steps[scene == s], label[scene == s])["auc"] for s in range(N_SCENES)}
        splits[name] = {"auc": score(steps, label)["auc"], "scenes": scenes}
    return splits


def markdown(report: dict, split: str = "test") -> str:
    """The table of one split."""
    lines = [f"| left out, one after another ({split}) | AUC | " + " | ".join(f"scene {s}" for s in SCENES) + " |"]
    lines.append("|---|---|" + "---|" * N_SCENES)
    for line in report["left_out"]:
        found = line["splits"][split]
        cells = ["too few" if auc is None else f"{auc:.4f}" for auc in (found["auc"], *found["scenes"].values())]
        lines.append(f"| {line['title']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
