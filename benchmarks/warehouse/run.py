"""What the warehouse costs, and the same features by what one would take instead.

    python benchmarks/warehouse/run.py [--events 11190985] [--quick] [--before COMMIT]

On one simulated log, in one run, a process a step; wall, CPU (user and system, of all its processes) and peak memory:

  csv       raw CSV to training_examples v1 (`dbt run`), raw CSV to everything with all tests (`dbt build`), both
            without the last day; then `dbt build` again after that day's files were added. With --before the same by
            an earlier commit, each step right before ours
  features  the v1 features and the training table from a Parquet of events: our SQL, Polars, Spark local[2]; every
            column must have the same checksum. And our SQL on the other DuckDB
  feast     Feast's historical retrieval of those features (it joins, others compute), on as many rows as it manages

Peers are installed into folders of their own under --cache. The table is printed; all figures go to --out as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import duckdb

sys.path.insert(0, str(Path(__file__).parent))
from checksums import require_equal
from measure import Cost, measured
from prepare import (
    FEAST,
    OTHER_DUCKDB,
    POLARS,
    ROOT,
    add_files,
    checkout_of,
    feast_python,
    pip_folder,
    project,
    simulated_log,
)

HERE = Path(__file__).parent
STEPS = ("csv", "features", "feast")
DBT = Path(sys.executable).with_name("dbt")
VARS = ["--vars", "{dataset: simulated}"]
EVENT_COLUMNS = "event_id, user_id, item_id, scene, event_at, event_date, known_at, known_date, label"
TWO_THREADS = {"POLARS_MAX_THREADS": "2", "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}


class Bench:
    """One run: its folders, and what it has measured."""

    def __init__(self, args: argparse.Namespace):
        self.args, self.cache = args, args.cache.expanduser()
        self.work = self.cache / f"work-{args.events}"
        self.costs: dict[str, Cost] = {}
        self.found: dict[str, object] = {}
        if not args.only or "csv" in args.only:
            shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True, exist_ok=True)

    def step(self, name: str, command: list, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
        print(f"{name} ...", file=sys.stderr, flush=True)
        log = self.work / f"{name.replace(' ', '_').replace('/', '_')}.log"
        self.costs[name] = measured(command, log, cwd or self.work, env)
        print(f"  {self.costs[name]}", file=sys.stderr, flush=True)
        self.save()

    def save(self) -> None:
        """What is known so far: a run takes long, and a later step may fail."""
        record = self.found | {"costs": {name: asdict(cost) for name, cost in self.costs.items()}}
        (self.args.out or self.cache / f"results-{self.args.events}.json").write_text(json.dumps(record, indent=1))

    def csv(self, log: Path) -> None:
        checkouts = {"": ROOT}
        if self.args.before:
            before = checkout_of(self.args.before, self.work / "before")
            checkouts = {f", {self.args.before}": before} | checkouts
        folders = {who: self.work / f"project{who}" for who in checkouts}

        def step(name: str, words: list[str], *, afresh: bool) -> None:
            for who, checkout in checkouts.items():
                folder = project(folders[who], log, checkout) if afresh else folders[who]
                # An earlier commit's Python comes before the installed one.
                self.step(name + who, [DBT, *words, *VARS], folder, {"PYTHONPATH": str(checkout)})

        if not self.args.quick:
            step("CSV to training_examples v1", ["run", "--select", "+training_examples_v1"], afresh=True)
        step("CSV to everything, with tests", ["build"], afresh=True)
        folder = folders[""]
        self.found["full_build"] = node_seconds(folder)
        shutil.copytree(folder / "target/compiled/first_impression/warehouse/models", self.work / "compiled")
        for each in folders.values():
            add_files(each, log / "day")
        step("one day's refresh, with tests", ["build"], afresh=False)
        self.found["refresh"] = node_seconds(folder)
        database = folder / "data/simulated.duckdb"
        with duckdb.connect(database, read_only=True, config={"file_search_path": str(folder)}) as connection:
            connection.execute(f"copy (select {EVENT_COLUMNS} from stg_events) to '{self.events}' (format parquet)")
            self.found["events"] = connection.execute("select count(*) from stg_events").fetchone()[0]
            contract = json.loads((folder / "target/manifest.json").read_text())["nodes"]
        columns = contract["model.first_impression.training_examples.v1"]["columns"].values()
        computed = [column["name"] for column in columns if column["config"]["meta"]["role"] in ("feature", "level")]
        (self.work / "columns.json").write_text(json.dumps([name for name in computed if not name.startswith("ctx_")]))
        for each in folders.values():
            shutil.rmtree(each / "data")

    @property
    def events(self) -> Path:
        return self.work / "events.parquet"

    @property
    def columns(self) -> list[str]:
        return json.loads((self.work / "columns.json").read_text())

    def features(self) -> None:
        shutil.rmtree(self.work / "ours", ignore_errors=True)  # kept by an earlier --keep
        ours = [sys.executable, HERE / "ours.py", self.work / "compiled", self.events]
        self.step("features: First Impression", [*ours, self.work / "ours"])
        polars = {"PYTHONPATH": str(pip_folder(POLARS, self.cache / "polars"))}
        self.step(
            f"features: {POLARS[0]}",
            [sys.executable, HERE / "polars_v1.py", self.events, self.work / "polars"],
            env=TWO_THREADS | polars,
        )
        self.agree(self.work / "polars/*.parquet", "Polars")
        scratch = self.work / "spark-scratch"
        self.step(
            "features: Spark local[2]",
            [sys.executable, HERE / "spark_v1.py", self.events, self.work / "spark", scratch],
        )
        self.agree(self.work / "spark/*.parquet", "Spark")
        shutil.rmtree(scratch, ignore_errors=True)
        other = {"PYTHONPATH": str(pip_folder((OTHER_DUCKDB,), self.cache / OTHER_DUCKDB))}
        self.step(f"features: First Impression on {OTHER_DUCKDB}", [*ours, self.work / "other"], env=other)
        self.agree(self.work / "other/**/*.parquet", OTHER_DUCKDB)

    def agree(self, files: Path, who: str) -> None:
        self.found["compared_rows"] = require_equal(
            f"{self.work}/ours/**/*.parquet", str(files), self.columns, who, self.work / "spill"
        )
        shutil.rmtree(Path(str(files).split("*")[0]))

    def feast(self) -> None:
        tables = self.work / "tables"
        shutil.rmtree(tables, ignore_errors=True)
        tables.mkdir()
        with duckdb.connect(self.work / "ours/simulated.duckdb", read_only=True) as connection:
            for name in ("user", "item", "user_item", "scene"):
                key = ", 'all' as log_id" if name == "scene" else ""
                connection.execute(
                    f"copy (select * exclude (as_of_date), as_of_date::timestamp as event_timestamp{key}"
                    f" from feat_{name}_v1) to '{tables / name}.parquet' (format parquet)"
                )
        python = feast_python(self.cache / "feast")
        runs = []
        for store in ("duckdb",):  # its other local store, dask, took 134 times as long for 200,000 events
            words = [
                HERE / "feast_v1.py",
                tables,
                self.events,
                self.work / "feast",
                store,
                str(self.args.feast_seconds),
            ]
            try:
                self.step(f"features joined alone: {FEAST} {store}", [python, *words], env=TWO_THREADS)
            except SystemExit as stopped:  # a larger size may be beyond it: what it managed before counts
                print(str(stopped)[-600:], file=sys.stderr)
            said = (self.work / f"features_joined_alone:_{FEAST}_{store}.log").read_text().splitlines()
            runs += [json.loads(line) for line in said if line.startswith('{"store"')]
        for run in {run["file"]: run for run in runs}.values():
            self.same_as_ours(run["file"])
        self.found["feast"] = runs

    def same_as_ours(self, file: str) -> None:
        with duckdb.connect() as connection:
            columns = {row[0] for row in connection.execute(f"describe select * from '{file}'").fetchall()}
            subset = self.work / "subset.parquet"
            connection.execute(
                f"copy (select * from '{self.work}/ours/**/*.parquet' semi join '{file}' using (event_id))"
                f" to '{subset}'"
            )
        require_equal(str(subset), file, [name for name in self.columns if name in columns], FEAST, self.work / "spill")


def node_seconds(folder: Path) -> dict[str, float]:
    """Seconds of each node of the last dbt command, the slowest first; two run at a time."""
    results = json.loads((folder / "target/run_results.json").read_text())["results"]
    seconds = {result["unique_id"].split(".", 2)[2]: round(result["execution_time"], 2) for result in results}
    tests = sum(value["execution_time"] for value in results if value["unique_id"].startswith(("test.", "unit_test.")))
    slowest = dict(sorted(seconds.items(), key=lambda item: -item[1])[:15])
    return {"all tests": round(tests, 1), **slowest}


def report(bench: Bench) -> str:
    """The table in Markdown."""
    lines = ["| step | wall s | CPU s | peak GB | wall, to ours | CPU, to ours |", "|---|---|---|---|---|---|"]
    base = {"features": "features: First Impression", "one day": "CSV to everything, with tests"}
    for name, cost in bench.costs.items():
        reference = next((bench.costs.get(other) for start, other in base.items() if name.startswith(start)), None)
        if bench.args.before and name.endswith(bench.args.before):
            reference = bench.costs.get(name.removesuffix(f", {bench.args.before}"))
        ratios = f"{cost.wall_s / reference.wall_s:.2f}x | {cost.cpu_s / reference.cpu_s:.2f}x" if reference else " | "
        lines.append(f"| {name} | {cost.wall_s:.1f} | {cost.cpu_s:.1f} | {cost.rss_gb:.2f} | {ratios} |")
    ours = bench.costs.get("features: First Impression")
    best = max(bench.found.get("feast", []), key=lambda run: run["rows"] / run["seconds"], default=None)
    if ours and best:
        speed, mine = best["rows"] / best["seconds"], bench.found["events"] / ours.wall_s
        lines.append(
            f"\nFeast ({best['store']}) joins {best['rows']:,} events in {best['seconds']:.1f} s: {speed:,.0f} rows/s;"
            f" we compute and join {mine:,.0f} rows/s, {mine / speed:.1f} times as many."
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=11_190_985)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="leave out the build of v1 by itself")
    parser.add_argument("--before", metavar="COMMIT", help="measure this commit's builds too")
    parser.add_argument("--only", choices=STEPS, action="append", help="csv must have run before the others")
    parser.add_argument(
        "--feast-seconds", type=float, default=120, help="no larger size after one that takes a third of it"
    )
    parser.add_argument("--keep", action="store_true", help="keep what was built, for --only")
    parser.add_argument("--cache", type=Path, default=Path("~/.cache/first-impression/bench-warehouse"))
    parser.add_argument("--out", type=Path, help="default: <cache>/results-<events>.json")
    parser.add_argument(
        "--remove-log", action="store_true", help="delete the simulated log afterwards (45M events: 18 GB)"
    )
    args = parser.parse_args()
    bench = Bench(args)
    log = simulated_log(args.events, args.seed, bench.cache)
    size = sum(file.stat().st_size for file in log.rglob("*.csv"))
    bench.found |= {
        "csv_gb": size / 1e9,
        "cores": os.cpu_count(),
        "load_before": os.getloadavg(),
        "duckdb": duckdb.__version__,
    }
    bench.found["machine"] = platform.processor() or platform.machine()
    failures = []
    for step in args.only or STEPS:
        try:
            bench.csv(log) if step == "csv" else getattr(bench, step)()
        except SystemExit as failure:
            failures.append(f"{step}: {failure}")
            if step == "csv":
                break
    bench.found["failures"] = failures
    bench.save()
    print(f"{bench.found.get('events', args.events):,} events, {size / 1e9:.1f} GB of CSV, {os.cpu_count()} cores\n")
    print(report(bench))
    if not args.keep:
        shutil.rmtree(bench.work)
    if args.remove_log:
        shutil.rmtree(log)
    if failures:
        raise SystemExit("\n".join(failures))


if __name__ == "__main__":
    main()
