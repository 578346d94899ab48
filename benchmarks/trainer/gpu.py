"""Training rows per second on one GPU: every rung at its own batch size and at a large one, and the peers' MMoE.

    python benchmarks/trainer/gpu.py --marts data/marts/simulated --vectors data/vectors

Runs on a bare machine with Python 3.12, PyTorch 2.11 and CUDA, from a mart that was made elsewhere and carried along;
pyarrow and pydantic are all that it needs beyond what transformers brings. The mart's rows are repeated to `--rows`,
so that a figure isn't the start's. Parts, each by itself with --only:

peers      02_mmoe at the sizes of run.py, and DeepCTR-Torch and torch-rechub beside it where they are installed
rungs      networks as their stage files have them: rows/s of whole training steps, utilisation, the most memory held.
           A stage that reads a user's outcomes gets the mart as it is: repeated rows would be outcomes of one instant
host       02_mmoe with its columns in the host's memory, as on a log that doesn't fit the GPU
agreement  of the mart as it is: two fits' bytes, the AUC of validation here and on the CPU
batches    of the mart as it is: the AUC of validation with batches sixteen times as large (`--batch-size`), three seeds
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
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import run as cpu  # noqa: E402  the CPU's benchmark beside this one: its rows, its peers
import torch  # noqa: E402
from peers import deepctr, rechub  # noqa: E402

from benchmarks.utilisation import sampled_utilisation  # noqa: E402
from trainer.columns.build import open_columns  # noqa: E402
from trainer.columns.store import Columns  # noqa: E402
from trainer.config import NetworkStage, load_stage  # noqa: E402
from trainer.contract.read import read_contract  # noqa: E402
from trainer.contract.schema import Contract  # noqa: E402
from trainer.run.importance import taken  # noqa: E402
from trainer.training.fit import Execution, fit  # noqa: E402
from trainer.training.schedule import for_batch_size  # noqa: E402

PARTS = ("peers", "rungs", "host", "agreement", "batches")
SMALL, LARGE, THREADS = 4096, 65_536, 8
PEER_ROWS = 400_000
FEW = 500_000  # rows at a rung's own batch size, which is slower


def repeated(columns: Columns, n_rows: int) -> Columns:
    """The train rows over and over, n_rows of them, and the validation rows once."""
    train = columns.rows("train")
    return taken(columns, np.concatenate([np.resize(train, n_rows), columns.rows("val")]))


def measured(
    stage: Any, contract: Contract, columns: Columns, vectors: Path, execution: Execution
) -> tuple[str, float, Any]:
    """One fit after a short one that wakes the device. Returns: a table's line, rows/s, what was fitted."""
    train = columns.rows("train")
    few = taken(columns, train[: min(len(train), 5 * stage.training.batch_size)])
    fit(stage, contract, few, vectors, execution)
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    with sampled_utilisation(torch.cuda.is_available()) as found:
        fitted, history = fit(stage, contract, columns, vectors, execution)
    held = torch.cuda.max_memory_allocated() / (1 << 30) if on_gpu else float("nan")
    busy = _most(found)
    line = f"{history.rows_per_second:,.0f} | {busy} | {held:.1f} | {history.columns_on}"
    return line, history.rows_per_second, fitted


def _most(found: list[int]) -> str:
    return f"{max(found)}%" if found else "?"


HEAD = "| batch | rows/s | utilisation at most | GiB held | columns on |\n|---|---|---|---|---|---|"


def peers(folder: Path, rows: int) -> None:
    cpu.write_mart(folder / "marts", PEER_ROWS)
    contract = read_contract(folder / "marts")
    columns = repeated(open_columns(contract), rows)
    print(f"\n| MMoE, 40 fields {HEAD}")
    rates: dict[tuple[str, int], float] = {}
    for batch in (SMALL, LARGE):
        for amp in (False, True):
            stage = cpu.stage_of("02_mmoe", THREADS, batch, as_peers=True)
            line, rate, _ = measured(stage, contract, columns, folder / "vectors", Execution(amp=amp))
            print(f"| ours{', --amp' * amp} | {batch:,} | {line} |", flush=True)
            rates["ours", batch] = max(rate, rates.get(("ours", batch), 0.0))
        for name, peer in (("DeepCTR-Torch", deepctr), ("torch-rechub", rechub)):
            try:
                with sampled_utilisation(torch.cuda.is_available()) as found:
                    wall = peer(folder, THREADS, batch, "cuda:0" if torch.cuda.is_available() else "cpu")["wall"]
            except ImportError as error:
                print(f"| {name} | {batch:,} | not installed ({error.name}) | | | |", flush=True)
                continue
            rates[name, batch] = PEER_ROWS / wall
            print(f"| {name} | {batch:,} | {PEER_ROWS / wall:,.0f} | {_most(found)} | | |", flush=True)
        others = [rate for (name, size), rate in rates.items() if size == batch and name != "ours"]
        if others:
            print(f"\nAt {batch:,}: {rates['ours', batch] / max(others):.1f} times the faster peer\n", flush=True)


