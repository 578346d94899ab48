"""Which vector stores there are, and which one is an encoder's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from embeddings.errors import EmbeddingsError
from embeddings.recipe import FROM_LOG
from embeddings.store import MANIFEST, VectorStore
from storage import remote
from storage.places import is_remote, local


def stores(root: Path | str) -> list[VectorStore]:
    """Every store below a folder."""
    root = local(root)
    remote.look(root)
    for folder in root.iterdir() if is_remote(root) and root.is_dir() else ():
        remote.fetch(folder / MANIFEST)
    return [VectorStore.open(path.parent) for path in sorted(root.glob(f"*/{MANIFEST}"))]


def find_store(root: Path | str, encoder: str, fingerprint: Callable[[], str] | None = None) -> VectorStore:
    """The one store of an encoder (by the name it was built with, or by the store's key).

    fingerprint: gives that of the train rows in use (Occurrences.fingerprint); stores made from other rows are passed
    over. It is called only where a store was made from a log.
    Raises: EmbeddingsError where there is none or more than one; names them.
    """
    there = stores(root)
    fitting = [store for store in there if encoder in (store.recipe.encoder, store.path.name)]
    if fingerprint and any(store.recipe.is_from_log for store in fitting):
        rows, found = fingerprint(), fitting
        fitting = [store for store in found if not store.recipe.is_from_log or store.recipe.revision == rows]
        if not fitting:
            raise EmbeddingsError(
                f"The vectors in {', '.join(str(store.path) for store in found)} were made from other train rows than"
                f" this mart's: another log or protocol, or the mart was rebuilt since. Make them from this one:"
                f" `embeddings build --encoder {FROM_LOG}`."
            )
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        keys = ", ".join(store.path.name for store in fitting)
        raise EmbeddingsError(
            f"{encoder} has {len(fitting)} stores under {root}: {keys}. Name one: --encoder {fitting[0].path.name}."
        )
    keys = ", ".join(store.path.name for store in there) or "no store at all"
    raise EmbeddingsError(
        f"No vectors of {encoder!r} under {root}: found {keys}. Make them: `embeddings build --encoder {encoder}`."
    )
