"""Text to vectors: encoders, the vector store, whitening, and an LLM for the cold texts only.

    from embeddings import Encoder, VectorStore, Whitening

The names load on first use, so `import embeddings` costs nothing.
"""

from importlib import import_module

_HOMES = {
    "EmbeddingsError": "embeddings.errors",
    "Encoder": "embeddings.encoder",
    "Recipe": "embeddings.recipe",
    "SideMeans": "embeddings.fallback",
    "Template": "embeddings.recipe",
    "Texts": "embeddings.texts",
    "VectorStore": "embeddings.store",
    "Whitening": "embeddings.whitening",
    "find_store": "embeddings.store",
    "read_texts": "embeddings.texts",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'embeddings' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)
