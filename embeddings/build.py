"""Texts -> vectors in a store: only what is missing, one shard at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from embeddings.batching import longest_first
from embeddings.encoder import Encoder
from embeddings.fallback import Saving, select
from embeddings.store import VectorStore
from embeddings.texts import Texts
from embeddings.tokens import Tokens
from storage.ahead import ahead

# A shard ends at whichever comes first. Units: texts, characters.
SHARD_TEXTS, SHARD_CHARACTERS = 2048, 131_072
_LLM_SHARD = 256  # a decoder is ten times slower, and a shard is what a kill can cost
_CUDA_SHARDS = 8  # as many times larger are shards made on a GPU: smaller ones don't fill it


@dataclass(frozen=True)
class BuildReport:
    """What a build did. Units: n_* texts; seconds of wall time; encoding and skipped counts add up to n_texts."""

    store: str
    n_texts: int
    n_encoded: int
    n_already_there: int
    n_empty: int
    n_warm_only: int
    n_unused: int
    n_unasked: int
    n_cut: int
    n_repaired: int
    n_shards: int
    seconds: float
    saving: Saving


class Encoded(NamedTuple):
    """A shard to be written. Units: n_cut texts that lost their end, n_tokens tokens."""

    ids: list[int]
    vectors_ND: np.ndarray
    n_cut: int
    n_tokens: int


Progress = Callable[[int, int], None]  # texts and characters done since the last call
Encode = Callable[[list[Texts], Encoder, Path, Progress], Generator[Encoded]]


def shards_of(texts: Texts, *, max_texts: int, max_characters: int = SHARD_CHARACTERS) -> Iterator[np.ndarray]:
    """Positions of texts, grouped into shards: longest texts first, so that the estimated time only falls.

    What is left after a kill is cut at the same places as before, so a resumed build writes the same shards.
    """
    return longest_first(texts.texts, max_texts=max_texts, max_characters=max_characters)


def encode_here(shards: list[Texts], encoder: Encoder, store: Path, progress: Progress) -> Generator[Encoded]:
    """Encode shard by shard in this process. While one is encoded, the next ones are tokenised."""

    def tokenized(part: Texts) -> tuple[Texts, Tokens]:
        return part, encoder.tokenize(part.texts)

    with closing(ahead(tokenized, shards, depth=2)) as tokenized_shards:
        for part, tokens in tokenized_shards:
            mean_length = sum(map(len, part.texts)) / len(part)
            # Progress is counted in characters, because long texts take longer; a batch reports its share of the shard.

            def encoded(n: int, size: float = mean_length) -> None:
                progress(n, round(n * size))

            yield Encoded(part.ids, encoder.encode(tokens, progress=encoded), tokens.n_cut, tokens.n_tokens)


def build(
    texts: Texts,
    encoder: Encoder,
    root: Path | str,
    *,
    only: str = "all",
    user_texts: str = "cold",
    shard_texts: int | None = None,
    encode: Encode = encode_here,
    started: Callable[[int, int], None] = lambda n_texts, n_characters: None,
    progress: Progress = lambda n_texts, n_characters: None,
) -> BuildReport:
    """Encode the texts that the store lacks.

    Args: only and user_texts as in `fallback.select`; encode, what makes the vectors of shards that are for the store's
    folder, in their order; started, called once with what there is to do; progress, called
    with what was done since the last call.
    Raises: EmbeddingsError as `select`, `VectorStore.writer` and `Encoder.encode` do.
    """
    chosen = select(texts, only=only, user_texts=user_texts)
    wanted = texts.take(chosen.wanted)
    larger = _CUDA_SHARDS if encoder.recipe.device == "cuda" else 1
    max_texts = shard_texts or larger * (_LLM_SHARD if "last" in encoder.recipe.pooling else SHARD_TEXTS)
    with VectorStore.writer(root, encoder.recipe, encoder.dim) as store:
        there = store.has(wanted.ids)
        todo = wanted.take(~there)
        started(len(todo), sum(map(len, todo.texts)))
        begin, n_cut, n_tokens = time.perf_counter(), 0, 0
        n_shards = 0
        cut = shards_of(todo, max_texts=max_texts, max_characters=larger * SHARD_CHARACTERS)
        shards = [todo.take(shard) for shard in cut]
        # While a shard is encoded, the one before is written.
        with closing(encode(shards, encoder, store.path, progress)) as made, ThreadPoolExecutor(1) as writer:
            writing: Future | None = None
            for one in made:
                if writing is not None:
                    writing.result()
                writing = writer.submit(store.append, one.ids, one.vectors_ND)
                n_cut += one.n_cut
                n_tokens += one.n_tokens
                n_shards += 1
            if writing is not None:
                writing.result()
        seconds = time.perf_counter() - begin
        left_out = texts.take(chosen.warm_only)
        n_left_out = encoder.tokenize(left_out.texts).n_tokens
        saving = Saving(
            tokens_encoded=n_tokens,
            tokens_already_there=encoder.tokenize(wanted.take(there).texts).n_tokens,
            n_left_out=len(left_out),
            tokens_left_out=n_left_out,
            seconds_saved=seconds / n_tokens * n_left_out if n_tokens else None,
        )
        return BuildReport(
            store=str(store.path),
            n_texts=len(texts),
            n_encoded=len(todo),
            n_already_there=int(there.sum()),
            n_empty=int(chosen.empty.sum()),
            n_warm_only=int(chosen.warm_only.sum()),
            n_unused=int(chosen.unused.sum()),
            n_unasked=int(chosen.unasked.sum()),
            n_cut=n_cut,
            n_repaired=len(texts.repaired),
            n_shards=n_shards,
            seconds=seconds,
            saving=saving,
        )
