"""inspect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from embeddings.cli.common import DEFAULT_ENCODER, DEFAULT_STORE, AsJson, Marts, Store, Stored, note, out
from embeddings.cli.progress import doing
from embeddings.errors import require_extra

if TYPE_CHECKING:
    import numpy as np


def inspect(
    marts: Marts,
    encoder: Stored = DEFAULT_ENCODER,
    store: Store = DEFAULT_STORE,
    picture: Annotated[Path | None, typer.Option(help="Where to save the picture; by default in the store.")] = None,
    titles: Annotated[int, typer.Option(min=1, help="How many titles to show with their neighbours.")] = 6,
    dim: Annotated[int, typer.Option(min=1, help="Dimensions to whiten to.")] = 128,
    as_json: AsJson = False,
) -> None:
    """Look at the vectors: coverage, duplicates, cosines before and after whitening, neighbours; and a picture.

    Example: [bold]embeddings inspect --marts data/marts/movielens --encoder e5-small[/]
    """
    from embeddings.finding import find_store
    from embeddings.inspect import draw
    from embeddings.inspect import inspect as look
    from embeddings.texts import read_texts

    require_extra("report", "`embeddings inspect`")  # checked before minutes of work
    vectors = find_store(store, encoder)
    with doing("comparing vectors"):
        seen = look(read_texts(marts), vectors, n_titles=titles, n_components=dim)
    path = draw(seen, picture or vectors.path / "inspect.png")
    before = _mean_and_std(seen.crowding.before)
    after = None if seen.crowding.after is None else _mean_and_std(seen.crowding.after)
    if as_json:
        facts = {
            "store": seen.store,
            "coverage": {side: {"found": a, "texts": b} for side, (a, b) in seen.coverage.items()},
            "n_empty": seen.n_empty,
            "n_duplicate_vectors": seen.n_duplicate_vectors,
            "n_constant_dims": seen.n_constant_dims,
            "effective_rank": seen.effective_rank,
            "unrelated_cosine_before": before,
            "unrelated_cosine_after": after,
            "neighbours": seen.neighbours,
            "warnings": seen.warnings,
            "picture": str(path),
        }
        print(json.dumps(facts, indent=1))
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for side, (n_there, n_texts) in seen.coverage.items():
        table.add_row(f"{side} texts with a vector", f"{n_there:,} of {n_texts:,} ({n_there / max(1, n_texts):.1%})")
    table.add_row("empty texts, excluded", f"{seen.n_empty:,}")
    table.add_row("vectors that repeat another's", f"{seen.n_duplicate_vectors:,}")
    table.add_row("constant dimensions", f"{seen.n_constant_dims} of {seen.dim}")
    table.add_row("effective rank", f"{seen.effective_rank:.1f} of {seen.dim}")
    table.add_row("unrelated cosine, as encoded", f"{before['mean']:+.3f} ± {before['std']:.3f}")
    if after and seen.whitening:
        table.add_row(
            f"unrelated cosine, whitened to {seen.whitening.n_components}", f"{after['mean']:+.3f} ± {after['std']:.3f}"
        )
        table.add_row("shrinkage (Ledoit-Wolf)", f"{seen.whitening.shrinkage_:.4f}")
    out.print(table)
    near = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    near.add_column("text")
    near.add_column("nearest others" + (", whitened" if after else ""))
    for text, others in seen.neighbours:
        near.add_row(_short(text), ", ".join(f"{_short(other)} {cosine:.2f}" for other, cosine in others))
    out.print(near)
    for warning in seen.warnings:
        note(f"Warning: {warning}")
    out.print(f"Picture: {path}", highlight=False, soft_wrap=True)


def _mean_and_std(cosines: np.ndarray) -> dict[str, float]:
    return {"mean": float(cosines.mean()), "std": float(cosines.std())}


def _short(text: str, limit: int = 44) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
