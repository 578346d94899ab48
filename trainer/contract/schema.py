"""The training table's contract: its columns, what each of them means, and the inputs they make."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from trainer.base.errors import TrainerError, nearest

ROLES = ("key", "label", "scene", "split", "level", "feature", "text_id", "history", "time")
KINDS = ("dense", "categorical", "list")
TRANSFORMS = ("none", "log1p")
GROUPS = ("user", "item", "user_item", "context")
NAME_LISTS = ("scenes", "ctx_dense", "ctx_ids")
_LONGEST_NAME = 150  # bytes: names become names of files
HISTORY_OF = ("item_id", "text_id", "label")  # what a list with role history holds of the user's latest outcomes
LEVELS = ("zero", "few", "warm")
SPLITS = ("train", "val", "test")
HELD_OUT = SPLITS[1:]
EXCLUDED = "excluded"  # rows that the split protocol keeps from all three; nothing here reads them
# Spellings of one type in DuckDB, Spark and dbt -> the spelling used here.
_TYPES = {
    "string": "string",
    "varchar": "string",
    "text": "string",
    "char": "string",
    "double": "double",
    "float8": "double",
    "float64": "double",
    "float": "float",
    "real": "float",
    "float4": "float",
    "bigint": "bigint",
    "int8": "bigint",
    "long": "bigint",
    "int64": "bigint",
    "int": "int",
    "integer": "int",
    "int4": "int",
    "int32": "int",
    "smallint": "smallint",
    "tinyint": "tinyint",
    "boolean": "boolean",
    "bool": "boolean",
    "date": "date",
    "timestamp": "timestamp",
    "datetime": "timestamp",
    "timestamp_ntz": "timestamp",
    "timestamp with time zone": "timestamp",
    "timestamptz": "timestamp",
}
TEXT_ID_TYPES = {"bigint", "string"}  # string: as in marts of earlier versions (storage.text_ids)
_NUMBERS = {"double", "float", "bigint", "int", "smallint", "tinyint", "boolean"}
_TYPES_OF_HISTORY = {"item_id": {"string"}, "text_id": TEXT_ID_TYPES, "label": _NUMBERS}


@dataclass(frozen=True)
class Column:
    """One column of the contract. `data_type` is normalised: `double`, `string`, `double[]` ...

    cold_only: of a text id that only cold rows have: texts for the fallback alone.
    """

    name: str
    data_type: str
    role: str
    kind: str | None = None
    transform: str = "none"
    group: str | None = None
    names: str | None = None
    description: str = ""
    of: str | None = None
    cold_only: bool = False

    @property
    def holds_text_ids(self) -> bool:
        return self.role == "text_id" or self.of == "text_id"


@dataclass(frozen=True)
class Input:
    """One model input: a scalar column, or one position of a list column.

    `name` is `column` or `column.position_name`; `position` is -1 for a scalar column.
    """

    name: str
    column: str
    position: int
    kind: str  # "dense" | "categorical"
    transform: str
    group: str | None
    is_id: bool = False


@dataclass(frozen=True)
class Contract:
    """A training mart that can be read: its columns, its files, and where it came from."""

    folder: Path
    dataset: str
    model: str
    version: int
    unique_id: str
    columns: tuple[Column, ...]
    variables: dict[str, Any]
    n_rows: int
    files: tuple[Path, ...] = field(repr=False)
    lineage: dict[str, Any] = field(repr=False)
    build: str = field(repr=False)  # the build record as it was read: no two builds of a mart have the same

    @property
    def scenes(self) -> tuple[str, ...]:
        return tuple(self.variables["scenes"])

    def column(self, name: str) -> Column:
        return next(c for c in self.columns if c.name == name)

    def having(self, role: str, group: str | None = None) -> tuple[Column, ...]:
        return tuple(c for c in self.columns if c.role == role and (group is None or c.group == group))

    @cached_property
    def inputs(self) -> tuple[Input, ...]:
        """The ids, then every feature in contract order, lists spread over their positions."""
        return inputs_of(self.columns, self.variables)

    @property
    def texts(self) -> tuple[Column, ...]:
        """The columns that hold ids of texts, one a row or a list of them."""
        return self.having("text_id")

    @property
    def history(self) -> dict[str, Column]:
        """The lists of the user's latest outcomes by what they hold (HISTORY_OF); empty where the mart has none."""
        return {c.of: c for c in self.having("history") if c.of}

    @cached_property
    def file_hashes(self) -> dict[str, bytes]:
        """For each file, by its path below the folder, sha256 over its bytes."""
        hashes = {}
        for path in self.files:
            with path.open("rb") as file:
                hashes[path.relative_to(self.folder).as_posix()] = hashlib.file_digest(file, "sha256").digest()
        return hashes

    @cached_property
    def data_hash(self) -> str:
        """sha256 over the files: for each, sorted by relative path, the path and the bytes. Keys the column cache.

        It moves when the same rows are written again in another order; `Columns.content_hash` doesn't.
        """
        digest = hashlib.sha256()
        for path, of_file in sorted(self.file_hashes.items()):
            digest.update(path.encode() + b"\0" + of_file)
        return digest.hexdigest()


