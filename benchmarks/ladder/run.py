"""How often a ladder claims what isn't there, and how often it finds what is: on simulated logs, with cheap stages.

    python benchmarks/ladder/run.py [--small 500] [--large 20]

A ladder here has the trainer's own intervals (trainer/metrics/simultaneous.py, bootstrap.py), and stages that are
linear models fitted in milliseconds. A log: users and items with normal effects (of the items' a part lies in vectors,
their "texts"), a taste of each user for two hidden traits of items, and labels by those log odds; users come often or
seldom, items too. Each of the seeds of a stage is fitted on another random half of the train rows, by ridge regression
on the smoothed rates of user and item there, and on the vectors that the stage reads.

small: 300 users, 250 items, 3,000 test rows, each ladder on a log of its own. Among its ten comparisons five have no
difference: two stages whose vectors mean nothing against their placebos (one of items, one of users), those placebos
against the same shuffled once more, and a stage against itself with other seeds. A false claim is a verdict for one of
the five.

large: 1,800 users, 3,500 items, 40,000 test rows. Four stages read vectors that hold a little, more, and most of an
item's effect; the claim is each one's gain over its own placebo. The true gain is the mean over all ladders.

Goes on where an earlier call stopped: a ladder is one line of --out. The tables are printed at the end.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainer.metrics import bootstrap, metrics
from trainer.metrics.simultaneous import Clusters, Comparison, Scores, critical_value, interval_of

SEEDS, RESAMPLES, VECTOR = 3, 200, 8
SHARES = (0.05, 0.15, 0.25, 0.5)  # of the variance of an item's effect, in the vectors of each stage of the large log
PRIOR, RIDGE = 20, 10.0


@dataclass(frozen=True)
class Log:
    """Train rows, then test rows. vectors: name -> (side, one vector for each user or item)."""

    user_B: np.ndarray
    item_B: np.ndarray
    label_B: np.ndarray
    n_train: int
    users: int
    items: int
    vectors: dict[str, tuple[str, np.ndarray]]


def make_log(rng: np.random.Generator, users: int, items: int, n_test: int, shares: tuple[float, ...]) -> Log:
    n = 3 * n_test
    often = (rng.lognormal(0, 1, users), rng.lognormal(0, 1.2, items))
    user_B, item_B = (rng.choice(len(w), n, p=w / w.sum()) for w in often)
    vectors = {f"meaning {share:g}": ("item", rng.normal(size=(items, VECTOR))) for share in shares}
    vectors |= {"item noise": ("item", rng.normal(size=(items, VECTOR)))}
    vectors |= {"user noise": ("user", rng.normal(size=(users, VECTOR)))}
    item_I = math.sqrt(max(0.0, 1 - sum(shares))) * rng.normal(size=items)
    for share in shares:
        item_I += math.sqrt(share / VECTOR) * vectors[f"meaning {share:g}"][1] @ rng.normal(size=VECTOR)
    taste_B = (rng.normal(size=(users, 2))[user_B] * rng.normal(size=(items, 2))[item_B]).sum(1)
    odds_B = 0.9 * rng.normal(size=users)[user_B] + 0.9 * item_I[item_B] + 0.4 * taste_B
    label_B = (rng.random(n) < 1 / (1 + np.exp(-odds_B))).astype(np.uint8)
    return Log(user_B, item_B, label_B, n - n_test, users, items, vectors)


def fitted(log: Log, vectors: tuple[str, np.ndarray] | None, rng: np.random.Generator) -> np.ndarray:
    """A linear model's scores of the test rows, fitted on a random half of the train rows. -> (B,)"""
    half = rng.permutation(log.n_train)[: log.n_train // 2]
    y = log.label_B[half].astype(float)
    parts = [np.ones(len(log.label_B))]
    for code_B, n in ((log.user_B, log.users), (log.item_B, log.items)):
        shown, clicked = (np.bincount(code_B[half], w, minlength=n) for w in (np.ones(len(half)), y))
        rate_N = (clicked + PRIOR * y.mean()) / (shown + PRIOR)
        rate_B = rate_N[code_B]
        # A train row's own label isn't in its rate.
        rate_B[half] = (clicked[code_B[half]] - y + PRIOR * y.mean()) / (shown[code_B[half]] - 1 + PRIOR)
        parts.append(np.log(rate_B / (1 - rate_B)))
    x_BX = np.stack(parts, 1)
    if vectors is not None:
        side, vector_NV = vectors
        x_BX = np.concatenate([x_BX, vector_NV[log.user_B if side == "user" else log.item_B]], 1)
    x = x_BX[half]
    weights = np.linalg.solve(x.T @ x + RIDGE * np.diag([0, 0, 0] + [1] * (x.shape[1] - 3)), x.T @ y)
    return x_BX[log.n_train :] @ weights


def scores(
    log: Log,
    name: str,
    vectors: tuple[str, np.ndarray] | None,
    shuffled: bool,
    key: list[int],
    weights: bootstrap.Weights,
) -> Scores:
    """A stage over its seeds; a placebo shuffles its vectors anew with each seed, as the trainer's does."""
    test = slice(log.n_train, None)
    points, samples, influences = [], [], []
    for seed in range(SEEDS):
        rng = np.random.default_rng([*key, seed])
        own = vectors
        if shuffled and vectors is not None:
            own = (vectors[0], rng.permutation(vectors[1]))
        rows = bootstrap.Rows(log.label_B[test], fitted(log, own, rng), log.user_B[test], log.item_B[test])
        points.append(metrics.auc(rows.label_B, rows.probability_B))
        samples.append(bootstrap.auc(rows, weights))
        influences.append(metrics.auc_influence(rows.label_B, rows.probability_B))
    return Scores(name, np.array(points), np.array(samples), np.mean(influences, axis=0))


def small_ladder(k: int) -> dict[str, Any]:
    log = make_log(np.random.default_rng([1, k]), 300, 250, 3_000, (0.05,))
    plan = {
        "floor": (None, False),
        "item noise": ("item noise", False),
        "item noise, shuffled": ("item noise", True),
        "item noise, shuffled again": ("item noise", True),
        "item noise, other seeds": ("item noise", False),
        "user noise": ("user noise", False),
        "user noise, shuffled": ("user noise", True),
        "user noise, shuffled again": ("user noise", True),
    }
    null = [
        ("item noise", "item noise, shuffled"),
        ("item noise, shuffled again", "item noise, shuffled"),
        ("item noise, other seeds", "item noise"),
        ("user noise", "user noise, shuffled"),
        ("user noise, shuffled again", "user noise, shuffled"),
    ]
    others = [(name, "floor") for name in list(plan)[1:6]]
    return ladder(log, plan, null, others, k)


def large_ladder(k: int) -> dict[str, Any]:
    log = make_log(np.random.default_rng([2, k]), 1_800, 3_500, 40_000, SHARES)
    names = [f"meaning {share:g}" for share in SHARES]
    plan: dict[str, tuple[str | None, bool]] = {"floor": (None, False)}
    for name in names:
        plan |= {name: (name, False), f"{name}, shuffled": (name, True)}
    return ladder(log, plan, [(name, f"{name}, shuffled") for name in names], [(name, "floor") for name in names], k)


def ladder(
    log: Log,
    plan: dict[str, tuple[str | None, bool]],
    watched: list[tuple[str, str]],
    others: list[tuple[str, str]],
    k: int,
) -> dict[str, Any]:
    """The verdicts of the watched comparisons, in a family with the others; and those of each by itself."""
    weights = bootstrap.draw_two_way(log.users, log.items, RESAMPLES, k)
    found = {
        name: scores(log, name, log.vectors[reads] if reads else None, shuffled, [k, number], weights)
        for number, (name, (reads, shuffled)) in enumerate(plan.items())
    }
    test = slice(log.n_train, None)
    clusters = Clusters(log.user_B[test], log.users, log.item_B[test], log.items)
    compared = {pair: Comparison.of(found[pair[0]], found[pair[1]], k, clusters) for pair in [*watched, *others]}
    q = critical_value(list(compared.values()))
    out: dict[str, Any] = {"k": k, "auc": found["floor"].mean, "q": q, "claims": {}}
    for pair in watched:
        one, alone = (interval_of(compared[pair], z, clusters.fewest) for z in (q, 1.96))
        out["claims"][" - ".join(pair)] = {
            "difference": one["difference"],
            "error": one["error"],
            "smallest": one["smallest"],
            "verdict": one["verdict"],
            "alone": alone["verdict"],
            "spread": compared[pair].spread,
        }
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=500, help="ladders of the small log")
    parser.add_argument("--large", type=int, default=20, help="ladders of the large log")
    parser.add_argument("--out", type=Path, default=Path("data/benchmarks/ladders.jsonl"), help="a ladder per line")
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    done = {(line["size"], line["k"]): line for line in lines}
    with args.out.open("a") as file:
        for size, n, make in (("small", args.small, small_ladder), ("large", args.large, large_ladder)):
            for k in range(n):
                if (size, k) in done:
                    continue
                started = time.process_time()
                done[size, k] = {"size": size} | make(k) | {"cpu_seconds": round(time.process_time() - started, 3)}
                file.write(json.dumps(done[size, k]) + "\n")
                file.flush()
                print(f"\r{size} {k + 1} of {n}", end="", file=sys.stderr)
    print(file=sys.stderr)
    show([one for (size, k), one in sorted(done.items()) if size == "small" and k < args.small], "small")
    show([one for (size, k), one in sorted(done.items()) if size == "large" and k < args.large], "large")


