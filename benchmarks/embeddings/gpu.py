"""Texts per second on one GPU: `Encoder.encode` and `embeddings build`, beside sentence-transformers where it is there.

    python benchmarks/embeddings/gpu.py
    python benchmarks/embeddings/gpu.py --device cpu --texts 500     # the same on a machine without a GPU

Needs no download: the model is a BERT of 12 layers, 384 wide, with random weights (speed doesn't depend on them), its
tokenizer is trained here, and the texts are generated, 38 tokens on average, of log-normal lengths. Both sides get the
same folder, texts and precision, in one process, one after the other. Runs from a checkout, installed or not.
Reported: texts and tokens per second of wall time (median of the rounds, tokenising included, after a warm-up with a
tenth of the texts; the first round also by itself, because the device hasn't seen the shapes of its batches), the
padding that was computed, the device's peak memory, its utilisation as nvidia-smi samples it during the rounds, how far
vectors are from the CPU's float32 and from the peer's, and whether two rounds gave the same bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from benchmarks.utilisation import sampled_utilisation  # noqa: E402

MEAN_TOKENS, SPREAD = 38, 0.6  # of a text; SPREAD is the standard deviation of the logarithm of its words
N_WORDS = 20_000
N_COMPARED = 200


@dataclass
class Rounds:
    """Seconds of each round, and what the device did meanwhile."""

    seconds: list[float] = field(default_factory=list)
    utilisation: list[int] = field(default_factory=list)
    peak_gb: float | None = None

    def row(self, name: str, n_texts: int, n_tokens: int, padding: float | None) -> str:
        seconds = statistics.median(self.seconds)
        cells = [
            name,
            f"{n_texts / seconds:,.0f}",
            f"{n_tokens / seconds:,.0f}",
            f"{n_texts / self.seconds[0]:,.0f}",
            "" if padding is None else f"{padding:.1%}",
            "" if self.peak_gb is None else f"{self.peak_gb:.2f}",
            f"{statistics.mean(self.utilisation):.0f}%" if self.utilisation else "",
        ]
        return "| " + " | ".join(cells) + " |"


HEADER = """\
| | texts/s | tokens/s | texts/s, first round | padding | peak GPU memory, GB | GPU utilisation |
|---|---|---|---|---|---|---|"""


# -- the model and the texts -------------------------------------------------------------------------------------------


def make_words(rng: np.random.Generator) -> list[str]:
    syllables = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "er", "is")]
    sizes = rng.integers(1, 5, N_WORDS)
    return ["".join(rng.choice(syllables, size)) for size in sizes]


def make_texts(words: list[str], n_texts: int, mean_words: float, rng: np.random.Generator) -> list[str]:
    """Words as often as in natural language (Zipf), numbers of words log-normal."""
    sizes_N = np.maximum(1, rng.lognormal(np.log(mean_words) - SPREAD**2 / 2, SPREAD, n_texts).round().astype(int))
    weights = 1 / np.arange(1, len(words) + 1)
    drawn = rng.choice(len(words), int(sizes_N.sum()), p=weights / weights.sum())
    return [" ".join(words[i] for i in part) for part in np.split(drawn, np.cumsum(sizes_N)[:-1])]


def make_model(folder: Path, words: list[str], args: argparse.Namespace, rng: np.random.Generator) -> None:
    """A BERT with random weights and a WordPiece tokenizer, as sentence-transformers keeps a model."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=8000, special_tokens=[*special.values()], show_progress=False)
    tokenizer.train_from_iterator(make_texts(words, 4000, 30, rng), trainer)
    marks = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=marks)

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=30_522,
        hidden_size=args.width,
        num_hidden_layers=args.layers,
        num_attention_heads=max(1, args.width // 32),
        intermediate_size=4 * args.width,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=512, **special).save_pretrained(folder)
    kinds = ("Transformer", "Pooling", "Normalize")
    modules = [
        {"idx": i, "name": str(i), "path": f"{i}_{kind}" if i else "", "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    for i, kind in enumerate(kinds[1:], 1):
        (folder / f"{i}_{kind}").mkdir()
    pooling = {"word_embedding_dimension": args.width, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 512}))