def rungs(names: list[str], contract: Contract, whole: Columns, many: Columns, vectors: Path) -> None:
    print(f"\n| rung {HEAD}")
    for name in names:
        own = load_stage(name)
        assert isinstance(own, NetworkStage)
        few = repeated(whole, min(FEW, len(many.rows("train"))))
        for batch, amp in ((own.training.batch_size, False), (LARGE, False), (LARGE, True)):
            columns = whole if own.inputs.sequence else few if batch < LARGE else many
            stage = cpu.stage_of(name, THREADS, batch)
            line, *_ = measured(stage, contract, columns, vectors, Execution(amp=amp))
            print(f"| {name}{', --amp' * amp} | {batch:,} | {line} |", flush=True)


def host(contract: Contract, columns: Columns, vectors: Path) -> None:
    print(f"\n| 02_mmoe {HEAD}")
    for batch in (SMALL, LARGE):
        line, *_ = measured(
            cpu.stage_of("02_mmoe", THREADS, batch), contract, columns, vectors, Execution(columns_on="host")
        )
        print(f"| columns on the host | {batch:,} | {line} |", flush=True)


def fit_of(name: str, args: argparse.Namespace, seed: int = 1, batch: int = 0, larger: int = 1) -> dict[str, Any]:
    """A fit of the mart as it is: the AUC of validation, a hash of the weights."""
    contract = read_contract(args.marts, args.mart)
    columns = open_columns(contract)
    stage = load_stage(name, seed)
    assert isinstance(stage, NetworkStage)
    training = stage.training
    if batch:
        training = training.model_copy(update={"batch_size": batch, "min_steps": 1})
        training = for_batch_size(training, batch * larger, len(columns.rows("train")))
    stage = stage.model_copy(update={"threads": THREADS, "training": training})
    fitted, history = fit(stage, contract, columns, args.vectors, Execution())
    weights = b"".join(w.numpy().tobytes() for w in fitted.network.state_dict().values())
    auc = max(e["val_auc"] for e in history.evaluations)
    return {"auc": auc, "bytes": hash(weights), "steps": history.evaluations[-1]["step"]}


def agreement(names: list[str], args: argparse.Namespace) -> None:
    print("\n| rung | val AUC | the CPU's | difference | two fits' bytes |\n|---|---|---|---|---|")
    for name in names:
        one, other = fit_of(name, args), fit_of(name, args)
        command = [sys.executable, __file__, "--on-cpu", name, "--marts", args.marts, "--vectors", args.vectors]
        command += ["--mart", args.mart] if args.mart else []
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""})
        if done.returncode:
            sys.exit(f"{name} on the CPU failed:\n{done.stderr[-3000:]}")
        there = json.loads(done.stdout.splitlines()[-1])
        same = "equal" if one["bytes"] == other["bytes"] else "differ"
        auc, cpus = one["auc"], there["auc"]
        print(f"| {name} | {auc:.5f} | {cpus:.5f} | {auc - cpus:+.5f} | {same} |", flush=True)


def batches(args: argparse.Namespace) -> None:
    print("\n| 02_mmoe | updates | val AUC, mean of three seeds |\n|---|---|---|")
    for batch, larger in ((64, 1), (64, 16), (256, 1), (256, 16)):
        fits = [fit_of("02_mmoe", args, seed, batch, larger) for seed in (1, 2, 3)]
        aucs = [each["auc"] for each in fits]
        said = f"{statistics.mean(aucs):.5f} ({min(aucs):.5f} to {max(aucs):.5f})"
        print(f"| batches of {batch * larger:,} | {fits[0]['steps']} | {said} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--marts", type=Path)
    parser.add_argument("--mart")
    parser.add_argument("--vectors", type=Path, default=Path("data/vectors"))
    parser.add_argument("--rows", type=int, default=2_000_000, help="train rows of parts peers, rungs and host")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--stages", nargs="+", default=["02_mmoe", "05_content_tower", "09_interest"])
    parser.add_argument("--on-cpu", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.on_cpu:
        print(json.dumps(fit_of(args.on_cpu, args)))
        return
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU: the CPU"
    print(f"{name}, PyTorch {torch.__version__}, {args.rows:,} rows")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ.setdefault("FIRST_IMPRESSION_CACHE", scratch)
        if "peers" in args.only:
            peers(Path(scratch) / "peers", args.rows)
        if {"rungs", "host"} & set(args.only):
            contract = read_contract(args.marts, args.mart)
            whole = open_columns(contract)
            many = repeated(whole, args.rows)
            if "rungs" in args.only:
                rungs(args.stages, contract, whole, many, args.vectors)
            if "host" in args.only:
                host(contract, many, args.vectors)
            del many
        if "agreement" in args.only:
            agreement(args.stages, args)
        if "batches" in args.only:
            batches(args)
    print(f"\n{time.perf_counter() - started:.0f} s in all")


if __name__ == "__main__":
    main()
