"""What a model sees: vocabularies and scaling, fitted on train rows only.

- An id or category: index 0 is the row for values never seen in training. It is trained too: values that occur fewer
  than `min_count` times in train share it, and `id_dropout` sends ids there at random (training/loop.py). NULL has an
  index of its own where train has NULLs, else it counts as unseen.
- A number: the declared transform (`log1p` is sign(x) * log(1 + |x|), so a negative can't break a run; a model may ask
  for `logit`, the log odds of a rate, which is kept away from 0 and 1), then
  standardised and clipped. Missing is 0, the train mean, plus a 0/1 flag for each column that has NULLs in train.
- A level, a text and a history: inputs/text.py.
- A scene without train rows borrows the part of the most frequent train scene, and `features.json` says so.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from storage.ahead import ahead
from trainer.base.errors import TrainerError
from trainer.base.files import file_name, read_json, write_json
from trainer.base.team import ALONE, Team
from trainer.base.threads import one_each
from trainer.columns.rows import MISSING
from trainer.columns.store import Columns
from trainer.contract.schema import Input
from trainer.inputs.batch import Sizes
from trainer.inputs.vectors import HISTORY, TextSpace

UNSEEN = 0
LEAST_RATE = 1e-4  # a rate is kept this far from 0 and 1 before its log odds are taken
_BLOCK = 1 << 16  # rows per pass over the columns: bounds memory, and fixes the order of the sums
_THREADS = 4  # that read blocks at once, at most: a block of 130 numbers takes 200 MB while it is summed


@dataclass(frozen=True)
class Dense:
    """A number: standardised = (transform(x) - mean) * scale; scale 0 where train holds one value only, or none."""

    name: str
    transform: str
    group: str | None
    mean: float
    scale: float
    has_missing: bool


@dataclass(frozen=True)
class Code:
    """An id or category with its train vocabulary: UNSEEN, then NULL if train has any, then the values, sorted."""

    name: str
    group: str | None
    is_id: bool
    values: tuple[str, ...]
    has_missing: bool
    has_rest: bool  # some train value is not in the vocabulary, so UNSEEN occurs in train

    @property
    def size(self) -> int:
        return 1 + self.has_missing + len(self.values)

    def lookup(self, dictionary: list[str]) -> np.ndarray:
        """From the codes of a column store to vocabulary indices. Shapes: -> (1 + len(dictionary),), int64."""
        index = {value: k for k, value in enumerate(self.values, start=1 + self.has_missing)}
        return np.array([1 if self.has_missing else UNSEEN, *(index.get(v, UNSEEN) for v in dictionary)], np.int64)


@dataclass(frozen=True)
class FittedInputs:
    """The fitted inputs of a model.

    stand_ins: scene without train rows -> the scene whose part it borrows. text_columns: name and group of each column
    of text ids, where the stage reads texts. texts, llm: the encoders' vectors. history: outcomes of a user at most.
    window: the latest outcomes that a row attends to, for a model that reads sequences; reach: in how many layers. Both
    stand in the stage (training/fitted.py) and aren't saved.
    """

    dense: tuple[Dense, ...]
    codes: tuple[Code, ...]
    scenes: tuple[str, ...]
    stand_ins: dict[str, str]
    clip: float
    text_columns: tuple[tuple[str, str], ...] = ()
    texts: TextSpace | None = None
    llm: TextSpace | None = None
    history: int = 0
    window: int = 0
    reach: int = 0

    @property
    def sizes(self) -> Sizes:
        n_dense = len(self.dense) + sum(d.has_missing for d in self.dense)
        return Sizes(
            sum(c.size for c in self.codes),
            len(self.codes),
            n_dense,
            len(self.scenes),
            item_field=next((f for f, c in enumerate(self.codes) if c.is_id and c.group == "item"), 0),
            id_fields=tuple(f for f, c in enumerate(self.codes) if c.is_id),
            text_groups=tuple(group for _, group in self.text_columns),
            text_dim=self.texts.dimensions if self.texts else 0,
            llm_dim=self.llm.dimensions if self.llm else 0,
            history=self.history,
            past_texts=bool(self.history and self.texts and HISTORY in self.texts.means)
            and any(group == "item" for _, group in self.text_columns),
            window=self.window,
        )

    @property
    def text_coverage(self) -> dict[str, float]:
        """The share of train's texts that have a vector, by encoder."""
        return {space.encoder: space.coverage for space in (self.texts, self.llm) if space}

    @property
    def offsets(self) -> np.ndarray:
        """Where each field's rows start in the one embedding table. Shapes: -> (F,), int64."""
        return np.cumsum([0, *(c.size for c in self.codes)])[:-1].astype(np.int64)

    def save(self, folder: Path) -> None:
        """Write features.json, each vocabulary as vocab/<name>.json, and the whitening where there is one."""
        (folder / "vocab").mkdir()
        codes = []
        for c in self.codes:
            fields = asdict(c)
            write_json(folder / "vocab" / f"{file_name(c.name)}.json", fields.pop("values"))
            codes.append(fields | {"size": c.size})
        spaces = {"whitening": self.texts, "whitening_llm": self.llm}
        for name, space in spaces.items():
            if space:
                space.save(folder, name)
        write_json(
            folder / "features.json",
            {
                "dense": [asdict(d) for d in self.dense],
                "codes": codes,
                "scenes": list(self.scenes),
                "stand_ins": self.stand_ins,
                "clip": self.clip,
                "text_columns": [{"name": name, "group": group} for name, group in self.text_columns],
                "vectors": {name: space.store for name, space in spaces.items() if space},
                "history": self.history,
            },
        )

    @classmethod
    def load(cls, folder: Path) -> FittedInputs:
        saved = read_json(folder / "features.json")
        stores = saved.get("vectors", {})
        codes = []
        for fields in saved["codes"]:
            fields.pop("size")
            codes.append(
                Code(**fields, values=tuple(read_json(folder / "vocab" / f"{file_name(fields['name'])}.json")))
            )
        return cls(
            tuple(Dense(**d) for d in saved["dense"]),
            tuple(codes),
            tuple(saved["scenes"]),
            saved["stand_ins"],
            saved["clip"],
            tuple((c["name"], c["group"]) for c in saved.get("text_columns", ())),
            texts=TextSpace.load(folder, "whitening") if "whitening" in stores else None,
            llm=TextSpace.load(folder, "whitening_llm") if "whitening_llm" in stores else None,
            history=saved.get("history", 0),
        )


