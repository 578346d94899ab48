"""build --encoder cooccurrence: a space made from the log."""

from __future__ import annotations

import json
from pathlib import Path

from embeddings.cli.common import note, out, print_counts
from embeddings.cli.progress import doing
from storage.places import told


def build_from_log(marts: Path, store: Path, dim: int | None, seed: int | None, *, as_json: bool) -> None:
    """Make the space from the train rows of a dataset's marts, and print what was made."""
    from dataclasses import asdict

    from embeddings.cooccurrence import DIM, build_space
    from embeddings.occurrences import read_occurrences
    from embeddings.texts import find_texts, read_texts

    with doing("reading texts") as say:
        texts = read_texts(marts)
        say("counting in train rows")
        occurrences = read_occurrences(find_texts(marts)[0].parent)
        say("factorizing")
        report = build_space(texts, occurrences, store, dim=DIM if dim is None else dim, seed=seed or 0)
    if as_json:
        print(json.dumps(asdict(report) | {"store": told(report.store)}, indent=1))
        return
    rows = [
        ("made now", report.n_made),
        ("had a vector already", report.n_already_there),
        ("no vector: no term of theirs is known from train rows", report.n_unknown),
        ("whole user texts: left to encoders", report.n_whole_user_texts),
        ("of all texts", report.n_texts),
    ]
    print_counts(rows)
    out.print(
        f"From {report.n_users:,} users and {report.n_items:,} items of the train rows, {report.n_terms:,} terms;"
        f" {report.seconds:,.1f} s.",
        highlight=False,
    )
    if not report.shares_texts:
        note("No text stands with both users and items, so users also count the texts of the items they were shown.")
    out.print(f"Vectors: {told(report.store)}", highlight=False, soft_wrap=True)
