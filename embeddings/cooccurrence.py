"""A space made from the log itself: texts that stand with the same users and items are near each other.

No label is used and no model is downloaded; any language works. Latent semantic analysis (Deerwester et al. 1990) of
users and items in place of documents: a row per user and a row per item counts their terms, log(1 + count) times the
inverse document frequency, scaled to length 1; a truncated SVD; a term's vector is its row of V * sqrt(singular value),
scaled to length 1. A text's vector is the mean of its terms', scaled to length 1.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from embeddings.errors import EmbeddingsError
from embeddings.fallback import USER_SIDE
from embeddings.occurrences import Occurrences
from embeddings.recipe import FROM_LOG, HAN, Recipe, Template
from embeddings.store import VectorStore
from embeddings.texts import Texts

DIM = 64
_PARTS = re.compile(rf"{HAN}+|[^\W_]+?(?={HAN})|[^\W_]+")
_NOISE = 1e-9  # what is shorter than this, in a space whose longest is about 1, is rounding


@dataclass(frozen=True)
class SpaceReport:
    """What a build did. Units: n_users, n_items, n_terms that shaped the space; other n_* texts; seconds of wall time.

    shares_texts: whether a text stands on both sides; if not, users count the texts of the items they were shown.
    """

    store: str
    n_users: int
    n_items: int
    n_terms: int
    n_texts: int
    n_made: int
    n_already_there: int
    n_unknown: int
    n_whole_user_texts: int
    shares_texts: bool
    seconds: float


def terms_of(text: str, side: str) -> list[str]:
    """An entity is one term. Any other text is its distinct words: lower case; of Chinese every two characters."""
    if side == "entity":
        return [text]
    words: dict[str, None] = {}
    for part in _PARTS.findall(text.lower()):
        pairs = [part[k : k + 2] for k in range(len(part) - 1)] if re.match(HAN, part) else []
        words.update(dict.fromkeys(pairs or [part]))
    return list(words)


def build_space(
    texts: Texts, occurrences: Occurrences, root: Path | str, *, dim: int = DIM, seed: int = 0
) -> SpaceReport:
    """Make the space and store the vector of each title and entity; texts of train rows alone decide what it is.

    A store belongs to the train rows it was made from: other counts, another store. A text of later rows gets a vector
    where it has a term that train knows.
    Raises: EmbeddingsError where train rows have no texts, or too few terms, users and items for `dim` dimensions, and
    where the texts mart is of another build.
    """
    begin = time.perf_counter()
    of_train = np.isin(texts.ids, occurrences.ids_T)
    if of_train.sum() < len(occurrences.ids_T):
        raise EmbeddingsError(
            f"{len(occurrences.ids_T) - of_train.sum():,} of the {len(occurrences.ids_T):,} texts that train rows hold"
            " aren't in the texts mart: the two are of different builds. Run `dbt build`."
        )
    train = texts.take(of_train)
    vocabulary = sorted({t for text, side in zip(train.texts, train.side, strict=True) for t in terms_of(text, side)})
    counts, shares_texts = _documents(occurrences, _incidence(train, vocabulary))
    vectors_MD = fit_terms(counts, dim, seed)
    wanted = texts.take(texts.side != USER_SIDE)
    vectors_ND, known_N = _means(_incidence(wanted, vocabulary), vectors_MD)
    recipe = Recipe(FROM_LOG, occurrences.fingerprint, "mean", Template(), True, 0, "fp32", _steps(dim, seed))
    with VectorStore.writer(root, recipe, dim) as store:
        there_N = store.has(wanted.ids)
        # Train's texts in a shard of their own: its bytes don't depend on what else there is.
        in_train_N = np.isin(wanted.ids, occurrences.ids_T)
        for some_N in (in_train_N, ~in_train_N):
            new_N = some_N & known_N & ~there_N
            if new_N.any():
                store.append([wanted.ids[k] for k in np.flatnonzero(new_N)], vectors_ND[new_N])
        return SpaceReport(
            store=str(store.path),
            n_users=len(occurrences.names["user"]),
            n_items=len(occurrences.names["item"]),
            n_terms=len(vocabulary),
            n_texts=len(texts),
            n_made=int((known_N & ~there_N).sum()),
            n_already_there=int(there_N.sum()),
            n_unknown=int((~known_N & ~there_N).sum()),
            n_whole_user_texts=len(texts) - len(wanted),
            shares_texts=shares_texts,
            seconds=time.perf_counter() - begin,
        )


def fit_terms(counts_DM: sparse.csr_array, dim: int, seed: int) -> np.ndarray:
    """The vectors of M terms that D users and items have; zero for a term that the kept dimensions say nothing of.

    Shapes: -> (M, dim), float64. Raises: EmbeddingsError where they span fewer dimensions.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.preprocessing import normalize
    from threadpoolctl import threadpool_limits

    weights_DM = counts_DM.astype(np.float64)
    n_documents, n_terms = weights_DM.shape
    if (most := min(n_documents, n_terms) - 1) < dim:
        smaller = f"Use --dim {most} or less and the same in the stage's `dimensions`, or" if most > 0 else "Use"
        raise EmbeddingsError(
            f"The train rows hold {n_terms:,} terms (entities, and words of titles) for {n_documents:,} users and items"
            f" with texts: {dim} dimensions need more than {dim} of both. {smaller} an encoder that reads each text by"
            " itself, such as e5-small."
        )
    weights_DM.data = np.log1p(weights_DM.data)
    in_documents_M = np.bincount(weights_DM.indices, minlength=n_terms)
    weights_DM.data *= (np.log((1 + n_documents) / (1 + in_documents_M)) + 1)[weights_DM.indices]
    # The last bits of a product depend on how many threads made it.
    with threadpool_limits(limits=1, user_api="blas"):
        svd = TruncatedSVD(dim, algorithm="arpack", random_state=seed).fit(normalize(weights_DM))
    strength_D = svd.singular_values_
    rank = int((strength_D > strength_D[0] * np.sqrt(np.finfo(np.float64).eps)).sum())
    if rank < dim:
        raise EmbeddingsError(
            f"The users' and items' texts span {rank} dimensions, fewer than the {dim} asked for: too many of them have"
            f" the same texts. Use --dim {rank} or less and the same in the stage's `dimensions`."
        )
    vectors_MD = svd.components_.T * np.sqrt(strength_D)
    vectors_MD[np.linalg.norm(vectors_MD, axis=1) < _NOISE] = 0
    return normalize(vectors_MD)