def show(ladders: list[dict[str, Any]], size: str) -> None:
    if not ladders:
        return
    n = len(ladders)
    cpu = sum(one["cpu_seconds"] for one in ladders)
    print(f"\n{size}: {n} ladders, floor {np.mean([one['auc'] for one in ladders]):.4f}, {cpu:.0f} CPU seconds\n")
    head = (
        "claim | mean difference | its sd | standard error | spread of samples | claimed | by itself | smallest at 80%"
    )
    print(f"| {head} |")
    print("|---|---|---|---|---|---|---|---|")
    for name in ladders[0]["claims"]:
        claims = [one["claims"][name] for one in ladders]
        differences = np.array([c["difference"] for c in claims])
        claimed, alone = (np.mean([c[key] != "not shown" for c in claims]) for key in ("verdict", "alone"))
        mean = {key: np.mean([c[key] for c in claims]) for key in ("error", "spread", "smallest")}
        print(
            f"| {name} | {differences.mean():+.5f} | {differences.std(ddof=1):.5f} | {mean['error']:.5f} | "
            f"{mean['spread']:.5f} | "
            f"{claimed:.1%} | {alone:.1%} | {mean['smallest']:.5f} |"
        )
    if size == "small":
        for key, word in (("verdict", "the ladder's intervals"), ("alone", "intervals of each by itself")):
            any_ = sum(any(c[key] != "not shown" for c in one["claims"].values()) for one in ladders)
            print(f"\nA false claim in {any_} of {n} ladders ({any_ / n:.1%}) by {word}.")


if __name__ == "__main__":
    main()