def fit_inputs(
    columns: Columns,
    inputs: tuple[Input, ...],
    rows_N: np.ndarray,
    *,
    min_count: int,
    clip: float,
    ids: bool = True,
    max_values: int | None = None,
    team: Team = ALONE,
) -> FittedInputs:
    """Fit vocabularies and scaling on the rows given, which are train's.

    min_count: values that occur less often share the UNSEEN row. max_values: so do those beyond the most frequent.
    ids: False leaves the user's and the item's id out. team: the rows are those of all its processes.
    Raises: TrainerError when there are no rows.
    """
    n_rows = sum(team.gather(len(rows_N)))
    if not n_rows:
        raise TrainerError("The mart has no train rows. Set val_from later in dbt_project.yml and run `dbt build`.")
    dense = _fit_dense(columns, [i for i in inputs if i.kind == "dense"], rows_N, n_rows, team)
    codes = tuple(
        _fit_code(columns, i, rows_N, min_count, max_values, team)
        for i in inputs
        if i.kind == "categorical" and (ids or not i.is_id)
    )
    counts_S = team.sum(np.bincount(columns.scene_N[rows_N], minlength=len(columns.scenes)))
    most = columns.scenes[int(counts_S.argmax())]
    stand_ins = {scene: most for scene, count in zip(columns.scenes, counts_S, strict=True) if not count}
    return FittedInputs(dense, codes, columns.scenes, stand_ins, clip)