def _documents(occurrences: Occurrences, terms_TM: sparse.csr_array) -> tuple[sparse.csr_array, bool]:
    """Terms by users, then by items, without users and items that have none; and whether both sides share a text."""
    counts = occurrences.counts
    shares_texts = bool(np.intersect1d(counts["user"].indices, counts["item"].indices).size)
    users = counts["user"] if shares_texts else counts["user"] + counts["shown"]
    stacked = sparse.vstack([users @ terms_TM, counts["item"] @ terms_TM]).tocsr()
    return stacked[np.diff(stacked.indptr) > 0], shares_texts


def _incidence(texts: Texts, vocabulary: Sequence[str]) -> sparse.csr_array:
    """Which terms each text has, of those known. Shapes: -> (N, M)."""
    code = {term: k for k, term in enumerate(vocabulary)}
    columns = [
        [code[term] for term in terms_of(text, side) if term in code]
        for text, side in zip(texts.texts, texts.side, strict=True)
    ]
    begin = np.cumsum([0, *map(len, columns)])
    flat = np.array([k for row in columns for k in row], np.int64)
    return sparse.csr_array((np.ones(len(flat), np.int64), flat, begin), shape=(len(texts), len(vocabulary)))


def _means(terms_NM: sparse.csr_array, vectors_MD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of each text's terms, to length 1, and which have one. Shapes: -> (N, D) float32, (N,) bool."""
    sum_ND = terms_NM @ vectors_MD
    length_N = np.linalg.norm(sum_ND, axis=1)
    known_N = length_N > _NOISE
    return (sum_ND / np.where(known_N, length_N, 1)[:, None]).astype(np.float32), known_N


def _steps(dim: int, seed: int) -> tuple[str, ...]:
    """What was done to the counts, as the recipe keeps it."""
    return ("log(1 + count) * idf, rows to length 1", f"truncated SVD to {dim}, seed {seed}", "V * sqrt(s) to length 1")