# -- measuring ---------------------------------------------------------------------------------------------------------


def measure(work: Callable[[], Any], on_gpu: bool, seconds: float) -> tuple[Rounds, list[Any]]:
    """Two rounds at least, and more until `seconds` have passed. Returns: their times, and the first two results."""
    import torch

    rounds, results = Rounds(), []
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    with sampled_utilisation(on_gpu) as samples:
        while len(rounds.seconds) < 2 or sum(rounds.seconds) < seconds:
            begin = time.perf_counter()
            result = work()
            rounds.seconds.append(time.perf_counter() - begin)
            results = [*results, result][:2]
    rounds.utilisation = samples
    rounds.peak_gb = torch.cuda.max_memory_allocated() / 1e9 if on_gpu else None
    return rounds, results


def unit(x_ND: np.ndarray) -> np.ndarray:
    x_ND = np.asarray(x_ND, np.float64)
    return x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)


def build_rate(encoder: Any, texts: list[str], folder: Path) -> str:
    """`embeddings build` into two new stores: its rate, and whether their shards are the same bytes."""
    from embeddings.build import build
    from embeddings.texts import Texts

    texts = list(dict.fromkeys(texts))
    n = np.full(len(texts), 2)
    mart = Texts(list(range(len(texts))), texts, np.full(len(texts), "title"), n, n, n)
    shards, seconds = [], []
    for name in ("one", "other"):
        begin = time.perf_counter()
        report = build(mart, encoder, folder / name)
        seconds.append(time.perf_counter() - begin)
        manifest = json.loads((Path(report.store) / "manifest.json").read_text(encoding="utf-8"))
        shards.append([shard["sha256"] for shard in manifest["shards"]])
    same = "the same bytes" if shards[0] == shards[1] else "DIFFERENT bytes"
    return f"{len(texts) / min(seconds):,.0f} texts/s into a store; two builds: {same} in {len(shards[0])} shards"


def peer_rows(
    folder: Path, texts: list[str], ours_ND: np.ndarray, dtype: str, args: argparse.Namespace
) -> Iterator[str]:
    """sentence-transformers on the same folder, with its default batch and with a large one."""
    try:
        import sentence_transformers
    except ImportError:
        yield "sentence-transformers isn't installed here, so there is no figure beside."
        return
    import torch

    kinds = {"bf16": torch.bfloat16, "fp32": torch.float32}
    if dtype not in kinds:
        yield f"sentence-transformers has no {dtype}, so there is no figure beside."
        return
    model = sentence_transformers.SentenceTransformer(
        str(folder), device=args.device, model_kwargs={"dtype": kinds[dtype]}
    )
    some = texts[: args.peer_texts]
    for size in (32, 512):

        def encode(size: int = size) -> Any:
            return model.encode(some, batch_size=size, show_progress_bar=False)

        model.encode(texts[:size], batch_size=size, show_progress_bar=False)
        rounds, results = measure(encode, args.device == "cuda", 0)
        name = f"sentence-transformers {sentence_transformers.__version__}, batch of {size}"
        n_tokens = sum(len(ids) for ids in model.tokenizer(some)["input_ids"])
        yield rounds.row(name, len(some), n_tokens, None)
    cosines = (unit(results[0]) * unit(ours_ND[: len(some)])).sum(axis=1)
    yield f"\nThe two sides' vectors of {len(some):,} texts: cosine at least {cosines.min():.6f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument(
        "--dtype", choices=("auto", "bf16", "fp32", "int8"), help="default: auto on CUDA, fp32 on a CPU"
    )
    parser.add_argument("--texts", type=int, default=50_000)
    parser.add_argument("--peer-texts", type=int, default=10_000, help="how many of them the peer encodes")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--seconds", type=float, default=6, help="rounds are repeated for so long")
    args = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        compare(args, Path(scratch))
    print(f"\nAll of it took {time.perf_counter() - began:,.0f} s.")


