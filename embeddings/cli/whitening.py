"""whiten."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from embeddings.cli.common import DEFAULT_ENCODER, DEFAULT_STORE, AsJson, Marts, Store, Stored, out
from embeddings.cli.progress import doing
from embeddings.errors import EmbeddingsError


def whiten(
    marts: Marts,
    encoder: Stored = DEFAULT_ENCODER,
    store: Store = DEFAULT_STORE,
    output: Annotated[Path | None, typer.Option("--out", help="Where to save; by default in the store.")] = None,
    dim: Annotated[int, typer.Option(min=1, help="Dimensions to keep.")] = 128,
    kind: Annotated[str, typer.Option(help="zca, pca or none.")] = "zca",
    shrinkage: Annotated[str, typer.Option(help="auto (Ledoit-Wolf), or a number from 0 to 1.")] = "auto",
    min_coverage: Annotated[
        float, typer.Option(min=0, max=1, help="Least share of texts that must have a vector.")
    ] = 0.9,
    as_json: AsJson = False,
) -> None:
    """Fit a whitening on the distinct texts of the train split, and save it.

    Example: [bold]embeddings whiten --marts data/marts/movielens --encoder e5-small --dim 128[/]
    """
    from embeddings.fallback import select
    from embeddings.finding import find_store
    from embeddings.texts import read_texts
    from embeddings.whitening import Whitening

    try:
        share: float | str = shrinkage if shrinkage == "auto" else float(shrinkage)
    except ValueError:
        raise EmbeddingsError(f"--shrinkage {shrinkage}: expected auto or a number from 0 to 1.") from None
    vectors, texts = find_store(store, encoder), read_texts(marts)
    train = texts.take(select(texts).wanted & (texts.n_train_rows > 0))
    X, found = vectors.load(train.ids)
    with doing(f"whitening {len(train.ids):,} texts"):
        whitening = Whitening(dim, kind, share, min_coverage).fit(X, ids=train.ids, found=found)
    path = whitening.save(output or vectors.path / f"whitening-{kind}-{dim}.safetensors", store=vectors.path.name)
    facts = {
        "path": str(path),
        "n_fit": whitening.n_fit_,
        "rank": whitening.rank_,
        "condition": whitening.condition_,
        "shrinkage": whitening.shrinkage_,
        "list_hash": whitening.list_hash_,
    }
    if as_json:
        print(json.dumps(facts, indent=1))
        return
    out.print(
        f"Fit on {whitening.n_fit_:,} distinct train texts: rank {whitening.rank_},"
        f" condition {whitening.condition_:.1f}, shrinkage {whitening.shrinkage_:.4f}.\nSaved {path}",
        highlight=False,
        soft_wrap=True,
    )
