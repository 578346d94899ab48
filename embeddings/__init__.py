"""Text to vectors: encoders, the vector store, whitening, and an LLM for the cold texts only.

    from embeddings import Encoder, VectorStore, Whitening

The names load on first use, so `import embeddings` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embeddings.encoder import Encoder
    from embeddings.errors import EmbeddingsError
    from embeddings.fallback import SideMeans
    from embeddings.finding import find_store
    from embeddings.occurrences import Tally
    from embeddings.recipe import Recipe, Template
    from embeddings.store import VectorStore
    from embeddings.texts import Texts, read_texts
    from embeddings.whitening import Whitening

    __version__: str

_HOMES = {
    "EmbeddingsError": "embeddings.errors",
    "Encoder": "embeddings.encoder",
    "Recipe": "embeddings.recipe",
    "SideMeans": "embeddings.fallback",
    "Tally": "embeddings.occurrences",
    "Template": "embeddings.recipe",
    "Texts": "embeddings.texts",
    "VectorStore": "embeddings.store",
    "Whitening": "embeddings.whitening",
    "find_store": "embeddings.finding",
    "read_texts": "embeddings.texts",
}
__all__ = [
    "EmbeddingsError",
    "Encoder",
    "Recipe",
    "SideMeans",
    "Tally",
    "Template",
    "Texts",
    "VectorStore",
    "Whitening",
    "find_store",
    "read_texts",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("storage.installed").version()
    if name not in _HOMES:
        raise AttributeError(f"module 'embeddings' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)