def _fit_dense(columns: Columns, inputs: list[Input], rows_N: np.ndarray, n_rows: int, team: Team) -> tuple[Dense, ...]:
    """Mean and standard deviation in two passes over blocks of fixed size, in float64. n_rows: of all processes.

    Blocks are read by several threads and added in order, so their number changes no bit.
    """
    at_D = [columns.dense_names.index(i.name) for i in inputs]
    transforms = [i.transform for i in inputs]
    blocks = [rows_N[s : s + _BLOCK] for s in range(0, len(rows_N), _BLOCK)]

    def added(sums: Callable[[np.ndarray], np.ndarray], n: int) -> np.ndarray:
        def of_block(block: np.ndarray) -> np.ndarray:
            x_BD = columns.dense_ND[block][:, at_D].astype(np.float64)
            columns.release_pages()
            return sums(transformed(x_BD, transforms))

        with one_each() as cores:
            threads = min(cores, _THREADS)
            with closing(ahead(of_block, blocks, depth=threads, threads=threads)) as made:
                own = functools.reduce(np.add, made, np.zeros((n, len(at_D))))
        return team.sum(own)

    n_D, sum_D = added(lambda x_BD: np.stack([np.isfinite(x_BD).sum(0), np.nansum(x_BD, 0)]), 2)
    mean_D = sum_D / np.maximum(n_D, 1)
    (square_D,) = added(lambda x_BD: np.nansum((x_BD - mean_D) ** 2, 0)[None], 1)
    std_D = np.sqrt(square_D / np.maximum(n_D, 1))
    varies_D = std_D > 1e-6 * np.maximum(1, np.abs(mean_D))
    scale_D = np.where(varies_D, 1 / np.where(varies_D, std_D, 1), 0)
    return tuple(
        Dense(i.name, i.transform, i.group, float(mean_D[d]), float(scale_D[d]), bool(n_D[d] < n_rows))
        for d, i in enumerate(inputs)
    )


def _fit_code(
    columns: Columns, i: Input, rows_N: np.ndarray, min_count: int, max_values: int | None, team: Team
) -> Code:
    dictionary = columns.dictionaries[i.name]
    at = columns.code_names.index(i.name)
    counts = np.zeros(len(dictionary) + 1, np.int64)
    for s in range(0, len(rows_N), _BLOCK):
        counts += np.bincount(columns.codes_NC[rows_N[s : s + _BLOCK], at], minlength=len(counts))
        columns.release_pages()
    own = {value: int(n) for n, value in zip(counts[1:], dictionary, strict=True) if n}
    n_missing, found = 0, Counter[str]()
    for missing, part in team.gather((int(counts[MISSING]), own)):
        n_missing += missing
        found.update(part)
    seen = [(-n, value) for value, n in found.items()]
    kept = sorted(pair for pair in seen if -pair[0] >= min_count)[:max_values]
    return Code(
        i.name,
        i.group,
        i.is_id,
        tuple(sorted(value for _, value in kept)),
        n_missing > 0,
        len(kept) < len(seen),
    )


def transformed(x_BD: np.ndarray, transforms: Sequence[str]) -> np.ndarray:
    """Each column by its own transform, in place."""
    for name, function in TRANSFORMS.items():
        own_D = np.array([one == name for one in transforms], bool)
        if own_D.any():
            x_BD[:, own_D] = function(torch.from_numpy(x_BD[:, own_D])).numpy()
    return x_BD


def _log_odds(rate_BD: torch.Tensor) -> torch.Tensor:
    kept_BD = rate_BD.clamp(LEAST_RATE, 1 - LEAST_RATE)
    return kept_BD.log() - torch.log1p(-kept_BD)


TRANSFORMS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "log1p": lambda x_BD: x_BD.abs().log1p().copysign(x_BD),
    "logit": _log_odds,
}
