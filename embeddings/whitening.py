"""Whitening: the crowded cone of sentence vectors -> uncorrelated dimensions of equal variance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from embeddings.errors import EmbeddingsError
from embeddings.texts import list_hash
from storage import atomic

KINDS = ("pca", "zca", "none")
# float32 vectors carry seven digits: a direction whose variance is this far below the largest is rounding.
MAX_CONDITION = 1e10


class Whitening(TransformerMixin, BaseEstimator):
    """Centre, keep the directions of most variance, and scale each to variance one.

    >>> vectors, found = store.load(text_ids)
    >>> Whitening(128).fit(vectors, ids=text_ids, found=found).transform(vectors).shape
    (3953, 128)

    Parameters: n_components, dimensions kept; kind, "zca", "pca" or "none"; shrinkage, the share of the covariance
    replaced by its mean variance times the identity, in [0, 1], or "auto" for Ledoit and Wolf's estimate;
    min_coverage, the least share of the texts asked for that must have a vector.

    Both kinds give the same distances between texts; they differ by a rotation. "pca" orders its dimensions by
    variance. "zca" turns them as near as possible to the original coordinates of most variance, so that a dimension
    means what it meant before; with every dimension kept it is plain ZCA. "none" keeps the first dimensions as
    they are: for vectors made from the log, which are ordered by what they explain.

    Attributes after `fit`: mean_ (D,), matrix_ (D, n_components), variances_ (D,) eigenvalues before whitening,
    shrinkage_, rank_, condition_, n_fit_, list_hash_ (sha256 over the ids it was fit on), all float64.

    Source: Su et al. 2021, "Whitening Sentence Representations", eq. 4 to 9 ("pca"); Kessy et al. 2018, section 2
    (ZCA); Ledoit and Wolf 2004. Differs from them: the shrinkage, and ZCA within the kept subspace, where the
    rotation is the orthogonal Procrustes solution.
    """

    def __init__(
        self,
        n_components: int = 128,
        kind: str = "zca",
        shrinkage: float | str = "auto",
        min_coverage: float = 0.9,
    ) -> None:
        self.n_components = n_components
        self.kind = kind
        self.shrinkage = shrinkage
        self.min_coverage = min_coverage

    def fit(
        self,
        X: np.ndarray,
        y: object = None,
        *,
        ids: Sequence[int | str] | None = None,
        found: np.ndarray | None = None,
    ) -> Whitening:
        """Fit on the vectors of distinct texts of the training period.

        Args: X (N, D); ids, their N text ids; found (N,) bool from `VectorStore.load`: rows without a vector are left
        out and counted against `min_coverage`.
        Raises: EmbeddingsError where the input can't be whitened: too few texts covered, not finite, constant, of too
        low a rank, or conditioned worse than float32 can carry.
        """
        self._check_parameters()
        X = np.asarray(X, np.float64)
        if X.ndim != 2:
            raise EmbeddingsError(
                f"Whitening expects a matrix of one vector a text, found an array of shape {X.shape}."
            )
        ids = [str(row) for row in range(len(X))] if ids is None else list(ids)
        if len(ids) != len(X):
            raise EmbeddingsError(f"Whitening got {len(X)} vectors and {len(ids)} text ids; expected as many of each.")
        if len(set(ids)) != len(ids):
            raise EmbeddingsError(
                f"Whitening is fit on distinct texts, but {len(ids) - len(set(ids))} of {len(ids)} ids occur more than"
                " once. Take each text_id once, or frequent texts would decide the axes."
            )
        if found is not None:
            found = np.asarray(found, bool)
            self._check_coverage(found)
            X, ids = X[found], [text_id for text_id, there in zip(ids, found, strict=True) if there]
        n, width = X.shape
        if not np.isfinite(X).all():
            raise EmbeddingsError(
                f"{int((~np.isfinite(X).all(axis=1)).sum())} of {n} vectors are not finite. Run `embeddings check`."
            )
        if width < self.n_components:
            raise EmbeddingsError(
                f"Can't whiten {width} dimensions to {self.n_components}: lower n_components (--dim)."
            )
        _check_variation(X)
        if self.kind == "none":
            self.mean_, self.matrix_, self.variances_ = np.zeros(width), np.eye(width, self.n_components), X.var(axis=0)
            self.shrinkage_, self.rank_, self.condition_ = 0.0, self.n_components, 1.0
            self.n_fit_, self.list_hash_ = n, list_hash(ids)
            return self
        mean_D = X.mean(axis=0)
        centred_ND = X - mean_D
        rank = _rank(centred_ND)
        if rank < self.n_components:
            raise EmbeddingsError(
                f"The {n} vectors span {rank} dimensions, fewer than the {self.n_components} asked for: whitening the"
                f" rest would blow up rounding errors. Use --dim {rank} or less, or fit on more distinct texts (more"
                f" than {self.n_components})."
            )
        covariance_DD = centred_ND.T @ centred_ND / n
        shrinkage = self._shrinkage_of(centred_ND)
        shrunk_DD = (1 - shrinkage) * covariance_DD
        shrunk_DD.flat[:: width + 1] += shrinkage * np.trace(covariance_DD) / width
        variances_D, axes_DD = np.linalg.eigh(shrunk_DD)
        variances_D, axes_DD = variances_D[::-1], axes_DD[:, ::-1]
        variances_K, axes_DK = variances_D[: self.n_components], axes_DD[:, : self.n_components]
        condition = variances_K[0] / max(variances_K[-1], np.finfo(np.float64).tiny)
        if condition > MAX_CONDITION:
            raise EmbeddingsError(
                f"The kept variances differ by a factor of {condition:.1e}; float32 vectors carry no more than"
                f" {MAX_CONDITION:.0e}. Use a smaller --dim, or --shrinkage 0.01 or more."
            )
        # An eigenvector's sign is arbitrary; fix it, or two machines would disagree.
        largest = np.abs(axes_DK).argmax(axis=0)
        axes_DK = axes_DK * np.sign(axes_DK[largest, np.arange(self.n_components)])
        matrix_DK = axes_DK / np.sqrt(variances_K)
        if self.kind == "zca":
            matrix_DK = matrix_DK @ _towards_original(axes_DK, variances_K, np.diag(shrunk_DD))
        self.mean_, self.matrix_, self.variances_ = mean_D, matrix_DK, variances_D
        self.shrinkage_, self.rank_, self.condition_ = float(shrinkage), rank, float(condition)
        self.n_fit_, self.list_hash_ = n, list_hash(ids)
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Whitened vectors.

        Shapes: (N, D) -> (N, n_components), float32; computed in float64.
        Raises: EmbeddingsError before `fit`, and for vectors of another width than it was fit on.
        """
        if not hasattr(self, "matrix_"):
            raise EmbeddingsError("This whitening has not been fit: call fit, or Whitening.load a saved one.")
        X = np.asarray(X, np.float64)
        if X.ndim != 2 or X.shape[1] != len(self.mean_):
            raise EmbeddingsError(
                f"This whitening was fit on vectors of {len(self.mean_)} numbers, found an array of shape {X.shape}."
                " Is it of another encoder?"
            )
        return ((X - self.mean_) @ self.matrix_).astype(np.float32)

    def save(self, path: Path | str, **notes: str) -> Path:
        """Write a safetensors file, atomically. `notes` (the store's key, say) go to its metadata."""
        from safetensors.numpy import save_file

        path = Path(path)
        facts = {
            "params": self.get_params(),
            "shrinkage": self.shrinkage_,
            "rank": self.rank_,
            "condition": self.condition_,
            "n_fit": self.n_fit_,
            "list_hash": self.list_hash_,
        }
        arrays = {"mean": self.mean_, "matrix": np.ascontiguousarray(self.matrix_), "variances": self.variances_.copy()}
        with atomic.file(path) as aside:
            save_file(arrays, aside, metadata={"whitening": json.dumps(facts), **notes})
            aside.write_bytes(_in_order(aside.read_bytes()))
        return path

    @classmethod
    def load(cls, path: Path | str) -> Whitening:
        """Read what `save` wrote. Raises: EmbeddingsError where it is something else, or truncated."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "numpy") as file:
                facts = json.loads(file.metadata()["whitening"])
                mean, matrix, variances = (file.get_tensor(name) for name in ("mean", "matrix", "variances"))
        except (OSError, SafetensorError, KeyError, TypeError) as error:
            raise EmbeddingsError(
                f"{path} is no whitening file ({error}). Make one with `embeddings whiten`."
            ) from error
        self = cls(**facts["params"])
        self.mean_, self.matrix_, self.variances_ = mean, matrix, variances
        self.shrinkage_, self.rank_, self.condition_ = facts["shrinkage"], facts["rank"], facts["condition"]
        self.n_fit_, self.list_hash_ = facts["n_fit"], facts["list_hash"]
        return self

    def _check_parameters(self) -> None:
        if self.kind not in KINDS:
            raise EmbeddingsError(f"Unknown kind of whitening {self.kind!r}: expected {' or '.join(KINDS)}.")
        if self.n_components < 1:
            raise EmbeddingsError(f"n_components is {self.n_components}: expected 1 or more.")
        if self.shrinkage != "auto" and not (isinstance(self.shrinkage, (int, float)) and 0 <= self.shrinkage <= 1):
            raise EmbeddingsError(f"shrinkage is {self.shrinkage!r}: expected 'auto' or a number from 0 to 1.")

    def _check_coverage(self, found: np.ndarray) -> None:
        coverage = found.mean() if len(found) else 0.0
        if coverage < self.min_coverage:
            raise EmbeddingsError(
                f"Only {coverage:.1%} of {len(found):,} texts have a vector, expected {self.min_coverage:.0%} or more."
                " Run `embeddings build` first; it encodes only what is missing."
            )

    def _shrinkage_of(self, centred_ND: np.ndarray) -> float:
        if self.shrinkage != "auto":
            return float(self.shrinkage)
        from sklearn.covariance import ledoit_wolf_shrinkage

        return float(ledoit_wolf_shrinkage(centred_ND, assume_centered=True))


def _check_variation(X: np.ndarray) -> None:
    if len(X) < 2 or np.ptp(X, axis=0).max() <= 1e-6 * np.abs(X).max():
        raise EmbeddingsError(
            f"All {len(X)} vectors are the same: there is nothing to whiten. Usually every row got the same (empty)"
            " text: look at the texts mart, or run `embeddings inspect`."
        )


def _in_order(file: bytes) -> bytes:
    """A safetensors file with its header's keys sorted; the library writes metadata in an order of chance.

    The format: eight bytes with the header's length, the header as JSON padded with blanks to eights, the data.
    """
    length = int.from_bytes(file[:8], "little")
    header = json.dumps(json.loads(file[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + file[8 + length :]


def _rank(centred_ND: np.ndarray) -> int:
    """Numerical rank of centred float32 vectors (rounding noise doesn't count)."""
    n, width = centred_ND.shape
    gram = centred_ND.T @ centred_ND if width <= n else centred_ND @ centred_ND.T
    squares = np.linalg.eigvalsh(gram)
    # float32's resolution, as numpy's matrix_rank scales it; squared, because these are squared singular values.
    limit = squares[-1] * (np.finfo(np.float32).eps * np.sqrt(max(n, width))) ** 2
    return int((squares > limit).sum())


def _towards_original(axes_DK: np.ndarray, variances_K: np.ndarray, original_D: np.ndarray) -> np.ndarray:
    """The rotation (K, K) that brings PCA-whitened dimensions nearest to the K original coordinates of most variance.

    With z the whitened and x the original vector, cov(z, x) = sqrt(variances) * axes.T; the orthogonal matrix nearest
    to its K chosen columns is the answer (orthogonal Procrustes).
    """
    n_kept = len(variances_K)
    chosen = np.sort(np.argsort(-original_D, kind="stable")[:n_kept])
    left, _, right = np.linalg.svd(np.sqrt(variances_K)[:, None] * axes_DK[chosen].T)
    return left @ right
