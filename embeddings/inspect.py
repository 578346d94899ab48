"""Checks of vectors before a model uses them: coverage, duplicates, variance, cosines, neighbours."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embeddings.errors import EmbeddingsError, require_extra
from embeddings.store import VectorStore
from embeddings.texts import Texts
from embeddings.whitening import Whitening
from storage import atomic

_N_PAIRS = 20_000
_N_NEIGHBOURS = 3


@dataclass(frozen=True)
class Crowding:
    """Cosines of random pairs of different texts, before and after whitening. 0 is ideal."""

    before: np.ndarray
    after: np.ndarray | None


@dataclass(frozen=True)
class Inspection:
    """What was seen. coverage: side -> (texts with a vector, non-empty texts). Units: n_* texts, ranks dimensions."""

    store: str
    dim: int
    coverage: dict[str, tuple[int, int]]
    n_empty: int
    n_duplicate_vectors: int
    n_constant_dims: int
    effective_rank: float
    variances: np.ndarray
    crowding: Crowding
    neighbours: list[tuple[str, list[tuple[str, float]]]]
    warnings: list[str]
    whitening: Whitening | None


def inspect(
    texts: Texts,
    store: VectorStore,
    *,
    n_titles: int = 6,
    n_components: int = 128,
    min_coverage: float = 0.9,
    seed: int = 0,
) -> Inspection:
    """Look at a store through the texts of a mart.

    Whitening is fit on the texts of the train split and shown on all. Neighbours are of the most frequent titles, by
    whitened cosine where there is a whitening.
    Raises: EmbeddingsError where no text has a vector.
    """
    empty = texts.empty
    vectors_ND, found_N = store.load(texts.ids)
    if not found_N.any():
        raise EmbeddingsError(
            f"None of the {len(texts):,} texts has a vector in {store.path}: build it for this mart with"
            " `embeddings build`."
        )
    coverage = {
        str(side): (int(found_N[texts.side == side].sum()), int((~empty & (texts.side == side)).sum()))
        for side in sorted(set(texts.side))
    }
    have = texts.take(found_N)
    X = vectors_ND[found_N].astype(np.float64)
    counts = Counter(row.tobytes() for row in vectors_ND[found_N])
    n_duplicates = sum(n - 1 for n in counts.values())
    std_D = X.std(axis=0)
    n_constant = int((std_D <= 1e-7 * max(np.abs(X).max(), 1e-30)).sum())
    variances = np.maximum(np.linalg.eigvalsh(np.cov(X.T))[::-1], 0) if len(X) > 1 else np.zeros(store.dim)
    share = variances / variances.sum() if variances.sum() > 0 else variances
    effective_rank = float(np.exp(-(share[share > 0] * np.log(share[share > 0])).sum())) if share.any() else 0.0

    warnings = []
    for side, (n_there, n_texts) in coverage.items():
        if n_texts and n_there < min_coverage * n_texts:
            warnings.append(f"{side}: only {n_there / n_texts:.1%} of {n_texts:,} texts have a vector")
    if n_constant:
        warnings.append(f"{n_constant} of {store.dim} dimensions are constant")
    if len(counts) == 1 and len(X) > 1:
        warnings.append(f"all {len(X):,} vectors are the same: a model would learn nothing from them")
    elif n_duplicates > 0.05 * len(X):
        warnings.append(f"{n_duplicates:,} of {len(X):,} vectors repeat another text's")

    whitening = None
    in_train = have.n_train_rows > 0
    try:
        n_kept = min(n_components, store.dim)
        fit_ids = [text_id for text_id, there in zip(have.ids, in_train, strict=True) if there]
        whitening = Whitening(n_kept).fit(X[in_train], ids=fit_ids)
    except EmbeddingsError as error:
        warnings.append(f"no whitening: {error}")
    white = whitening.transform(X) if whitening else None
    rng = np.random.default_rng(seed)
    pairs = rng.integers(len(X), size=(2, _N_PAIRS))
    pairs = pairs[:, pairs[0] != pairs[1]]
    crowding = Crowding(_cosines(X, pairs), None if white is None else _cosines(white, pairs))
    return Inspection(
        store=str(store.path),
        dim=store.dim,
        coverage=coverage,
        n_empty=int(empty.sum()),
        n_duplicate_vectors=n_duplicates,
        n_constant_dims=n_constant,
        effective_rank=effective_rank,
        variances=variances,
        crowding=crowding,
        neighbours=_neighbours(have, X if white is None else white, n_titles),
        warnings=warnings,
        whitening=whitening,
    )


def _cosines(X: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    unit = _unit(X)
    return (unit[pairs[0]] * unit[pairs[1]]).sum(axis=1)


def _unit(X: np.ndarray) -> np.ndarray:
    return X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12)


def _neighbours(texts: Texts, X: np.ndarray, n_titles: int) -> list[tuple[str, list[tuple[str, float]]]]:
    """The most frequent titles (any text, where there are no titles), each with its nearest others of that side."""
    pool = np.flatnonzero(texts.side == "title")
    if not len(pool):
        pool = np.arange(len(texts))
    unit = _unit(X[pool])
    asked = np.argsort(-texts.n_rows[pool], kind="stable")[:n_titles]
    out = []
    for row in asked:
        cosines = unit @ unit[row]
        cosines[row] = -np.inf
        near = np.argsort(-cosines, kind="stable")[:_N_NEIGHBOURS]
        near = near[np.isfinite(cosines[near])]
        out.append((texts.texts[pool[row]], [(texts.texts[pool[i]], float(cosines[i])) for i in near]))
    return out


def draw(inspection: Inspection, path: Path | str) -> Path:
    """The picture: cosines of unrelated pairs before and after, the spectrum, coverage. A PNG.

    Raises: EmbeddingsError where the extra `report` isn't installed.
    """
    require_extra("report", "The picture of `embeddings inspect`")
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
    bins = np.linspace(-0.6, 1, 81)
    left.hist(inspection.crowding.before, bins, density=True, color="#b0b0b0", label="as encoded")
    if inspection.crowding.after is not None:
        left.hist(inspection.crowding.after, bins, density=True, color="#2b6cb0", alpha=0.75, label="whitened")
    left.axvline(0, color="black", linewidth=0.8)
    left.set(title="Cosine of unrelated pairs: whitening spreads them", xlabel="cosine", ylabel="density")
    left.legend(frameon=False)

    share = inspection.variances / max(inspection.variances.sum(), 1e-30)
    middle.plot(np.arange(1, len(share) + 1), np.cumsum(share), color="#2b6cb0")
    if inspection.whitening is not None:
        kept = inspection.whitening.n_components
        middle.axvline(kept, color="black", linewidth=0.8, linestyle="--")
        middle.annotate(
            f"{kept} kept: {np.cumsum(share)[kept - 1]:.0%}", (kept, 0.06), xytext=(5, 0), textcoords="offset points"
        )
    middle.set(title=f"Variance, effective rank {inspection.effective_rank:.0f}", xlabel="dimensions", ylim=(0, 1.02))
    middle.set_ylabel("share of variance")

    sides = list(inspection.coverage)
    shares = [there / max(1, n) for there, n in inspection.coverage.values()]
    right.barh(sides, shares, color="#2b6cb0")
    for at, (there, n) in enumerate(inspection.coverage.values()):
        right.text(0.02, at, f"{there:,} of {n:,}", va="center", color="white" if there > 0.3 * n else "black")
    right.set(title="Texts with a vector", xlim=(0, 1), xlabel="share of texts")
    right.invert_yaxis()
    for axis in (left, middle, right):
        axis.spines[["top", "right"]].set_visible(False)
    path = Path(path)
    with atomic.file(path) as aside:
        figure.savefig(aside, dpi=110, format="png")
    plt.close(figure)
    return path
