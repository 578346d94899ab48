"""Training rows per second: this project's MMoE against DeepCTR-Torch's and torch-rechub's, and all rungs.

    python benchmarks/trainer/run.py

The same rows for all, from Parquet: 200,000 x 40 categories (two of 100,000 values, eight of 10,000, ten of 1,000,
twenty of 50, Zipf 1.3), embedding 16, five scenes or tasks, eight experts 128-64, towers 32, batch 4,096, Adam 0.001,
no penalties, one epoch. The last category is the scene; here a row has one task, the peers' models train all five.

One process a run, runs by turns, in one go, on the same number of threads. The peers are installed without dependencies
into a folder of their own, so that they are never among this project's requirements. Reported: rows a second of the
epoch, of wall time and of CPU time (other work on the machine disturbs the first), and the peak resident memory of the
whole process, reading included. Here an epoch includes making batches from the memory-mapped columns; reading Parquet
into them once is reported apart. The peers' tables are as long as the cardinalities, as their users declare them; here
a table holds the values that occur.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from peers import (
    BATCH,
    CARDINALITIES,
    EXPERTS,
    FIELDS,
    HIDDEN,
    PEERS,
    PEERS_NEED,
    RATE,
    SIZE,
    TOWER,
    deepctr,
    rechub,
)

ROOT = Path(__file__).parents[2]
SIDES = ("ours", "deepctr-torch", "torch-rechub")
DAYS = 4


def draw(n: int) -> np.ndarray:
    """The rows as codes. Shapes: -> (n, 40), int64."""
    rng = np.random.default_rng(0)
    return np.stack([(rng.zipf(1.3, n) * 2_654_435_761 + k) % c for k, c in enumerate(CARDINALITIES)], 1).astype(
        np.int64
    )


def write_mart(folder: Path, n: int, history: int = 0, texts: int = 0) -> None:
    """The rows as a mart in the trainer's contract, all of them train; with texts and histories for the later rungs."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    codes, rng = draw(n), np.random.default_rng(1)
    label = (rng.random(n) < 0.4).astype(np.int32)
    day = np.sort(rng.integers(0, DAYS, n))
    start = datetime(2026, 1, 1)
    columns = {name: pa.array(np.char.add("v", codes[:, k].astype(str))) for k, name in enumerate(FIELDS)}
    columns |= {
        "event_id": pa.array([f"e{k:08d}" for k in range(n)]),
        "label": pa.array(label),
        "split": pa.array(["train"] * n),
        "event_at": pa.array([start + timedelta(days=int(d), seconds=k % 86_400) for k, d in enumerate(day)]),
        "user_level": pa.array(np.array(["zero", "few", "warm"])[rng.integers(0, 3, n)]),
        "item_level": pa.array(np.array(["zero", "few", "warm"])[rng.integers(0, 3, n)]),
    }
    meta = {name: {"role": "feature", "kind": "categorical", "group": "context"} for name in FIELDS}
    meta[FIELDS[0]] = {"role": "key", "kind": "categorical", "group": "user"}
    meta[FIELDS[1]] = {"role": "key", "kind": "categorical", "group": "item"}
    meta[FIELDS[-1]] = {"role": "scene"}
    meta |= {
        "event_id": {"role": "key"},
        "label": {"role": "label"},
        "split": {"role": "split"},
        "event_at": {"role": "time"},
        "user_level": {"role": "level", "group": "user"},
        "item_level": {"role": "level", "group": "item"},
    }
    types = dict.fromkeys(meta, "string") | {"label": "int", "event_at": "timestamp"}
    if texts:
        for name, group in (("title", "item"), ("about", "user")):
            columns[name] = pa.array(rng.integers(0, texts, n))
            meta[name], types[name] = {"role": "text_id", "group": group}, "bigint"
    if history:
        offsets = pa.array(np.arange(n + 1, dtype=np.int32) * history)
        past = rng.integers(0, n, n * history)
        lists = {
            "past_items": (np.char.add("v", codes[past, 1].astype(str)), "item_id"),
            "past_titles": (rng.integers(0, texts, n * history), "text_id"),
            "past_labels": (label[past], "label"),
        }
        for name, (values, of) in lists.items():
            columns[name] = pa.ListArray.from_arrays(offsets, pa.chunked_array([pa.array(values)]).combine_chunks())
            meta[name] = {"role": "history", "kind": "list", "of": of, "group": "user"}
            types[name] = {"item_id": "string[]", "text_id": "bigint[]", "label": "int[]"}[of]
    table, mart = pa.table(columns), folder / "training_examples_v1"
    for d in range(DAYS):
        partition = mart / f"event_date={date(2026, 1, 1) + timedelta(days=d)}"
        partition.mkdir(parents=True)
        pq.write_table(table.filter(pa.array(day == d)), partition / "part.parquet")
    (mart / "_build").mkdir()
    (mart / "_build" / "build.json").write_text(
        json.dumps(
            {
                "model": "training_examples",
                "version": 1,
                "unique_id": "benchmark",
                "dataset": "benchmark",
                "n_rows": n,
                "node_checksums": {},
                "columns": [{"name": c, "data_type": types[c], "meta": meta[c]} for c in meta],
                "vars": {"scenes": [f"v{k}" for k in range(CARDINALITIES[-1])]},
            }
        )
    )


