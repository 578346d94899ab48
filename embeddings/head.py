"""Token states -> one vector: pooling, then the modules that a sentence-transformers folder puts behind it.

In numpy, so that the int8 path needs no torch, and row by row where a product could depend on its company: a text has
the same bits in any batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from embeddings.errors import EmbeddingsError

# In the order in which sentence-transformers concatenates several of them.
POOLINGS = ("cls", "max", "mean", "mean_sqrt_len", "weightedmean", "last")
_ALIASES = {"mean_sqrt_len_tokens": "mean_sqrt_len", "lasttoken": "last"}


def parse_pooling(pooling: str) -> str:
    """One pooling, or several joined by "+" whose results are concatenated, in this project's spelling.

    Raises: EmbeddingsError for a name that isn't one of POOLINGS.
    """
    names = [_ALIASES.get(name, name) for name in pooling.split("+")]
    for name in names:
        if name not in POOLINGS:
            raise EmbeddingsError(
                f"Unknown pooling {pooling!r}: expected one of mean, cls, last, max, mean_sqrt_len, weightedmean, or"
                " several of them joined by '+', such as cls+mean."
            )
    return "+".join(names)


@dataclass(frozen=True)
class Normalize:
    """Scale to length 1. Source: torch's `F.normalize` with its default eps."""

    label = "normalize"

    def __call__(self, x_BD: np.ndarray) -> np.ndarray:
        return x_BD / np.maximum(np.linalg.norm(x_BD, axis=1, keepdims=True), 1e-12)

    def width(self, n: int) -> int:
        return n


@dataclass(frozen=True)
class Truncate:
    """The first `n` numbers (Matryoshka vectors)."""

    n: int

    @property
    def label(self) -> str:
        return f"truncate {self.n}"

    def __call__(self, x_BD: np.ndarray) -> np.ndarray:
        return x_BD[:, : self.n]

    def width(self, n: int) -> int:
        return min(n, self.n)


@dataclass(frozen=True)
class LayerNorm:
    """torch.nn.LayerNorm with its default eps. Shapes: weight_D, bias_D."""

    weight_D: np.ndarray = field(repr=False)
    bias_D: np.ndarray = field(repr=False)
    file: Path

    @property
    def label(self) -> str:
        return f"layernorm {len(self.weight_D)}"

    def __call__(self, x_BD: np.ndarray) -> np.ndarray:
        centred_BD = x_BD - x_BD.mean(axis=1, keepdims=True)
        deviation_B1 = np.sqrt((centred_BD**2).mean(axis=1, keepdims=True) + np.float32(1e-5))
        return centred_BD / deviation_B1 * self.weight_D + self.bias_D

    def width(self, n: int) -> int:
        _check_width(self.file, "dimension", len(self.weight_D), n)
        return n


_erf = np.vectorize(math.erf, otypes=[np.float64])
ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Identity": lambda x: x,
    "Tanh": np.tanh,
    "ReLU": lambda x: np.maximum(x, 0),
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "SiLU": lambda x: x / (1 + np.exp(-x)),
    "GELU": lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2))),
}


@dataclass(frozen=True)
class Dense:
    """activation(W x + b), plus x (or a product of it) where the module has a residual.

    Shapes: weight_OI, bias_O, residual_OI.
    """

    weight_OI: np.ndarray = field(repr=False)
    bias_O: np.ndarray | None = field(repr=False)
    residual_OI: np.ndarray | None = field(repr=False)
    activation: str
    use_residual: bool
    file: Path

    @property
    def label(self) -> str:
        n_out, n_in = self.weight_OI.shape
        bias = "" if self.bias_O is not None else " no bias"
        return f"dense {n_in}>{n_out} {self.activation}{bias}{' residual' if self.use_residual else ''}"

    def __call__(self, x_BD: np.ndarray) -> np.ndarray:
        # The product of a whole batch may round differently from that of one row.
        out_BO = np.stack([self.weight_OI @ x_D for x_D in x_BD])
        if self.bias_O is not None:
            out_BO = out_BO + self.bias_O
        with np.errstate(over="ignore"):
            out_BO = ACTIVATIONS[self.activation](out_BO).astype(np.float32)
        if self.use_residual:
            out_BO += x_BD if self.residual_OI is None else np.stack([self.residual_OI @ x_D for x_D in x_BD])
        return out_BO

    def width(self, n: int) -> int:
        _check_width(self.file, "in_features", self.weight_OI.shape[1], n)
        return self.weight_OI.shape[0]


Step = Normalize | Truncate | LayerNorm | Dense


def _check_width(file: Path, key: str, found: int, expected: int) -> None:
    if found != expected:
        raise EmbeddingsError(
            f"{file} says {key} {found}, but the vectors that come to this module have {expected} numbers. Its folder"
            " was put together from two models, or --pooling isn't the one it was made with."
        )


@dataclass(frozen=True)
class Head:
    """Pooling and what follows it."""

    pooling: str
    steps: tuple[Step, ...] = ()

    def width(self, n_states: int) -> int:
        """Numbers in a vector, from those in a token's state. Raises: EmbeddingsError where a step doesn't fit."""
        n = n_states * len(self.pooling.split("+"))
        for step in self.steps:
            n = step.width(n)
        return n

    def __call__(self, states_BSD: np.ndarray, lengths_B: np.ndarray, starts_B: np.ndarray) -> np.ndarray:
        """Shapes: states (B, S, D), padded on the right; lengths, tokens of each; starts, the first token that counts.

        Returns: (B, width), float32.
        """
        parts = [_pool(states_BSD, lengths_B, starts_B, name) for name in self.pooling.split("+")]
        return self.after_pooling(parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1))

    def after_pooling(self, x_BD: np.ndarray) -> np.ndarray:
        """The modules behind the pooling. Shapes: (B, width of the pooling) -> (B, width), float32."""
        for step in self.steps:
            x_BD = step(x_BD)
        return x_BD


def _pool(states_BSD: np.ndarray, lengths_B: np.ndarray, starts_B: np.ndarray, pooling: str) -> np.ndarray:
    n_longest, rows = states_BSD.shape[1], np.arange(len(lengths_B))
    if pooling == "cls":
        return states_BSD[rows, starts_B]
    if pooling == "last":
        return states_BSD[rows, lengths_B - 1]
    at_S = np.arange(n_longest)
    counts_BS = (at_S < lengths_B[:, None]) & (at_S >= starts_B[:, None])
    if pooling == "max":
        return np.where(counts_BS[..., None], states_BSD, -np.inf).max(axis=1).astype(np.float32)
    if pooling == "weightedmean":
        weights_BS = np.where(counts_BS, at_S + 1, 0).astype(np.float32)
        weighted_BSD = np.where(counts_BS[..., None], states_BSD, 0) * weights_BS[..., None]
        return weighted_BSD.sum(axis=1) / weights_BS.sum(axis=1, keepdims=True)
    n_B1 = (lengths_B - starts_B).astype(np.float32)[:, None]
    if pooling == "mean" and counts_BS.all():
        return states_BSD.mean(axis=1)
    total_BD = np.where(counts_BS[..., None], states_BSD, 0).sum(axis=1)
    return total_BD / (n_B1 if pooling == "mean" else np.sqrt(n_B1))


def labels(steps: Sequence[Step]) -> tuple[str, ...]:
    """The steps in words, as a recipe holds them; weights are covered by the recipe's revision."""
    return tuple(step.label for step in steps)
