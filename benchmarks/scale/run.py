"""Beyond one process: what Spark costs beside the local scorer, and what a fit holds that several processes share.

    python benchmarks/scale/run.py --rows 10000000             score, by Spark local[2] and locally
    python benchmarks/scale/run.py fit --rows 1000000          fit, by one process and by two

Everything runs on this machine, one after the other, in processes of their own; made marts go into a temporary folder
(about 260 bytes per row). Prints JSON: seconds include the start of every process, the rate of scoring doesn't. On a
busy machine compare CPU seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.scale.made import write_mart  # noqa: E402 needs the path above

STAGE = "02_mmoe"
_FITTED_ON = 200_000


def run(*command: object, **environment: str) -> tuple[dict[str, float], str]:
    """Wall seconds and CPU seconds of a command and of all that it starts, and its standard output.

    Raises: SystemExit where it fails.
    """
    began, used = time.perf_counter(), dict[int, float]()
    path = os.environ.get("PYTHONPATH", "")
    env = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{path}"} | environment
    with tempfile.TemporaryFile("w+") as said:
        process = psutil.Popen([sys.executable, *map(str, command)], env=env, stdout=said)
        while process.poll() is None:  # a JVM isn't waited for, so nobody else adds its time up
            with contextlib.suppress(psutil.NoSuchProcess):
                for one in (process, *process.children(recursive=True)):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        used[one.pid] = sum(one.cpu_times()[:2])
            time.sleep(0.1)
        if process.returncode:
            sys.exit(f"{' '.join(map(str, command))}: exit code {process.returncode}")
        said.seek(0)
        took = {"seconds": time.perf_counter() - began, "cpu_seconds": sum(used.values())}
        return {name: round(value, 1) for name, value in took.items()}, said.read()


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
        took, said = run(*command, "--output", output, *more, **environment)
        out[name] = took | {"rows_per_second": json.loads(said)["rows_per_second"]}
    for master in masters:
        local, there = out["local"], out[master]
        out[f"{master} / local"] = {
            "rate": round(there["rows_per_second"] / local["rows_per_second"], 3),
            "rate_per_cpu_second": round(local["cpu_seconds"] / there["cpu_seconds"], 3),
        }
    return out


def fit(folder: Path, rows: int, processes: list[int]) -> dict[str, Any]:
    """What each number of processes takes, holds and comes to, on the same mart."""
    marts, out = write_mart(folder / "marts", rows).parent, {"rows": rows}
    for n in processes:
        where = folder / f"run-{n}"
        launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", n) if n > 1 else ()
        command = (*launcher, "-m", *(["--"] if n > 1 else []), "trainer", "fit", "--stage", STAGE)
        cache = {"FIRST_IMPRESSION_CACHE": str(folder / f"cache-{n}"), "OMP_NUM_THREADS": "1"}
        took, _ = run(*command, "--marts", marts, "--run", where, **cache)
        timing, metrics = (json.loads((where / name).read_text()) for name in ("timing.json", "metrics.json"))
        out[f"{n} processes"] = took | {
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
