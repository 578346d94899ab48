"""Texts to vectors: the only module that knows what a text encoder is."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from embeddings import int8
from embeddings.batching import plan_batches
from embeddings.errors import EmbeddingsError, require_extra
from embeddings.head import Head, Normalize, labels
from embeddings.model import Model, resolve
from embeddings.recipe import DTYPES, Recipe, Template
from embeddings.torch_engine import TorchEngine, cuda_wanted, fast_bf16, fast_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Tokens in a batch. On a CPU the activations of a batch should stay in its cache; a GPU needs to be full.
_CPU_TOKENS, _CUDA_TOKENS = 512, 32768
# A text is cut to this many characters per token before it is tokenised: no vocabulary here has longer words
# on average, and 100,000 characters would be tokenised for nothing.
_CHARACTERS_A_TOKEN = 16
# Where a text is cut, it and the template after it may form more tokens together than apart.
_SLACK = 2


@dataclass(frozen=True)
class Tokens:
    """Texts as token ids, ready to encode. `n_cut` of them were longer than the model's limit and were cut at the end.

    `starts` is the first token of each that pooling counts: 0, or the one after a prompt that doesn't count.
    """

    ids: list[list[int]]
    n_cut: int
    starts: list[int]

    @property
    def n_tokens(self) -> int:
        return sum(map(len, self.ids))


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
        cut_start: bool = False,
        notes: Sequence[str] = (),
    ):
        self.recipe = recipe
        self.dim: int = head.width(engine.dim)
        self._head = head
        self._cut_start = cut_start
        self.notes = tuple(notes)
        self._engine = engine
        self._tokenizer = tokenizer
        self._workers = workers
        self._batch_tokens = batch_tokens
        self._lengths_of_parts: dict[str, int] = {"": 0}
        self._lengths_of_prompts: dict[str, int] = {"": 0}
        tokenizer.no_padding()
        tokenizer.no_truncation()
        empty = tokenizer.encode("")
        self._n_special = len(empty.ids)
        if any(empty.type_ids):
            raise EmbeddingsError(
                f"The tokenizer of {recipe.encoder} marks tokens with types other than 0, which isn't supported here."
                " Take another encoder: `embeddings models` lists some."
            )
        tokenizer.enable_truncation(recipe.max_tokens, direction="left" if cut_start else "right")

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
        workers, batch_tokens = (1, _CUDA_TOKENS) if cuda else (threads, _CPU_TOKENS)
        return cls(
            recipe,
            engine,
            tokenizer,
            _head(model),
            workers=workers,
            batch_tokens=batch_tokens,
            cut_start=model.cut_start,
            notes=[*model.notes, *notes],
        )

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Template and token ids. A text that is too long is cut at its end; the template never is.

        Raises: EmbeddingsError where the template alone fills the longest text.
        """
        template, limit, from_end = self.recipe.template, self.recipe.max_tokens, self._cut_start
        prepared, n_cut, starts = [], 0, []
        for text in texts:
            short = text[-limit * _CHARACTERS_A_TOKEN :] if from_end else text[: limit * _CHARACTERS_A_TOKEN]
            before, after = template.around(short)
            room = limit - self._n_special - self._n_tokens(before) - self._n_tokens(after)
            if room < 1:
                raise EmbeddingsError(
                    f"The template {before + '{text}' + after!r} takes all {limit} tokens that"
                    f" {self.recipe.encoder} reads at most. Give a shorter one with --template, or raise --max-tokens."
                )
            # Fewer characters than tokens of room can't be too long, except for bytes: a character has at most four.
            if len(short) * 4 > room:
                encoding = self._tokenizer.encode(short, add_special_tokens=False)
                whole = len(encoding.ids) <= room and not encoding.overflowing and len(short) == len(text)
                if not whole:
                    n_cut += 1
                    if encoding.ids and (before if from_end else after):
                        kept = max(1, room - _SLACK)
                        short = (
                            short[encoding.offsets[-kept:][0][0] :]
                            if from_end
                            else short[: encoding.offsets[:kept][-1][1]]
                        )
                    # Where nothing follows the text, the tokenizer's own cut is exact.
            prepared.append(before + short + after)
            starts.append(0 if self.recipe.prompt_in_pooling else self._n_prompt(before))
        encodings = self._tokenizer.encode_batch_fast(prepared)
        return Tokens([encoding.ids for encoding in encodings], n_cut, starts)

    def encode(self, texts: Sequence[str] | Tokens, *, progress: Callable[[int], None] = lambda _: None) -> np.ndarray:
        """One vector per text.

        Args: progress, called with the number of texts done, from any thread.
        Shapes: N texts -> (N, D), float32; unit length where the recipe normalises.
        Raises: EmbeddingsError where a vector is not finite.
        """
        tokens = texts if isinstance(texts, Tokens) else self.tokenize(texts)
        out_ND = np.empty((len(tokens.ids), self.dim), np.float32)
        lengths = [len(ids) for ids in tokens.ids]
        batches = plan_batches(lengths, max_tokens=self._batch_tokens, same_length=not self._engine.pads)

        def run(batch: np.ndarray) -> None:
            states_BSD = self._engine.states([tokens.ids[i] for i in batch])
            starts_B = np.array([tokens.starts[i] for i in batch])
            out_ND[batch] = self._head(states_BSD, np.array([lengths[i] for i in batch]), starts_B)
            progress(len(batch))

        # A thread a batch and a core a thread: threads that share one product wait for each other at every layer, and
        # on a busy machine they wait most of the time.
        with ThreadPoolExecutor(self._workers) as pool:
            list(pool.map(run, batches))
        bad = np.flatnonzero(~np.isfinite(out_ND).all(axis=1))
        if len(bad):
            raise EmbeddingsError(
                f"{self.recipe.encoder} gave {len(bad)} of {len(out_ND)} texts a vector that is not finite. Its"
                f" activations overflow in {self.recipe.dtype}: use --dtype fp32."
            )
        return out_ND

    def _n_tokens(self, part: str) -> int:
        """Tokens of a part of the template; there are only two or four of them."""
        if part not in self._lengths_of_parts:
            self._lengths_of_parts[part] = len(self._tokenizer.encode(part, add_special_tokens=False).ids)
        return self._lengths_of_parts[part]

    def _n_prompt(self, before: str) -> int:
        """Tokens that a prompt adds before a text, the leading special ones included.

        Source: sentence-transformers' `Transformer._get_prompt_length`: the prompt is tokenized alone, and a special
        token at its end isn't the prompt's.
        """
        if before not in self._lengths_of_prompts:
            ids = self._tokenizer.encode(before).ids
            last = self._tokenizer.get_added_tokens_decoder().get(ids[-1])
            self._lengths_of_prompts[before] = len(ids) - int(last is not None and last.special)
        return self._lengths_of_prompts[before]


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
