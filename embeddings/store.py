"""Vectors on disk: shards that only ever get more, and a manifest that says what they are.

    data/vectors/<recipe key>/
        manifest.json                       the recipe, the width, and every shard with its size and sha256
        shards/000001-<sha256>.safetensors  ids (n,) int64 and vectors (n, dim) float32

Stores of format 1 have ids as text, (n, width) uint8; they are read (storage.text_ids), and what is added has integers.

A shard is written atomically under a name that holds its own hash, and then the manifest. Killed in between, a run
leaves a complete shard that the manifest doesn't list: the next writer knows it by its hash and takes it in. Nothing
finished is ever computed twice, and nothing half-written is ever read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np

from embeddings.catalogue import file_sha256
from embeddings.errors import EmbeddingsError
from embeddings.locking import exclusive
from embeddings.recipe import Recipe
from embeddings.shards import SHARD_NAME, Ids, Shard, as_ids, check_shard, damage, map_shard, write_shard
from storage import atomic, remote
from storage.places import local, target

FORMAT = 2
MANIFEST = "manifest.json"


class VectorStore:
    """The vectors of one recipe.

    >>> store = VectorStore.open("data/vectors/e5-small-mean-int8-0123456789")
    >>> vectors_ND, found_N = store.load(text_ids)
    """

    def __init__(self, path: Path, recipe: Recipe, dim: int, shards: Sequence[Shard]) -> None:
        self.path, self.recipe, self.dim = path, recipe, dim
        self.shards = list(shards)
        self._index: tuple[np.ndarray, np.ndarray] | None = None  # ids in order; shard and row of each
        self._maps: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    # -- opening ---------------------------------------------------------------------------------------------------

    @classmethod
    def open(cls, path: Path | str) -> VectorStore:
        """Open to read. Raises: EmbeddingsError where there is no store, or one of another format."""
        path = local(path)
        file = path / MANIFEST
        remote.fetch(file)
        try:
            manifest = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise EmbeddingsError(
                f"No vector store in {path} (no {MANIFEST}). Make one with `embeddings build`."
            ) from error
        except ValueError as error:
            raise EmbeddingsError(
                f"{file} is not valid JSON ({error}). Delete the folder {path} and build it again."
            ) from error
        found = manifest.get("format") if isinstance(manifest, dict) else None
        if found not in (1, FORMAT):
            raise EmbeddingsError(
                f"{file} has format {found!r}, this version reads 1 and {FORMAT}. Build the store again."
            )
        try:
            shards = [Shard(**fields) for fields in manifest["shards"]]
            store = cls(path, Recipe.from_dict(manifest["recipe"]), int(manifest["dim"]), shards)
            wrong = [shard.file for shard in shards if not re.fullmatch(SHARD_NAME, shard.file)]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise EmbeddingsError(
                f"{file} is no manifest of a store ({type(error).__name__}: {error}). Delete the folder {path} and"
                " build it again."
            ) from error
        if wrong:
            raise EmbeddingsError(
                f"{file} names {wrong[0]!r} as a shard, expected a file such as 000001-<sha256>.safetensors."
                f" Delete the folder {path} and build it again."
            )
        return store

    @classmethod
    @contextmanager
    def writer(cls, root: Path | str, recipe: Recipe, dim: int) -> Iterator[VectorStore]:
        """Open to append, alone; make the store where there is none.

        Raises: EmbeddingsError when another run is writing it.
        """
        path = target(root) / recipe.key
        with exclusive(path / ".lock", f"The store {path} is being written"):
            (path / "shards").mkdir(exist_ok=True)
            before = remote.version(path / MANIFEST)
            remote.fetch(path / MANIFEST)
            if (path / MANIFEST).exists():
                store = cls.open(path)
            else:
                store = cls(path, recipe, dim, [])
                store._write_manifest()
            if (store.recipe, store.dim) != (recipe, dim):
                raise EmbeddingsError(
                    f"{path} holds {store.recipe} with {store.dim} dimensions, not {recipe} with {dim}."
                )
            store._adopt()
            yield store
            if remote.version(path / MANIFEST) != before:
                raise EmbeddingsError(
                    f"Another run wrote the store {path} meanwhile. The vectors made here are kept: run the same "
                    "command again, and it adds them to what is there now."
                )
            remote.upload(path, MANIFEST, adds=True)

    # -- reading ---------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return sum(shard.n_texts for shard in self.shards)

    def has(self, text_ids: Ids) -> np.ndarray:
        """Which of these texts have a vector.

        Shapes: N ids -> (N,), bool. Raises: EmbeddingsError for what is no id.
        """
        return self._locate(text_ids)[0]

    def load(self, text_ids: Ids) -> tuple[np.ndarray, np.ndarray]:
        """The vectors of these texts, read by memory map; zeros where there is none.

        Shapes: N ids -> (N, dim) float32 and found (N,) bool.
        Raises: EmbeddingsError where a shard that is needed is damaged, and for what is no id.
        """
        found_N, where_N = self._locate(text_ids)
        out_ND = np.zeros((len(found_N), self.dim), np.float32)
        for number in np.unique(where_N[found_N, 0]):
            rows = np.flatnonzero(found_N & (where_N[:, 0] == number))
            out_ND[rows] = self._map(self.shards[number])[1][where_N[rows, 1]]
        return out_ND, found_N

    def text_ids(self) -> list[int]:
        """Every text id of the store, in order."""
        return self._ids()[0].tolist()

    def _locate(self, text_ids: Ids) -> tuple[np.ndarray, np.ndarray]:
        known, where = self._ids()
        asked = as_ids(text_ids)
        if not len(known) or not len(asked):
            return np.zeros(len(asked), bool), np.zeros((len(asked), 2), np.int64)
        at = np.minimum(np.searchsorted(known, asked), len(known) - 1)
        return known[at] == asked, where[at]

    def _ids(self) -> tuple[np.ndarray, np.ndarray]:
        if self._index is None:
            parts = [self._map(shard)[0] for shard in self.shards]
            known = np.concatenate(parts) if parts else np.zeros(0, np.int64)
            sizes = [len(part) for part in parts]
            rows = [np.arange(size) for size in sizes] or [np.zeros(0, np.int64)]
            where = np.stack([np.repeat(np.arange(len(parts)), sizes), np.concatenate(rows)], axis=1)
            order = np.argsort(known, kind="stable")
            self._index = known[order], where[order]
        return self._index

    def _map(self, shard: Shard) -> tuple[np.ndarray, np.ndarray]:
        """Ids (n,) and vectors (n, dim) of a shard, mapped; its hash is checked the first time."""
        if shard.file not in self._maps:
            path = remote.need(self.path / "shards" / shard.file)
            check_shard(path, shard)
            self._maps[shard.file] = map_shard(path)
        return self._maps[shard.file]

    # -- writing ---------------------------------------------------------------------------------------------------

    def append(self, text_ids: Ids, vectors_ND: np.ndarray) -> Shard:
        """Add one finished shard. Only inside `writer`.

        Raises: EmbeddingsError for ids that are there already or are none, for vectors of another width or not finite.
        """
        ids_N = as_ids(text_ids)
        if vectors_ND.shape != (len(ids_N), self.dim) or not np.isfinite(vectors_ND).all():
            raise EmbeddingsError(
                f"Expected {len(ids_N)} finite vectors of {self.dim} numbers, found an array of {vectors_ND.shape}."
            )
        if len(np.unique(ids_N)) != len(ids_N) or self.has(ids_N).any():
            raise EmbeddingsError(
                "A store is append-only: some of these texts already have a vector in it, or occur twice."
            )
        shard = self._write_shard(ids_N, vectors_ND)
        self.shards.append(shard)
        self._write_manifest()
        self._index = None
        return shard

    def check(self, *, repair: bool = False, progress: Callable[[int], None] = lambda n_bytes: None) -> list[str]:
        """Compare every shard with the manifest by size and sha256.

        Args: repair, drop what is damaged (inside `writer` only), so that the next build makes it again; progress,
            called with the number of bytes checked.
        Returns: what is wrong, one line per shard; nothing when all is well.
        """
        problems, sound = [], []
        for shard in self.shards:
            problem = damage(self.path / "shards" / shard.file, shard)
            if problem is None:
                sound.append(shard)
            else:
                problems.append(f"{shard.file}: {problem}")
            progress(shard.n_bytes)
        if repair and problems:
            self._replace(sound)
        return problems

    def drop(self, keep_ids: Ids) -> int:
        """Forget every vector whose text is not in `keep_ids`. Only inside `writer`.

        A shard with survivors is written anew before the manifest changes, so a kill loses nothing.
        Returns: how many vectors were dropped.
        """
        kept, n_dropped, kept_ids = [], 0, as_ids(keep_ids)
        for shard in self.shards:
            ids_N, vectors_ND = self._map(shard)
            rows = np.flatnonzero(np.isin(ids_N, kept_ids))
            n_dropped += len(ids_N) - len(rows)
            if len(rows) == len(ids_N):
                kept.append(shard)
            elif len(rows):
                kept.append(self._write_shard(ids_N[rows], np.asarray(vectors_ND[rows])))
        if n_dropped:
            self._replace(kept)
        return n_dropped

    def _replace(self, shards: list[Shard]) -> None:
        old = {shard.file for shard in self.shards} - {shard.file for shard in shards}
        self.shards, self._index, self._maps = shards, None, {}
        self._write_manifest()
        for name in old:
            (self.path / "shards" / name).unlink(missing_ok=True)

    def _write_shard(self, ids_N: np.ndarray, vectors_ND: np.ndarray) -> Shard:
        number = 1 + max((int(shard.file.split("-")[0]) for shard in self.shards), default=0)
        return write_shard(self.path / "shards", number, ids_N, vectors_ND)

    def _write_manifest(self) -> None:
        manifest = {
            "format": FORMAT,
            "recipe": self.recipe.as_dict(),
            "dim": self.dim,
            "n_texts": len(self),
            "shards": [asdict(shard) for shard in self.shards],
        }
        atomic.text(self.path / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")

    def _adopt(self) -> None:
        """Take in complete shards that a killed run left unlisted; delete what it left half-written."""
        listed = {shard.file for shard in self.shards}
        for path in sorted((self.path / "shards").iterdir()):
            if path.name in listed:
                continue
            digest = path.stem.partition("-")[2]
            if path.suffix == ".safetensors" and digest == file_sha256(path):
                ids_N, vectors_ND = map_shard(path)
                # What is in the store already was rewritten by a `drop` that was killed: the listed copy counts.
                if vectors_ND.shape[1] == self.dim and not self.has(ids_N).any():
                    self.shards.append(Shard(path.name, digest, len(ids_N), path.stat().st_size))
                    self._index = None
                    continue
            path.unlink()
        if {shard.file for shard in self.shards} != listed:
            self._write_manifest()
