"""check, gc: the stores that are there already."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from embeddings.cli.common import DEFAULT_STORE, AsJson, StoreHere, note, out
from embeddings.cli.progress import progress
from embeddings.errors import EmbeddingsError, NoTextsError
from storage.options import READ


def check(
    store: StoreHere = DEFAULT_STORE,
    repair: Annotated[
        bool, typer.Option("--repair", help="Drop damaged shards; the next build makes them again.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Verify every shard of every store against its sha256. Exit code 1 when something is damaged.

    Example: [bold]embeddings check --repair[/]
    """
    from embeddings.finding import stores
    from embeddings.store import VectorStore

    there = stores(store)
    if not there:
        raise EmbeddingsError(f"No vector store under {store}. Make one with `embeddings build`.")
    found = {}
    with progress("checking", "bytes") as (started, advance):
        started(sum(shard.n_bytes for vectors in there for shard in vectors.shards), 0)
        for vectors in there:
            if repair:
                with VectorStore.writer(store, vectors.recipe, vectors.dim) as held:
                    problems = held.check(repair=True, progress=lambda n_bytes: advance(n_bytes, 0))
            else:
                problems = vectors.check(progress=lambda n_bytes: advance(n_bytes, 0))
            found[vectors.path.name] = problems
    n_bad = sum(map(len, found.values()))
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        for vectors in there:
            problems = found[vectors.path.name]
            state = "sound" if not problems else f"{len(problems)} damaged" + (", dropped" if repair else "")
            out.print(f"{vectors.path.name}: {len(vectors.shards)} shards, {state}", highlight=False, soft_wrap=True)
            for problem in problems:
                note(f"  {problem}")
        if n_bad:
            note(
                "Run `embeddings build` to encode them again."
                if repair
                else "Run `embeddings check --repair` to drop them."
            )
    if n_bad and not repair:
        raise typer.Exit(1)


def gc(
    marts: Annotated[
        list[Path],
        typer.Option(
            "--marts", help="Marts that are in use: a dataset's folder, or the folder of all of them.", **READ
        ),
    ],
    store: StoreHere = DEFAULT_STORE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Drop vectors of texts that no mart uses any more.

    Example: [bold]embeddings gc --marts data/marts --dry-run[/]
    """
    from embeddings.finding import stores
    from embeddings.store import VectorStore
    from embeddings.texts import find_texts, read_texts

    folders = [folder for path in marts for folder in find_texts(path)]
    if not folders:
        raise EmbeddingsError(
            f"No texts mart under {', '.join(map(str, marts))}: every vector would count as unused, so nothing was"
            " dropped. Give the folder of the marts that are in use, for example --marts data/marts."
        )
    used: set[int] = set()
    for folder in folders:
        with suppress(NoTextsError):  # a log without texts uses no vector
            used.update(read_texts(folder).ids)
    if not used:
        raise EmbeddingsError(
            f"No log under {', '.join(map(str, marts))} has texts: every vector would count as unused, so nothing was"
            " dropped. Give the folder of the marts that are in use, for example --marts data/marts."
        )
    dropped = {}
    for vectors in stores(store):
        if dry_run:
            dropped[vectors.path.name] = sum(text_id not in used for text_id in vectors.text_ids())
        else:
            with VectorStore.writer(store, vectors.recipe, vectors.dim) as held:
                dropped[vectors.path.name] = held.drop(used)
    if as_json:
        print(json.dumps(dropped, indent=1))
        return
    for key, count in dropped.items():
        out.print(f"{key}: {count:,} vectors {'would go' if dry_run else 'dropped'}", highlight=False, soft_wrap=True)
    if not dropped:
        out.print(f"No vector store under {store}: nothing to drop.", highlight=False)