def write_vectors(folder: Path, texts: int) -> None:
    """Random vectors for the benchmark's texts, under both encoders' names."""
    from embeddings import Recipe, Template, VectorStore

    vectors = np.random.default_rng(2).normal(size=(texts, 384)).astype(np.float32)
    for encoder in ("e5-small", "smollm2"):
        with VectorStore.writer(folder, Recipe(encoder, "r", "mean", Template(), True, 64, "fp32"), 384) as store:
            store.append(range(texts), vectors)


def stage_of(stage: str, threads: int, batch: int, as_peers: bool = False) -> Any:
    """One epoch of one of the trainer's stages; of 02_mmoe at the peers' sizes where `as_peers`."""
    from trainer.config import load_stage, parse_stage

    raw = load_stage(stage).model_dump(exclude_none=True)
    raw["threads"] = threads
    raw["training"] |= {"epochs": 1, "min_steps": 1, "batch_size": batch, "evaluations_per_epoch": 1}
    if as_peers:
        raw["inputs"]["min_count"] = 1
        raw["model"] |= {"embedding_dim": SIZE, "experts": EXPERTS, "hidden": HIDDEN, "tower": TOWER}
        raw["model"] |= {"dropout": 0.0, "embedding_dropout": 0.0}
        raw["training"] |= {"learning_rate": RATE, "embedding_learning_rate": RATE, "id_dropout": 0.0}
        raw["training"] |= {"embedding_l2": 0.0, "weight_decay": 0.0}
    return parse_stage(raw, stage)


def ours(stage: str, folder: Path, threads: int, amp: bool, as_peers: bool = False) -> dict:
    from trainer.columns.build import open_columns
    from trainer.contract.read import read_contract
    from trainer.training.fit import Execution, fit

    os.chdir(folder)  # away from any manifest
    import torch._dynamo  # noqa: F401  the first optimiser brings it; the peers have built theirs when their clock starts

    started = time.perf_counter()
    contract = read_contract(folder / "marts")
    columns = open_columns(contract)
    reading, cpu = time.perf_counter() - started, time.process_time()
    fitted, history = fit(
        stage_of(stage, threads, BATCH, as_peers), contract, columns, folder / "vectors", Execution(amp=amp)
    )
    return {
        "wall": len(columns) / history.rows_per_second,
        "cpu": time.process_time() - cpu,
        "reading": reading,
        "parameters": fitted.n_parameters,
    }


