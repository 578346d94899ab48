"""What each row may see: the outcomes of its user that were known strictly before the row's own instant.

A user's outcomes stand in the order in which they became known, so what a row may see is the first so many of them. An
outcome that became known late stands late; outcomes of the row's own instant, its own above all, stand after what it
sees. Legend: N rows, M outcomes, B rows of a batch, G users in it, Q rows and L outcomes of a user at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from trainer.base.errors import TrainerError
from trainer.columns.store import Columns

MOST = 1 << 22  # rows times outcomes of a batch, padded, while predicting: bounds memory
_ROW = 64  # outcomes that a row by itself counts for
_PIECE = 1024  # rows of a user that are predicted together at most


@dataclass(frozen=True)
class OutcomeIndex:
    """The rows of a store as outcomes, by user and by when they were known.

    columns: they hold labels and known_at.
    """

    columns: Columns

    @cached_property
    def _known_at(self) -> np.ndarray:
        if self.columns.known_at_N is None:
            raise TrainerError(
                "This stage reads the user's outcomes as they became known: a column known_at with role time. The "
                "mart has none; training_examples has it. Run `dbt build`, and use --mart."
            )
        # No row sees its own outcome, whatever the log says of when it was known.
        return np.maximum(self.columns.known_at_N, self.columns.event_at_N)

    @cached_property
    def _instants(self) -> np.ndarray:
        return np.unique(self._known_at)

    @cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions of rows by (user, known, position), and the keys of user and instant that sort them."""
        key_N = self._key(self.columns.codes_of("user"), np.searchsorted(self._instants, self._known_at))
        order_M = np.argsort(key_N, kind="stable")
        return order_M, key_N[order_M]

    @property
    def order(self) -> np.ndarray:
        """Positions in the store, user after user, each user's in the order in which they became known."""
        return self._sorted[0]

    @cached_property
    def own_seen(self) -> np.ndarray:
        """How many of the user's outcomes were known before each outcome's own instant, in the order of order."""
        return self._seen(self.columns.codes_of("user"), self.columns.event_at_N)[1][self.order]

    def seen_by(self, rows: Columns) -> Sequences:
        """What the rows of a store, this one or another, may see."""
        user_N = np.asarray(rows.codes_of("user"))
        if rows is not self.columns:
            ours = {value: k for k, value in enumerate(self.columns.dictionaries[self.columns.id_names["user"]], 1)}
            theirs = rows.dictionaries[rows.id_names["user"]]
            user_N = np.array([0, *(ours.get(value, 0) for value in theirs)])[user_N]
        begin_N, seen_N = self._seen(user_N, rows.event_at_N)
        return Sequences(self, begin_N, seen_N)

    def _seen(self, user_N: np.ndarray, at_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where each user's outcomes begin in order, and how many of them were known before the instant."""
        _, key_M = self._sorted
        begin_N = np.searchsorted(key_M, self._key(user_N, np.zeros(len(user_N), np.int64)))
        end_N = np.searchsorted(key_M, self._key(user_N, np.searchsorted(self._instants, at_N)))
        return begin_N, np.where(np.asarray(user_N) > 0, end_N - begin_N, 0)  # nobody's outcomes are nobody's past

    def _key(self, user_N: np.ndarray, instant_N: np.ndarray) -> np.ndarray:
        """One number for a user and the number of instants before."""
        return np.asarray(user_N, np.int64) * (len(self._instants) + 1) + instant_N


@dataclass(frozen=True)
class Layout:
    """The rows of a batch by user, and the outcomes that they need.

    rows_T: positions of the T outcomes in their store. row_GL: positions in rows_T, seen_GL: how many of the user's
    outcomes in row_GL were known before that outcome's own instant. asked_GQ: positions in the batch's rows, by what
    they see; asked_seen_GQ: how many of the user's outcomes in row_GL. place_B: where each row stands in asked_GQ,
    flattened. Where a user has fewer rows or outcomes than others, any row, which sees nothing, and any outcome, which
    no row sees.
    """

    rows_T: np.ndarray
    row_GL: np.ndarray
    seen_GL: np.ndarray
    asked_GQ: np.ndarray
    asked_seen_GQ: np.ndarray
    place_B: np.ndarray


@dataclass(frozen=True)
class Sequences:
    """For each of N rows: where its user's outcomes begin in index.order, and how many of them it may see."""

    index: OutcomeIndex
    begin_N: np.ndarray
    seen_N: np.ndarray

    def layout(self, rows_B: np.ndarray, window: int, layers: int) -> Layout:
        """window: the latest outcomes that a row attends to. layers: so often outcomes hand on what they saw."""
        begin_B, seen_B = self.begin_N[rows_B], self.seen_N[rows_B]
        order_B = np.lexsort((seen_B, begin_B))
        starts_G, q_G = _runs(begin_B[order_B])
        begin_G, most_G = begin_B[order_B][starts_G], seen_B[order_B][starts_G + q_G - 1]
        # The first outcome that is needed: by the earliest row, and then by the outcomes that it attends to.
        first_G = np.maximum(seen_B[order_B][starts_G] - window, 0)
        for g in np.flatnonzero(first_G):
            for _ in range(layers - 1):
                own = self.index.own_seen[begin_G[g] + first_G[g] : begin_G[g] + most_G[g]]
                first_G[g] = max(0, min(first_G[g], int(own.min(initial=first_G[g])) - window))
        row_GL, there_GL = _padded(most_G - first_G)
        at_T = ((begin_G + first_G)[:, None] + np.arange(row_GL.shape[1]))[there_GL]
        seen_GL = np.zeros(row_GL.shape, np.int64)
        seen_GL[there_GL] = self.index.own_seen[at_T]
        seen_GL = np.maximum(seen_GL - first_G[:, None], 0)
        asked_GQ, real_GQ = _padded(q_G)
        asked_GQ = order_B[asked_GQ]
        place_B = np.empty(len(rows_B), np.int64)
        place_B[asked_GQ[real_GQ]] = np.flatnonzero(real_GQ)
        asked_seen_GQ = np.where(real_GQ, seen_B[asked_GQ] - first_G[:, None], 0)
        return Layout(self.index.order[at_T], row_GL, seen_GL, asked_GQ, asked_seen_GQ, place_B)

    def blocks(self, rows_B: np.ndarray, most_rows: int) -> list[np.ndarray]:
        """Positions in rows_B, each once, in blocks that `layout` pads little: by how much the rows' users have."""
        order_B, starts_P, n_P, most_P = self._pieces(rows_B, _PIECE)
        out: list[np.ndarray] = []
        block: list[np.ndarray] = []
        rows = longest = 0
        for p in np.argsort(most_P, kind="stable"):
            n, rows, longest = int(n_P[p]), rows + int(n_P[p]), max(longest, int(n_P[p]))
            if block and (rows > most_rows or (len(block) + 1) * longest * (int(most_P[p]) + _ROW) > MOST):
                out.append(np.concatenate(block))
                block, rows, longest = [], n, n
            block.append(order_B[starts_P[p] : starts_P[p] + n])
        return [*out, *([np.concatenate(block)] if block else [])]

    def batches(self, rows_B: np.ndarray, n_batches: int, generator: np.random.Generator) -> list[np.ndarray]:
        """All rows, in n_batches of about as many rows each, whole users where they aren't longer than a batch.

        Users of a batch have about as many outcomes as each other.
        """
        order_B, starts_P, n_P, most_P = self._pieces(rows_B, len(rows_B) // n_batches)
        bucket_P = np.floor(4 * np.log2(1 + most_P))
        chosen = np.lexsort((generator.random(len(n_P)), bucket_P))
        before = np.cumsum(n_P[chosen]) - n_P[chosen]
        batch_P = before * n_batches // len(rows_B)
        out = []
        for own in np.split(chosen, np.flatnonzero(np.diff(batch_P)) + 1):
            out.append(rows_B[np.concatenate([order_B[starts_P[p] : starts_P[p] + n_P[p]] for p in own])])
        return [out[k] for k in generator.permutation(len(out))]

    def _pieces(self, rows_B: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The rows by user and by what they see, each user's in pieces of `longest` at most.

        Shapes: -> order_B positions in rows_B; for each of P pieces where it starts, its rows, the most that one sees.
        """
        begin_B, seen_B = self.begin_N[rows_B], self.seen_N[rows_B]
        order_B = np.lexsort((np.arange(len(rows_B)), seen_B, begin_B))
        starts_G, n_G = _runs(begin_B[order_B])
        pieces_G = -(-n_G // longest)
        k_P = np.arange(pieces_G.sum()) - np.repeat(np.cumsum(pieces_G) - pieces_G, pieces_G)
        starts_P = np.repeat(starts_G, pieces_G) + k_P * longest
        n_P = np.minimum(longest, np.repeat(starts_G + n_G, pieces_G) - starts_P)
        return order_B, starts_P, n_P, seen_B[order_B][starts_P + n_P - 1]


def _runs(values_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where runs of equal values start, and how long each is."""
    starts_G = np.flatnonzero(np.diff(values_B, prepend=values_B[:1] - 1))
    return starts_G, np.diff(starts_G, append=len(values_B))


def _padded(n_G: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions end to end of n_G elements each, one list a row; 0 beyond it, and which are real. At least one column.

    Shapes: -> (G, most) int64, (G, most) bool.
    """
    at_L = np.arange(max(1, int(n_G.max(initial=0))))
    real_GL = at_L < n_G[:, None]
    return np.where(real_GL, (np.cumsum(n_G) - n_G)[:, None] + at_L, 0), real_GL