def compare(args: argparse.Namespace, scratch: Path) -> None:
    import torch
    import transformers

    from embeddings import Encoder

    on_gpu = args.device == "cuda"
    rng = np.random.default_rng(0)
    folder = scratch / "model"
    folder.mkdir()
    words = make_words(rng)
    make_model(folder, words, args, rng)
    dtype = args.dtype or ("auto" if on_gpu else "fp32")
    encoder = Encoder.open(str(folder), device=args.device, dtype=dtype)
    dtype = encoder.recipe.dtype
    # Words per text so that texts have MEAN_TOKENS on average, the two special tokens included.
    sample = make_texts(words, 2000, 30, rng)
    per_word = (encoder.tokenize(sample).n_tokens / len(sample) - 2) / np.mean([len(text.split()) for text in sample])
    texts = make_texts(words, args.texts, (MEAN_TOKENS - 2) / per_word, rng)
    lengths = [len(ids) for ids in encoder.tokenize(texts).ids]
    n_tokens = sum(lengths)
    low, median, high, longest = (int(q) for q in np.quantile(lengths, [0.05, 0.5, 0.95, 1]))
    device = torch.cuda.get_device_name(0) if on_gpu else f"CPU, {encoder._workers} threads"
    print(f"{device}; torch {torch.__version__}, transformers {transformers.__version__}, {os.cpu_count()} cores")
    print(f"BERT, {args.layers} layers, {args.width} wide, {dtype}; up to {encoder.batch_tokens:,} tokens in a batch")
    print(f"{len(texts):,} texts, {n_tokens / len(texts):.1f} tokens on average;", end=" ")
    print(f"5% {low}, median {median}, 95% {high}, longest {longest}\n")

    encoder.encode(texts[: max(1, len(texts) // 10)])
    before = encoder.n_tokens, encoder.n_computed
    rounds, results = measure(lambda: encoder.encode(texts), on_gpu, args.seconds)
    padding = 1 - (encoder.n_tokens - before[0]) / (encoder.n_computed - before[1])
    print(HEADER)
    print(rounds.row("First Impression, Encoder.encode", len(texts), n_tokens, padding), flush=True)
    try:
        for row in peer_rows(folder, texts, results[0], dtype, args):
            print(row, flush=True)
    except Exception as error:  # the peer's own; the rest of what is measured here doesn't need it
        print(f"sentence-transformers ended with {type(error).__name__}: {error}")

    same = "the same bytes" if np.array_equal(*results) else "DIFFERENT bytes"
    print(f"\ntwo rounds: {same}")
    chosen = rng.choice(len(texts), min(N_COMPARED, len(texts)), replace=False)
    some = [texts[i] for i in chosen]
    exact_ND = unit(Encoder.open(str(folder), device="cpu", dtype="fp32").encode(some))
    found_ND, alone_ND = unit(results[0][chosen]), unit(encoder.encode(some))
    other = np.median((exact_ND * np.roll(exact_ND, 1, axis=0)).sum(axis=1))
    for name, a_ND, b_ND in (
        (f"{dtype} on {args.device} and float32 on the CPU", found_ND, exact_ND),
        (f"{dtype} among {len(texts):,} texts and among {len(some)}", found_ND, alone_ND),
    ):
        cosines, largest = (a_ND * b_ND).sum(axis=1), np.abs(a_ND - b_ND).max()
        print(f"{name}: cosine at least {cosines.min():.6f}, numbers differ by at most {largest:.6f}", end=" ")
        print(f"({len(some)} texts; two different texts have {other:.3f})")
    print(f"embeddings build: {build_rate(encoder, texts, scratch / 'stores')}")


if __name__ == "__main__":
    main()
