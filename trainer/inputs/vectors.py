"""Text vectors as a model sees them: whitened on train texts, one row a text. The only file here that knows embeddings.

Vectors are read from the store by text id, whitened, and kept once a text; rows gather them (text.py). Each column of
text ids holds texts of one side, so its mean over train texts is the side's mean; a text is told apart from it, and a
text without a vector *is* it: zero, with a flag that says so.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from threadpoolctl import threadpool_limits

import embeddings  # its names load on first use: a stage without texts pays for none of them
from embeddings import EmbeddingsError
from trainer.base.errors import TrainerError
from trainer.base.fetching import fetch
from trainer.base.files import is_plain
from trainer.base.progress import progress
from trainer.base.team import ALONE, Team
from trainer.columns.store import Columns, evenly_spaced

DEFAULT_VECTORS = Path("data/vectors")
HISTORY = "history"  # stands for the texts of the user's latest outcomes among the columns' names
_FIT = 50_000  # train texts the whitening is fit on at most, evenly spread: bounds memory
_BLOCK = 1 << 14  # texts whitened at once
_ROWS = 1 << 16  # rows counted at once
# The last bits of a matrix product depend on how many threads made it, and NumPy takes as many as there are cores.
_one_thread = threadpool_limits.wrap(limits=1, user_api="blas")


@dataclass(frozen=True, eq=False)
class TextSpace:
    """The vectors of one encoder, whitened to V dimensions.

    store: the store's key, a folder below the vectors' root. means: the mean whitened vector of each column's distinct
    train texts, (V,) float32. coverage: the share of train texts that have a vector.
    """

    encoder: str
    store: str
    whitening: embeddings.Whitening
    means: dict[str, np.ndarray]
    coverage: float
    _tables: dict[tuple[str, int], np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def dimensions(self) -> int:
        return self.whitening.n_components

    def table(self, text_ids: Sequence[int], key: str, root: Path) -> np.ndarray:
        """The whitened vectors of these texts by code: row 0 is NULL's, row 1 + k that of text_ids[k].

        The last column is 1 where there is a vector; the row is zero where there is none. `key` names the list of ids:
        the same list is read once. Shapes: n ids -> (1 + n, V + 1), float32.
        Raises: TrainerError when the store is gone or damaged.
        """
        at = (key, len(text_ids))
        if at not in self._tables:
            try:
                store = embeddings.VectorStore.open(root / self.store)
                self._tables[at] = self._whitened(store, text_ids)
            except EmbeddingsError as error:
                raise TrainerError(f"{error} The vectors' folder is given by --vectors.") from None
        return self._tables[at]

    def forget(self, key: str) -> None:
        """Hold the table of this list of texts no longer: another list comes under its name."""
        for at in [at for at in self._tables if at[0] == key]:
            del self._tables[at]

    def has(self, text_ids: Sequence[int], root: Path) -> np.ndarray:
        """Which of these texts have a vector. Shapes: n ids -> (n,), bool."""
        try:
            return embeddings.VectorStore.open(root / self.store).has(text_ids)
        except EmbeddingsError as error:
            raise TrainerError(f"{error} The vectors' folder is given by --vectors.") from None

    @_one_thread
    def _whitened(self, store: embeddings.VectorStore, text_ids: Sequence[int]) -> np.ndarray:
        table = np.zeros((1 + len(text_ids), self.dimensions + 1), np.float32)
        with progress(quiet=len(text_ids) <= _BLOCK) as bar:
            task = bar.add_task(f"Whitening {self.encoder}", total=len(text_ids), note="", unit="texts")
            for s in range(0, len(text_ids), _BLOCK):
                vectors_ND, found_N = store.load(text_ids[s : s + _BLOCK])
                block = table[1 + s : 1 + s + len(found_N)]
                block[found_N, :-1] = self.whitening.transform(vectors_ND[found_N])
                block[:, -1] = found_N
                bar.update(task, advance=len(found_N))
        return table

    def save(self, folder: Path, name: str) -> None:
        """Write `<name>.safetensors` (mean and matrix) and `<name>_means.safetensors`."""
        self.whitening.save(
            folder / f"{name}.safetensors", encoder=self.encoder, store=self.store, coverage=repr(self.coverage)
        )
        save_file(self.means, folder / f"{name}_means.safetensors")

    @classmethod
    def load(cls, folder: Path, name: str) -> TextSpace:
        """What `save` wrote. Raises: ValueError where a file is damaged."""
        from safetensors import safe_open

        try:
            whitening = embeddings.Whitening.load(folder / f"{name}.safetensors")
        except EmbeddingsError as error:
            raise ValueError(str(error)) from None
        with safe_open(folder / f"{name}.safetensors", "numpy") as file:
            notes = file.metadata()
        means = load_file(folder / f"{name}_means.safetensors")
        if not is_plain(notes["store"]):
            raise ValueError(f"its vector store is {notes['store']!r}, expected the name of a folder")
        return cls(notes["encoder"], notes["store"], whitening, means, float(notes["coverage"]))


@_one_thread
def fit_text_space(
    text_ids: Sequence[int],
    columns: dict[str, np.ndarray],
    root: Path,
    *,
    encoder: str,
    dimensions: int,
    min_coverage: float,
    build: str,
    fingerprint: Callable[[], str] | None = None,
) -> TextSpace:
    """Whiten an encoder's vectors on the distinct texts of train rows; those made from the log stay as they are.

    columns: for each column of text ids the distinct codes (1 + position in text_ids) its train rows hold, ascending;
    the entry HISTORY, if any, gets a mean of its own and decides nothing else. build: the command that makes vectors.
    fingerprint: that of the train rows, which vectors made from the log have to agree with.
    Raises: TrainerError where there is no store, the coverage is too low, or the vectors can't be whitened.
    """
    train = np.unique(np.concatenate([codes for name, codes in columns.items() if name != HISTORY]))
    if not len(train):
        raise TrainerError(
            "No train row has a text: its columns with role text_id are NULL or empty lists. This stage reads "
            "texts; see whether staging picks the log's text columns, or train a stage without texts, such as 03_ple."
        )
    try:
        store = embeddings.find_store(root, encoder, fingerprint)
        found = store.has([text_ids[k - 1] for k in train])
        coverage = float(found.mean())
        if coverage < min_coverage:
            remedy = f"Run `{build}`; it encodes only what is missing."
            if store.recipe.is_from_log:  # it has all the vectors that there are
                remedy = (
                    "A space made from the log has no vector for a user's whole text (which `llm` reads), nor for an "
                    "entity that it never counted: read an encoder's vectors, or lower min_text_coverage."
                )
            raise TrainerError(
                f"Only {coverage:.1%} of the {len(train):,} train texts have a vector in {store.path}; expected "
                f"{min_coverage:.0%} or more (min_text_coverage). {remedy}"
            )
        with_vector = evenly_spaced(train[found], _FIT)
        ids = sorted(text_ids[k - 1] for k in with_vector)  # in an order that isn't the log's
        kind = "none" if store.recipe.is_from_log else "zca"
        whitening = embeddings.Whitening(dimensions, kind).fit(store.load(ids)[0], ids=ids)
    except EmbeddingsError as error:
        raise TrainerError(
            f"{error} Here --dim is the stage's `dimensions`, and the vectors' folder is --vectors {root}. "
            f"Vectors are made by `{build}`."
        ) from None
    space = TextSpace(encoder, store.path.name, whitening, {}, coverage)
    for name, codes in columns.items():
        total, n = np.zeros(dimensions), 0
        for s in range(0, len(codes), _BLOCK):
            table = space._whitened(store, [text_ids[k - 1] for k in codes[s : s + _BLOCK] if k])
            total += table[1:, :-1].sum(0, dtype=np.float64)
            n += int(table[:, -1].sum())
        space.means[name] = (total / max(1, n)).astype(np.float32)
    return space


def fingerprint_of(columns: Columns, names: Sequence[str], rows_N: np.ndarray, team: Team = ALONE) -> str:
    """That of the occurrences of texts in the named columns of these rows, as `embeddings build` counts them.

    team: the rows are those of all its processes.
    """
    ids_K = np.array(replace(columns).text_ids, np.int64)  # as the mart has them, also where a placebo shuffled them
    tally = embeddings.Tally()
    owners = {group: columns.dictionaries[columns.id_names[group]] for group in ("user", "item")}
    for s in range(0, len(rows_N), _ROWS):
        block = rows_N[s : s + _ROWS]
        for column in columns.texts:
            if column.name not in names or column.group not in owners:
                continue
            begin_B, codes_K = column.codes.take(block)
            row_K = np.repeat(np.arange(len(block)), np.diff(begin_B))[codes_K > 0]
            n_B = np.bincount(row_K, minlength=len(block))
            texts_K = ids_K[codes_K[codes_K > 0] - 1]
            for kind, group in [(column.group, column.group), ("shown", "user")][: 1 + (column.group == "item")]:
                tally.add(kind, owners[group], columns.codes_of(group)[block] - 1, texts_K, n_B)
        columns.release_pages()
    first, *others = team.gather(tally)
    for other in others:
        first.add_all(other)
    return first.total().fingerprint


def vectors_hashes(root: Path, stores: Iterable[str], text_ids: Sequence[int]) -> dict[str, str]:
    """A hash of the vectors that each store has of these texts; empty for a store that is gone.

    What a run depends on: texts of other logs may come to the store and go, and its files may be written anew.
    Raises: TrainerError where a shard is damaged.
    """
    ids = tuple(sorted(set(text_ids)))
    hashes = {}
    for key in stores:
        manifest = root / key / "manifest.json"
        fetch(manifest)
        hashes[key] = _hash_of(root / key, manifest.read_bytes(), ids) if manifest.is_file() else ""
    return hashes


@functools.lru_cache(maxsize=8)  # a ladder asks for each of its runs
def _hash_of(store: Path, manifest: bytes, ids: tuple[int, ...]) -> str:  # the manifest: a new one, a new answer
    digest = hashlib.sha256()
    try:
        opened = embeddings.VectorStore.open(store)
        for s in range(0, len(ids), _BLOCK):
            vectors_ND, found_N = opened.load(ids[s : s + _BLOCK])
            digest.update(np.array(ids[s : s + _BLOCK], np.int64).tobytes())
            digest.update(found_N.tobytes() + vectors_ND.tobytes())
    except EmbeddingsError as error:
        raise TrainerError(f"{error} The vectors' folder is given by --vectors.") from None
    return digest.hexdigest()