def inputs_of(columns: tuple[Column, ...], variables: dict[str, Any]) -> tuple[Input, ...]:
    """The ids, then every feature in contract order, lists spread over the positions that `variables` name.

    Raises: ValueError for columns that check_meaning would refuse; a damaged run can hold such.
    """
    ids = [c for c in columns if c.role == "key" and c.kind]
    out = [Input(c.name, c.name, -1, "categorical", "none", c.group, is_id=True) for c in ids]
    for c in columns:
        if c.role != "feature":
            continue
        if c.kind is None:
            raise ValueError(f"the feature {c.name} has no kind")
        if c.kind != "list":
            out.append(Input(c.name, c.name, -1, c.kind, c.transform, c.group))
            continue
        if c.names is None:
            raise ValueError(f"the list {c.name} doesn't say what names its positions")
        kind = "categorical" if c.data_type == "string[]" else "dense"
        for i, position in enumerate(variables[c.names]):
            out.append(Input(f"{c.name}.{position}", c.name, i, kind, c.transform, c.group))
    return tuple(out)


def normal_type(spelled: str) -> str:
    """`ARRAY<DOUBLE>`, `double[]` and `list(double)` are one type; raises KeyError for one that isn't known here."""
    text = re.sub(r"\s+", " ", spelled.strip().lower())
    if text.endswith("[]"):
        return normal_type(text[:-2]) + "[]"
    if match := re.fullmatch(r"(?:array|list) ?[<(](.+)[>)]", text):
        return normal_type(match[1]) + "[]"
    return _TYPES[re.sub(r"\(\d+\)$", "", text)]


def column_of(raw: dict[str, Any], folder: Path) -> Column:
    raw = raw if isinstance(raw, dict) else {}
    name, meta = raw.get("name", "?"), raw.get("meta") or {}
    where = f"Column {name} of {folder.name}"
    if not isinstance(name, str) or not isinstance(meta, dict):
        raise TrainerError(f"{where}: expected a name and a mapping meta, found {raw!r:.100}. Run `dbt build`.")
    try:
        data_type = normal_type(str(raw.get("data_type") or ""))
    except KeyError:
        known = ", ".join(sorted(set(_TYPES.values())))
        raise TrainerError(
            f"{where}: the type '{raw.get('data_type')}' can't be read here. Expected one of {known}, or a list of it."
        ) from None
    for key, allowed in (
        ("role", ROLES),
        ("kind", KINDS),
        ("transform", TRANSFORMS),
        ("group", GROUPS),
        ("names", NAME_LISTS),
        ("of", HISTORY_OF),
    ):
        value = meta.get(key)
        if value not in allowed and not (value is None and key != "role"):
            raise TrainerError(
                f"{where}: meta {key} is {value!r}{nearest(str(value), allowed)}; expected one of "
                f"{', '.join(allowed)}. Correct the model's yml and run `dbt build`."
            )
    return Column(
        name,
        data_type,
        meta["role"],
        meta.get("kind"),
        meta.get("transform") or "none",
        meta.get("group"),
        meta.get("names"),
        raw.get("description") or "",
        meta.get("of"),
        bool(meta.get("cold_only")),
    )


def check_meaning(columns: tuple[Column, ...], variables: dict[str, Any], folder: Path) -> None:
    """What the trainer can't do without, and what each kind of feature must be typed as."""
    mend = "Correct the model's yml and run `dbt build`."
    for role in ("label", "scene", "split"):
        n = sum(c.role == role for c in columns)
        if n != 1:
            raise TrainerError(f"{folder.name}: expected one column with role {role}, found {n}. {mend}")
    names = {c.name for c in columns}
    for name in ("event_id", "event_at"):
        if name not in names:
            raise TrainerError(f"{folder.name}: no column {name}. {mend}")
    for group in ("user", "item"):
        if sum(c.role == "key" and c.group == group for c in columns) != 1:
            raise TrainerError(f"{folder.name}: expected one column with role key and group {group}. {mend}")
    if not variables.get("scenes"):
        raise TrainerError(
            f"{folder.name}: the build record names no scenes. Set them in dbt_project.yml and run `dbt build`."
        )
    for key in NAME_LISTS:
        listed = variables.get(key, [])
        if (
            not isinstance(listed, list)
            or not all(isinstance(name, str) and 0 < len(name.encode()) <= _LONGEST_NAME for name in listed)
            or len(set(listed)) < len(listed)
        ):
            raise TrainerError(
                f"{folder.name}: var {key} is {listed!r:.100}; expected a list of names that differ, each of 1 to "
                f"{_LONGEST_NAME} bytes. Set it in dbt_project.yml and run `dbt build`."
            )
    for c in columns:
        expected = {
            ("feature", "dense"): _NUMBERS,
            ("feature", "categorical"): {"string"},
            ("feature", "list"): {"string[]"} | {f"{t}[]" for t in _NUMBERS},
            ("feature", None): set(),
            ("text_id", "list"): {f"{t}[]" for t in TEXT_ID_TYPES},
            ("text_id", None): TEXT_ID_TYPES,
            ("history", "list"): {f"{t}[]" for t in _TYPES_OF_HISTORY[c.of]} if c.of else {c.data_type},
        }.get((c.role, c.kind), {c.data_type})
        if c.data_type not in expected:
            raise TrainerError(
                f"Column {c.name} of {folder.name}: a {c.role} of kind {c.kind} can't have "
                f"the type {c.data_type}. {mend}"
            )
        if c.role == "feature" and c.kind == "list" and c.names not in variables:
            raise TrainerError(
                f"Column {c.name} of {folder.name}: its meta `names` is {c.names}, which the build "
                f"record doesn't list. {mend}"
            )
