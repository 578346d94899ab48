"""Beyond one process: what Spark costs beside the local scorer, and what a fit holds that several processes share.

    python benchmarks/scale/run.py --rows 10000000             score, by Spark local[2] and locally
    python benchmarks/scale/run.py fit --rows 1000000          fit, by one process and by two

Everything runs on this machine, one after the other, in processes of their own; made marts go into a temporary folder
(about 210 bytes per row). Prints JSON: seconds include the start of each process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.scale.made import write_mart  # noqa: E402 needs the path above

STAGE = "02_mmoe"
_FITTED_ON = 200_000


def run(*command: object, **environment: str) -> tuple[float, str]:
    """Wall seconds and standard output of a command. Raises: SystemExit where it fails."""
    began = time.perf_counter()
    path = os.environ.get("PYTHONPATH", "")
    env = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{path}"} | environment
    done = subprocess.run([sys.executable, *map(str, command)], env=env, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}")
    return time.perf_counter() - began, done.stdout


def score(folder: Path, rows: int, masters: list[str]) -> dict[str, Any]:
    """Rows per second of one input: locally, and by Spark with each master."""
    write_mart(folder / "small", _FITTED_ON)
    run("-m", "trainer", "fit", "--stage", STAGE, "--marts", folder / "small", "--run", folder / "run")
    source = write_mart(folder / "marts", rows)
    command = ("-m", "trainer", "score", "--run", folder / "run", "--input", source, "--json")
    out: dict[str, Any] = {"rows": rows}
    for name, more, environment in [
        ("local", (), {}),
        *((master, ("--engine", "spark"), {"SPARK_MASTER": master}) for master in masters),
    ]:
        where = folder / f"scores-{len(out)}"
        output = where.with_suffix(".parquet") if name == "local" else where
        seconds, said = run(*command, "--output", output, *more, **environment)
        found = json.loads(said)
        out[name] = {
            "seconds": round(seconds, 1),
            "scoring_seconds": round(found["rows"] / found["rows_per_second"], 1),
            "rows_per_second": found["rows_per_second"],
        }
    for master in masters:
        local, there = (out[name]["rows_per_second"] for name in ("local", master))
        out[f"{master} / local"] = round(there / local, 3)
    return out


def fit(folder: Path, rows: int, processes: list[int]) -> dict[str, Any]:
    """What each number of processes takes, holds and comes to, on the same mart."""
    marts, out = write_mart(folder / "marts", rows).parent, {"rows": rows}
    for n in processes:
        where = folder / f"run-{n}"
        launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", n) if n > 1 else ()
        command = (*launcher, "-m", *(["--"] if n > 1 else []), "trainer", "fit", "--stage", STAGE)
        cache = {"FIRST_IMPRESSION_CACHE": str(folder / f"cache-{n}"), "OMP_NUM_THREADS": "1"}
        seconds, _ = run(*command, "--marts", marts, "--run", where, **cache)
        timing, metrics = (json.loads((where / name).read_text()) for name in ("timing.json", "metrics.json"))
        out[f"{n} processes"] = {
            "seconds": round(seconds, 1),
            "train_rows_per_second": timing["train_rows_per_second"],
            "peak_rss_mib": timing["peak_rss_mib_of_processes"],
            "test_auc": round(metrics["splits"]["test"]["auc"], 4),
        }
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["score", "fit"], default="score")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--masters", nargs="+", default=["local[2]"], help="of Spark, for score")
    parser.add_argument("--processes", nargs="+", type=int, default=[1, 2], help="for fit")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FIRST_IMPRESSION_CACHE"] = f"{folder}/cache"
        part = {
            "score": lambda at: score(at, given.rows, given.masters),
            "fit": lambda at: fit(at, given.rows, given.processes),
        }
        print(json.dumps(part[given.what](Path(folder)), indent=1))


if __name__ == "__main__":
    main()
