"""Texts per second: this project's default path on CPU against sentence-transformers with its defaults.

    python benchmarks/embeddings/run.py --marts data/marts/movielens

Same texts, same weights, same number of threads, one process a run, runs alternating, in one go. The peer is installed
without dependencies into a folder of its own, so that it is never among this project's requirements. Reported: texts a
second of wall time and of CPU time (other work on the machine disturbs the first), peak resident memory of the whole
process, and how many of forty paraphrases find their partner.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PEER = "sentence-transformers==6.2.0"
ROOT = Path(__file__).parents[2]
PAIRS = ROOT / "tests" / "embeddings" / "paraphrases.tsv"
SIDES = ("ours", "peer")


def work(side: str, encoder: str, texts_file: Path, threads: int) -> dict:
    """One run in this process. Returns: seconds of wall and CPU for encoding, peak RSS in MB, retrieval hits."""
    texts = json.loads(texts_file.read_text(encoding="utf-8"))
    encode = _ours(encoder, threads) if side == "ours" else _peer(encoder, threads)
    encode(texts[:32])
    wall, cpu = time.perf_counter(), time.process_time()
    encode(texts)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"wall": wall, "cpu": cpu, "rss": peak, "hits": {name: _hits(encode, p) for name, p in _pairs().items()}}


def _ours(encoder: str, threads: int):
    from embeddings import Encoder

    return Encoder.open(encoder, threads=threads, device="cpu").encode


def _peer(encoder: str, threads: int):
    import torch
    from sentence_transformers import SentenceTransformer

    from embeddings.model import resolve

    torch.set_num_threads(threads)
    here = resolve(encoder)
    model = SentenceTransformer(str(here.folder), device="cpu")
    prefix = here.template.default.split("{text}")[0]
    return lambda texts: model.encode([prefix + text for text in texts])


def _pairs() -> dict[str, list[list[str]]]:
    out: dict[str, list[list[str]]] = {}
    for line in PAIRS.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            language, first, second = line.split("\t")
            out.setdefault(language, []).append([first, second])
    return out


def _hits(encode, pairs: list[list[str]]) -> int:
    a, b = (np.asarray(encode([pair[i] for pair in pairs])) for i in (0, 1))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return int(((a @ b.T).argmax(axis=1) == np.arange(len(pairs))).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--marts", type=Path, help="folder of one dataset's marts")
    parser.add_argument("--encoder", action="append", help="default: minilm and e5-small")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=int, help="take only this many texts, spread over the mart")
    parser.add_argument("--peer-path", type=Path, help="where the peer is installed; by default a temporary folder")
    parser.add_argument("--worker", nargs=3, metavar=("SIDE", "ENCODER", "TEXTS"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        side, encoder, texts = args.worker
        print(json.dumps(work(side, encoder, Path(texts), args.threads)))
        return
    if args.marts is None:
        parser.error("--marts is needed: the folder of one dataset's marts, for example data/marts/movielens")
    with tempfile.TemporaryDirectory() as scratch:
        compare(args, Path(scratch))


def compare(args: argparse.Namespace, scratch: Path) -> None:
    """Run both sides by turns and print the table."""
    sys.path.insert(0, str(ROOT))
    from embeddings import read_texts

    texts = [text for text in read_texts(args.marts).texts if text.strip()]
    if args.limit and args.limit < len(texts):
        texts = [texts[int(i)] for i in np.linspace(0, len(texts) - 1, args.limit)]
    texts_file = scratch / "texts.json"
    texts_file.write_text(json.dumps(texts), encoding="utf-8")
    peer = args.peer_path or scratch / "peer"
    if not peer.exists():
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", f"--target={peer}", PEER]
        subprocess.run(install, check=True)
    print(
        f"{len(texts):,} texts of {args.marts.name}, {args.threads} thread(s), median of {args.rounds} runs by turns\n"
    )
    print("| encoder | side | texts/s, wall | texts/s, CPU | peak RSS, MB | of 40 paraphrases, en / zh |")
    print("|---|---|---|---|---|---|", flush=True)
    for encoder in args.encoder or ["minilm", "e5-small"]:
        runs: dict[str, list[dict]] = {side: [] for side in SIDES}
        for _ in range(args.rounds):
            for side in SIDES:
                runs[side].append(_spawn(side, encoder, texts_file, args.threads, peer))
        _report(encoder, runs, len(texts))


def _spawn(side: str, encoder: str, texts: Path, threads: int, peer: Path) -> dict:
    path = [str(ROOT), str(peer)] if side == "peer" else [str(ROOT)]
    fixed = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads)}
    environment = {**os.environ, **fixed, "PYTHONPATH": os.pathsep.join(path)}
    command = [sys.executable, __file__, "--threads", str(threads), "--worker", side, encoder, str(texts)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"The run of {side} with {encoder} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _report(encoder: str, runs: dict[str, list[dict]], n_texts: int) -> None:
    medians = {s: {k: statistics.median(run[k] for run in runs[s]) for k in ("wall", "cpu", "rss")} for s in SIDES}
    for side, label in (("ours", "First Impression"), ("peer", PEER)):
        m, hits = medians[side], runs[side][0]["hits"]
        rates = f"{n_texts / m['wall']:,.0f} | {n_texts / m['cpu']:,.0f}"
        print(f"| {encoder} | {label} | {rates} | {m['rss']:,.0f} | {hits['english']} / {hits['chinese']} |")
    wall, cpu, rss = (medians["peer"][k] / medians["ours"][k] for k in ("wall", "cpu", "rss"))
    print(f"| {encoder} | ratio | {wall:.2f}x | {cpu:.2f}x | {1 / rss:.2f} of the peer's | |", flush=True)


if __name__ == "__main__":
    main()