def worker(side: str, folder: Path, threads: int, amp: bool) -> None:
    match side:
        case "deepctr-torch":
            out = deepctr(folder, threads)
        case "torch-rechub":
            out = rechub(folder, threads)
        case _:
            out = ours("02_mmoe" if side == "ours" else side, folder, threads, amp, as_peers=side == "ours")
    from trainer.base.paging import peak_rss_mib

    out["rss"] = peak_rss_mib()
    print("RESULT " + json.dumps(out))


def run(side: str, folder: Path, threads: int, peers: Path, *flags: str) -> dict:
    """One run in a process of its own. Returns: its figures."""
    path = os.pathsep.join([str(ROOT), *([str(peers)] if side in SIDES[1:] else [])])
    environment = os.environ | {
        "PYTHONPATH": path,
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "FIRST_IMPRESSION_CACHE": str(folder / "cache"),
    }
    command = [sys.executable, __file__, "--worker", side, str(folder), "--threads", str(threads), *flags]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    results = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not results:
        sys.exit(f"{side} failed:\n{done.stderr[-3000:]}")
    return json.loads(results[-1].removeprefix("RESULT "))


def row(name: str, runs: list[dict], n: int) -> str:
    wall, cpu, rss, reading = (statistics.median(r[key] for r in runs) for key in ("wall", "cpu", "rss", "reading"))
    figures = f"{n / wall:,.0f} | {n / cpu:,.0f} | {rss:,.0f} | {reading:.1f} | {runs[0]['parameters']:,}"
    return f"| {name} | {figures} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--peer-path", type=Path, help="where the peers are installed; by default a temporary folder")
    parser.add_argument("--no-rungs", action="store_true", help="the comparison with the peers alone")
    parser.add_argument("--amp", action="store_true", help="train ours in bfloat16")
    parser.add_argument("--worker", nargs=2, metavar=("SIDE", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        worker(args.worker[0], Path(args.worker[1]), args.threads, args.amp)
        return
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as scratch:
        compare(args, Path(scratch))


def compare(args: argparse.Namespace, scratch: Path) -> None:
    """Run all sides by turns, then the rungs, and print both tables."""
    peers = args.peer_path or scratch / "peers"
    if not peers.exists():
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        install += [f"--target={peers}", "-c", str(ROOT / "constraints.txt"), *PEERS, *PEERS_NEED]
        subprocess.run(install, check=True)
    plain, rich = scratch / "plain", scratch / "rich"
    write_mart(plain / "marts", args.rows)
    flags = ["--amp"] if args.amp else []
    runs: dict[str, list[dict]] = {side: [] for side in SIDES}
    run("ours", plain, args.threads, peers)  # fills the column cache; its reading time is reported below
    for _ in range(args.rounds):
        for side in SIDES:
            runs[side].append(run(side, plain, args.threads, peers, *(flags if side == "ours" else [])))
    head = "rows/s, wall | rows/s, CPU | peak RSS, MB | reading, s | parameters |\n|---|---|---|---|---|---|"
    print(f"{args.rows:,} rows x 40, {args.threads} thread(s), median of {args.rounds} by turns\n\n| MMoE | {head}")
    for side in SIDES:
        print(row(side, runs[side], args.rows), flush=True)
    wall = {side: statistics.median(r["wall"] for r in runs[side]) for side in SIDES}
    cpu = {side: statistics.median(r["cpu"] for r in runs[side]) for side in SIDES}
    fastest = min(SIDES[1:], key=wall.__getitem__)
    print(f"\n{wall[fastest] / wall['ours']:.2f} times {fastest} by wall, {cpu[fastest] / cpu['ours']:.2f} by CPU")
    if args.no_rungs:
        return
    write_mart(rich / "marts", args.rows, history=30, texts=5_000)
    write_vectors(rich / "vectors", 5_000)
    print(f"\nAll rungs as their stage files have them, with two text columns and 30 outcomes a row\n\n| rung | {head}")
    for stage in sorted(p.stem for p in (ROOT / "trainer" / "stages").glob("*.yaml") if p.stem != "00_gbdt"):
        print(row(stage, [run(stage, rich, args.threads, peers, *flags)], args.rows), flush=True)


if __name__ == "__main__":
    main()
