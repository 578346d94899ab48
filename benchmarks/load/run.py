"""From a raw log to a scored report at full size, a process a step: wall, CPU and peak memory of each.

    python benchmarks/load/run.py [--events 11190985] [--until warehouse]

    warehouse   CSV to a training table and its texts (`dbt run`)
    embeddings  a vector for each title and entity
    fit         one epoch of a stage, with validation, test and its report
    score       the last day's rows again, as a server would
    report      the page over the run

The simulated log is made first if it isn't there. Goes on after the last step that was finished by an earlier call
with the same arguments. The table is printed; the figures go to --out as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "warehouse"))
from measure import Cost, measured
from prepare import ROOT, add_files, project, simulated_log

BIN = Path(sys.executable).parent
STEPS = ("warehouse", "embeddings", "fit", "score", "report")


class Load:
    """One log, its folder, and what each step has cost so far."""

    def __init__(self, args: argparse.Namespace):
        self.args = args
        self.log = simulated_log(args.events, args.seed, args.cache)
        self.folder = args.cache / f"load-{args.events}-{args.mart}"
        self.out = args.out or args.cache / f"load-{args.events}-{args.mart}.json"
        self.marts, self.run = "data/marts/simulated", "runs/load"
        fresh = not self.folder.exists()
        self.costs = {} if fresh or not self.out.exists() else json.loads(self.out.read_text())
        if fresh:
            add_files(project(self.folder, self.log), self.log / "day")

    def step(self, name: str) -> None:
        if name in self.costs:
            return
        print(f"{name} ...", file=sys.stderr, flush=True)
        command: Callable[[], list[str | Path]] = getattr(self, name)
        threads = {"OMP_NUM_THREADS": str(self.args.threads), "PYTHONPATH": str(ROOT)}
        cost = measured(command(), self.folder / f"{name}.log", self.folder, threads)
        self.costs[name] = asdict(cost)
        self.out.write_text(json.dumps(self.costs, indent=1))
        print(f"  {cost}", file=sys.stderr, flush=True)

    def warehouse(self) -> list[str | Path]:
        return [BIN / "dbt", "run", "--vars", "{dataset: simulated}", "--select", f"+{self.args.mart}", "+texts"]

    def embeddings(self) -> list[str | Path]:
        words = ["build", "--marts", self.marts, "--encoder", "e5-small", "--user-texts", "none"]
        return [BIN / "embeddings", *words, "--threads", str(self.args.threads)]

    def fit(self) -> list[str | Path]:
        stage = yaml.safe_load((ROOT / f"trainer/stages/{self.args.stage}.yaml").read_text())
        stage["threads"], stage["training"]["epochs"] = self.args.threads, 1
        (self.folder / "stage.yaml").write_text(yaml.safe_dump(stage, sort_keys=False))
        shutil.rmtree(self.folder / self.run, ignore_errors=True)
        words = ["fit", "--stage", "stage.yaml", "--marts", self.marts, "--mart", self.args.mart]
        return [BIN / "trainer", *words, "--run", self.run]

    def score(self) -> list[str | Path]:
        day = max((self.folder / self.marts / self.args.mart).glob("event_date=*"))
        words = ["score", "--run", self.run, "--input", day, "--output", "scored.parquet", "--force"]
        return [BIN / "trainer", *words]

    def report(self) -> list[str | Path]:
        return [BIN / "trainer", "report", "--runs", self.run, "--output", "report.html"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=11_190_985)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--mart", default="training_examples_v1", help="training_examples_v2 has histories too")
    parser.add_argument("--stage", default="05_content_tower", help="one of the trainer's own that is a network")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--until", choices=STEPS, default=STEPS[-1], help="the last step to do")
    parser.add_argument("--cache", type=Path, default=Path("~/.cache/first-impression/bench-warehouse").expanduser())
    parser.add_argument("--out", type=Path, help="default: <cache>/load-<events>-<mart>.json")
    parser.add_argument("--remove", action="store_true", help="delete what was made at the end, the log as well")
    load = Load(parser.parse_args())
    for name in STEPS[: STEPS.index(load.args.until) + 1]:
        load.step(name)
    print(f"{load.args.events:,} events, load before: {os.getloadavg()[2]:.1f}\n\n| step | wall s | CPU s | peak GB |")
    print("|---|---|---|---|")
    for name, cost in ((name, Cost(**fields)) for name, fields in load.costs.items()):
        print(f"| {name} | {cost.wall_s:.0f} | {cost.cpu_s:.0f} | {cost.rss_gb:.2f} |")
    if load.args.remove:
        shutil.rmtree(load.folder)
        shutil.rmtree(load.log)


if __name__ == "__main__":
    main()
