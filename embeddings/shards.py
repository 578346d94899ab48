"""One shard of a vector store: a safetensors file with ids and vectors, named by its number and its own sha256."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from embeddings.catalogue import file_sha256
from embeddings.errors import EmbeddingsError
from storage import atomic
from storage import text_ids as ids_of_texts

Ids = Collection[int] | Collection[str] | np.ndarray  # integers, or texts that stand for them (storage.text_ids)
SHARD_NAME = r"\d{6,}-[0-9a-f]{64}\.safetensors"


@dataclass(frozen=True)
class Shard:
    """A finished file. Units: n_texts texts, n_bytes bytes."""

    file: str
    sha256: str
    n_texts: int
    n_bytes: int


def as_ids(text_ids: Ids) -> np.ndarray:
    """Shapes: N ids -> (N,), int64. Raises: EmbeddingsError for what is no id."""
    try:
        return ids_of_texts.as_ids(text_ids)
    except ValueError as error:
        raise EmbeddingsError(
            f"A text id is {error}. Expected the column text_id of a texts mart; `dbt build` makes one."
        ) from None


def write_shard(folder: Path, number: int, ids_N: np.ndarray, vectors_ND: np.ndarray) -> Shard:
    """Write a shard atomically, under its number and its own hash."""
    from safetensors.numpy import save_file

    aside = folder / ".writing"
    try:
        arrays = {"ids": np.ascontiguousarray(ids_N), "vectors": np.ascontiguousarray(vectors_ND, np.float32)}
        save_file(arrays, aside)
        digest = file_sha256(aside)
        final = folder / f"{number:06d}-{digest}.safetensors"
        n_bytes = aside.stat().st_size
        atomic.publish(aside, final)
    finally:
        aside.unlink(missing_ok=True)
    return Shard(final.name, digest, len(ids_N), n_bytes)


def check_shard(path: Path, shard: Shard) -> None:
    """Compare a file with what the manifest says of it; its hash is taken once per process.

    Raises: EmbeddingsError where it is missing or damaged.
    """
    n_bytes = path.stat().st_size if path.exists() else None
    if n_bytes != shard.n_bytes:
        state = "is missing" if n_bytes is None else f"has {n_bytes:,} bytes instead of {shard.n_bytes:,}"
        raise EmbeddingsError(
            f"The shard {path} {state}. Run `embeddings check --repair` to drop it, then `embeddings build` to"
            f" encode its {shard.n_texts:,} texts again."
        )
    if _sha256(path, path.stat().st_mtime_ns) != shard.sha256:
        raise EmbeddingsError(
            f"The shard {path} doesn't match its sha256: it is damaged. Run `embeddings check --repair` to drop"
            f" it, then `embeddings build` to encode its {shard.n_texts:,} texts again."
        )


def damage(path: Path, shard: Shard) -> str | None:
    """What is wrong with a file, read in full, against what the manifest says of it; None when all is well."""
    if not path.exists():
        return f"missing ({shard.n_texts:,} texts)"
    if path.stat().st_size != shard.n_bytes:
        return f"{path.stat().st_size:,} bytes, expected {shard.n_bytes:,}"
    if file_sha256(path) != shard.sha256:
        return "content doesn't match its sha256"
    return None


def map_shard(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Ids (n,) int64 and vectors (n, dim) float32 of a shard.

    The vectors are a memory map (safetensors: uint64 header length, JSON header, data).
    """
    with path.open("rb") as file:
        n_header = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(n_header))

    def mapped(name: str, dtype: type) -> np.ndarray:
        start = 8 + n_header + header[name]["data_offsets"][0]
        return np.memmap(path, dtype, "r", offset=start, shape=tuple(header[name]["shape"]))

    if header["ids"]["dtype"] == "I64":
        return np.array(mapped("ids", np.int64)), mapped("vectors", np.float32)
    ids_NW = np.array(mapped("ids", np.uint8))  # format 1
    return ids_of_texts.as_ids(ids_NW.view(f"S{ids_NW.shape[1]}")[:, 0].tolist()), mapped("vectors", np.float32)


@cache
def _sha256(path: Path, changed_ns: int) -> str:
    """A file's hash, taken once per process while the file stays as it is."""
    return file_sha256(path)
