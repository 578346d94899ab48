"""Texts -> vectors in a store: only what is missing, one shard at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embeddings.encoder import Encoder
from embeddings.fallback import Saving, select
from embeddings.store import VectorStore
from embeddings.texts import Texts

# A shard ends at whichever comes first. Units: texts, characters.
SHARD_TEXTS, SHARD_CHARACTERS = 2048, 131_072
_LLM_SHARD = 256  # a decoder is ten times slower, and a shard is what a kill can cost


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


def shards_of(texts: Texts, *, max_texts: int) -> Iterator[np.ndarray]:
    """Positions of texts, grouped into shards: longest texts first, so that the estimated time only falls.

    What is left after a kill is cut at the same places as before, so a resumed build writes the same shards.
    """
    lengths = [len(text) for text in texts.texts]
    order = sorted(range(len(texts)), key=lambda i: -lengths[i])  # of equal lengths: in the order of their ids
    shard, n_characters = [], 0
    for i in order:
        shard.append(i)
        n_characters += lengths[i]
        if len(shard) == max_texts or n_characters >= SHARD_CHARACTERS:
            yield np.array(shard)
            shard, n_characters = [], 0
    if shard:
        yield np.array(shard)


def build(
    texts: Texts,
    encoder: Encoder,
    root: Path | str,
    *,
    only: str = "all",
    user_texts: str = "cold",
    shard_texts: int | None = None,
    started: Callable[[int, int], None] = lambda n_texts, n_characters: None,
    progress: Callable[[int, int], None] = lambda n_texts, n_characters: None,
) -> BuildReport:
    """Encode the texts that the store lacks.

    Args: only and user_texts as in `fallback.select`; started, called once with what there is to do; progress, called
    with what was done since the last call.
    Raises: EmbeddingsError as `select`, `VectorStore.writer` and `Encoder.encode` do.
    """
    chosen = select(texts, only=only, user_texts=user_texts)
    wanted = texts.take(chosen.wanted)
    max_texts = shard_texts or (_LLM_SHARD if "last" in encoder.recipe.pooling else SHARD_TEXTS)
    with VectorStore.writer(root, encoder.recipe, encoder.dim) as store:
        there = store.has(wanted.ids)
        todo = wanted.take(~there)
        started(len(todo), sum(map(len, todo.texts)))
        begin, n_cut, n_tokens = time.perf_counter(), 0, 0
        n_shards = 0
        for shard in shards_of(todo, max_texts=max_texts):
            part = todo.take(shard)
            tokens = encoder.tokenize(part.texts)
            mean_length = sum(map(len, part.texts)) / len(part)
            # Progress is counted in characters, because long texts take longer; a batch reports its share of the shard.

            def encoded(n: int, size: float = mean_length) -> None:
                progress(n, round(n * size))

            vectors_ND = encoder.encode(tokens, progress=encoded)
            store.append(part.ids, vectors_ND)
            n_cut += tokens.n_cut
            n_tokens += tokens.n_tokens
            n_shards += 1
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
