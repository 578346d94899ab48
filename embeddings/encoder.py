"""Texts to vectors: the only module that knows what a text encoder is."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from embeddings import int8
from embeddings.batching import Batch, longest_first, plan_batches
from embeddings.device import DeviceQueue
from embeddings.errors import EmbeddingsError, require_extra
from embeddings.head import Head, Normalize, labels
from embeddings.model import Model, resolve
from embeddings.recipe import DTYPES, Recipe, Template
from embeddings.tokens import TextTokenizer, Tokens
from embeddings.torch_engine import TorchEngine, cuda_wanted, fast_bf16, fast_tokenizer
from storage.ahead import ahead

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Tokens in a batch on a CPU, where its activations should stay in the cache. On a GPU its memory decides.
_CPU_TOKENS = 512
# For a GPU, a thread tokenises this much at a time; whichever comes first.
_CHUNK_TEXTS, _CHUNK_CHARACTERS = 8192, 1_048_576


def available_threads() -> int:
    """Physical cores that this process may use (hyper-threads slow each other down here)."""
    import psutil

    cores = {psutil.cpu_count(logical=False) or 1, os.cpu_count() or 1}
    if hasattr(os, "sched_getaffinity"):
        cores.add(len(os.sched_getaffinity(0)))
    try:  # a container's share, as "quota period" in microseconds
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        cores.add(max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass
    return min(cores)


class Encoder:
    """An encoder that is ready to run.

    >>> encoder = Encoder.open("minilm")
    >>> encoder.encode(["Toy Story (1995)", "Jumanji (1995)"]).shape
    (2, 384)
    """

    def __init__(
        self,
        recipe: Recipe,
        engine: TorchEngine | int8.Int8Engine,
        tokenizer: Tokenizer,
        head: Head,
        *,
        workers: int,
        batch_tokens: int,
        queue: DeviceQueue | None = None,
        cut_start: bool = False,
        notes: Sequence[str] = (),
    ):
        """Args: batch_tokens, the most tokens in a batch; queue, what computes the batches instead of `workers` threads
        with a core each."""
        self.recipe = recipe
        self.dim: int = head.width(engine.dim)
        self._head = head
        self.notes = tuple(notes)
        self._engine = engine
        self._tokenizer = tokenizer
        self._workers = workers
        self._queue = queue
        self.batch_tokens = batch_tokens
        self.n_tokens = self.n_computed = 0  # encoded so far; and with the padding that was computed
        self._texts = TextTokenizer(recipe, tokenizer, cut_start)

    @classmethod
    def open(
        cls,
        name: str,
        *,
        pooling: str | None = None,
        template: str | Template | None = None,
        dtype: str = "auto",
        device: str = "auto",
        threads: int | None = None,
        max_tokens: int | None = None,
    ) -> Encoder:
        """A name of the catalogue, a folder or a hub id -> an encoder.

        Args: pooling, "mean", "cls", "last", "max", "mean_sqrt_len", "weightedmean", or several joined by "+";
        template, what is written around a text, with `{text}` in it (None takes the catalogue's, or the folder's own,
        for both); device, "auto", "cpu" or "cuda"; threads, on a CPU, None for all physical cores; max_tokens, the
        longest text, None for what the model takes.
        dtype "auto": on CUDA bf16; on a CPU int8 for BERT types where its vectors stay within 0.97 cosine of float32
        on this processor, else fp32; for decoders bf16 where the processor has it (their int8 form takes minutes to
        make, and pays off only from some ten thousand texts on, so it is never chosen by default).
        Raises: EmbeddingsError for an unknown or missing model, and for options that don't fit it.
        """
        require_extra("embeddings", "Encoding texts")
        if dtype not in ("auto", *DTYPES):
            raise EmbeddingsError(f"Unknown dtype {dtype!r}: expected one of auto, {', '.join(DTYPES)}.")
        if device not in ("auto", "cpu", "cuda"):
            raise EmbeddingsError(f"Unknown device {device!r}: expected one of auto, cpu, cuda.")
        if isinstance(template, str):
            template = Template(template)
        model = resolve(name, pooling=pooling, template=template)
        limit = _token_limit(model, max_tokens)
        threads = threads or available_threads()
        # Before the tokenizer's first use; it would otherwise take every core it sees.
        os.environ.setdefault("RAYON_NUM_THREADS", str(threads))
        cuda = cuda_wanted(device)
        if cuda and dtype == "int8":
            raise EmbeddingsError("int8 runs on the CPU: use --device cpu with it, or --dtype bf16 on CUDA.")
        notes: list[str] = []
        if dtype == "auto":
            dtype, notes = _choose_dtype(model, cuda)
        recipe = Recipe(
            encoder=model.name,
            revision=model.revision,
            pooling=model.pooling,
            template=model.template,
            normalize=model.normalize,
            max_tokens=limit,
            dtype=dtype,
            device="cuda" if cuda else "cpu",
            steps=labels(model.steps),
            lower_case=model.lower_case,
            prompt_in_pooling=model.prompt_in_pooling,
        )
        if dtype == "int8":
            home, _ = int8.ensure(model.folder, model.revision, model.max_tokens, lower_case=model.lower_case)
            engine: TorchEngine | int8.Int8Engine = int8.Int8Engine(home)
            tokenizer = fast_tokenizer(home)
        else:
            engine = network = TorchEngine(model.folder, dtype=dtype, device="cuda" if cuda else "cpu")
            tokenizer = fast_tokenizer(model.folder, lower_case=model.lower_case)
            network.check_tokenizer(tokenizer)
        queue, batch_tokens = None, _CPU_TOKENS
        if cuda:
            queue = DeviceQueue(network, model.pooling)
            batch_tokens = queue.fitting_tokens(limit)
        return cls(
            recipe,
            engine,
            tokenizer,
            _head(model),
            workers=threads,
            batch_tokens=batch_tokens,
            queue=queue,
            cut_start=model.cut_start,
            notes=[*model.notes, *notes],
        )

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """As TextTokenizer.tokenize."""
        return self._texts.tokenize(texts)

    def encode(self, texts: Sequence[str] | Tokens, *, progress: Callable[[int], None] = lambda _: None) -> np.ndarray:
        """One vector per text.

        Args: progress, called with the number of texts done since the last call.
        Shapes: N texts -> (N, D), float32; unit length where the recipe normalises.
        Raises: EmbeddingsError where a vector is not finite, or where a GPU has too little memory.
        """
        texts = texts if isinstance(texts, Tokens) else list(texts)
        n_texts = len(texts.ids) if isinstance(texts, Tokens) else len(texts)
        out_ND = np.empty((n_texts, self.dim), np.float32)
        run = self._on_cores if self._queue is None else self._on_device
        with closing(self._batches(texts)) as batches, closing(run(batches)) as done:
            for batch, vectors_BD in done:
                out_ND[batch.at_B] = vectors_BD
                self.n_tokens += int(batch.lengths_B.sum())
                self.n_computed += batch.n_computed
                progress(len(batch.at_B))
        bad = np.flatnonzero(~np.isfinite(out_ND).all(axis=1))
        if len(bad):
            raise EmbeddingsError(
                f"{self.recipe.encoder} gave {len(bad)} of {len(out_ND)} texts a vector that is not finite. Its"
                f" activations overflow in {self.recipe.dtype}: use --dtype fp32."
            )
        return out_ND

    def _batches(self, texts: Sequence[str] | Tokens) -> Generator[Batch, None, None]:
        """The texts in batches. A GPU gets the first ones while a thread tokenises the next texts."""
        if isinstance(texts, Tokens):
            yield from self._plan(np.arange(len(texts.ids)), texts)
            return
        groups: Iterable[np.ndarray] = [np.arange(len(texts))]
        if self._queue is not None:
            groups = longest_first(texts, max_texts=_CHUNK_TEXTS, max_characters=_CHUNK_CHARACTERS)

        def tokenized(at_N: np.ndarray) -> tuple[np.ndarray, Tokens]:
            return at_N, self.tokenize([texts[i] for i in at_N])

        with closing(ahead(tokenized, groups, depth=2)) as chunks:
            for at_N, tokens in chunks:
                yield from self._plan(at_N, tokens)

    def _plan(self, at_N: np.ndarray, tokens: Tokens) -> Iterator[Batch]:
        lengths_N, starts_N = np.array([len(ids) for ids in tokens.ids], int), np.array(tokens.starts, int)
        for rows in plan_batches(lengths_N.tolist(), max_tokens=self.batch_tokens, same_length=not self._engine.pads):
            yield Batch(at_N[rows], [tokens.ids[i] for i in rows], lengths_N[rows], starts_N[rows])

    def _on_cores(self, batches: Iterable[Batch]) -> Generator[tuple[Batch, np.ndarray], None, None]:
        def run(batch: Batch) -> tuple[Batch, np.ndarray]:
            return batch, self._head(self._engine.states(batch.ids), batch.lengths_B, batch.starts_B)

        # A thread per batch and a core per thread: threads that share one product wait for each other at every layer,
        # and on a busy machine they wait most of the time.
        with ThreadPoolExecutor(self._workers) as pool:
            yield from pool.map(run, batches)

    def _on_device(self, batches: Iterable[Batch]) -> Generator[tuple[Batch, np.ndarray], None, None]:
        assert self._queue is not None
        with closing(self._queue.pooled(batches)) as done:
            for batch, pooled_BD in done:
                yield batch, self._head.after_pooling(pooled_BD)


def _head(model: Model) -> Head:
    return Head(model.pooling, (*model.steps, *([Normalize()] if model.normalize else [])))


def _choose_dtype(model: Model, cuda: bool) -> tuple[str, list[str]]:
    if cuda:
        return "bf16", []
    if model.kind == "decoder":
        return ("bf16" if fast_bf16() else "fp32"), []
    try:
        home, _ = int8.ensure(model.folder, model.revision, model.max_tokens, lower_case=model.lower_case)
    except EmbeddingsError as error:
        return "fp32", [f"fp32 instead of int8: {error}"]
    near = int8.nearness(home, _head(model))["min"]
    if near < int8.MIN_COSINE:
        return "fp32", [f"fp32 instead of int8: on this processor int8 comes only within {near:.3f} cosine of float32."]
    return "int8", []


def _token_limit(model: Model, max_tokens: int | None) -> int:
    if max_tokens is None:
        return model.max_tokens
    if not 8 <= max_tokens <= model.max_tokens:
        raise EmbeddingsError(f"--max-tokens {max_tokens}: expected 8 to {model.max_tokens} for {model.name}.")
    return max_tokens
