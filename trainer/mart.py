"""The mart's contract: what dbt promises about the training table. The only file here that knows dbt.

Three witnesses describe one table: the `_build` record that was written with the data, the Parquet files themselves,
and dbt's manifest. They must agree; where they don't, the error names the column or the model and what mends it.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trainer.errors import TrainerError, nearest

DEFAULT_MANIFEST = Path("target/manifest.json")
_MANIFEST_WAITS = (0.1, 0.2, 0.4)  # seconds
PARTITION = "event_date="
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
    "string": "string", "varchar": "string", "text": "string", "char": "string",
    "double": "double", "float8": "double", "float64": "double",
    "float": "float", "real": "float", "float4": "float",
    "bigint": "bigint", "int8": "bigint", "long": "bigint", "int64": "bigint",
    "int": "int", "integer": "int", "int4": "int", "int32": "int",
    "smallint": "smallint", "tinyint": "tinyint", "boolean": "boolean", "bool": "boolean",
    "date": "date", "timestamp": "timestamp", "datetime": "timestamp",
    "timestamp_ntz": "timestamp", "timestamp with time zone": "timestamp", "timestamptz": "timestamp",
}  # fmt: skip
_NUMBERS = {"double", "float", "bigint", "int", "smallint", "tinyint", "boolean"}


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
    def data_hash(self) -> str:
        """sha256 over the files: for each, sorted by relative path, the path and the bytes. Keys the column cache.

        It moves when the same rows are written again in another order; `Columns.content_hash` doesn't.
        """
        digest = hashlib.sha256()
        for path in self.files:
            digest.update(path.relative_to(self.folder).as_posix().encode() + b"\0")
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()


def inputs_of(columns: tuple[Column, ...], variables: dict[str, Any]) -> tuple[Input, ...]:
    """The ids, then every feature in contract order, lists spread over the positions that `variables` name."""
    ids = [c for c in columns if c.role == "key" and c.kind]
    out = [Input(c.name, c.name, -1, "categorical", "none", c.group, is_id=True) for c in ids]
    for c in columns:
        if c.role != "feature":
            continue
        if c.kind != "list":
            out.append(Input(c.name, c.name, -1, c.kind, c.transform, c.group))
            continue
        kind = "categorical" if c.data_type == "string[]" else "dense"
        for i, position in enumerate(variables[c.names]):
            out.append(Input(f"{c.name}.{position}", c.name, i, kind, c.transform, c.group))
    return tuple(out)


def read_contract(marts: Path, mart: str | None = None, manifest: Path | None = None) -> Contract:
    """Find a training mart and check its three witnesses against each other.

    marts: the folder of one dataset's marts (`data/marts/movielens`), or its parent where that holds one dataset.
    mart: the folder's name (`training_examples_v1`); None takes the highest version of `training_examples`.
    manifest: dbt's manifest; None looks at `target/manifest.json` and does without when there is none.
    Raises: TrainerError naming the folder, column or model that differs, and the remedy.
    """
    while True:
        folder = _find_mart(Path(marts), mart)
        with suppress(MartReplacedError), one_build(folder):
            return _read_contract(folder, manifest)


class MartReplacedError(TrainerError):
    """`dbt build` published a mart anew while it was read."""


@contextmanager
def one_build(folder: Path, build: str | None = None) -> Iterator[None]:
    """What is read of `folder` in this block is of one build of the mart, `build` or the one that is there now.

    Raises: MartReplacedError, also in place of what went wrong because files of the old build were gone.
    """
    build = build_in(folder) if build is None else build
    try:
        yield
    except (TrainerError, OSError, pa.ArrowException):
        if build_in(folder) == build:
            raise
    # A build that gave way never comes back: the same one now as before was there all the time.
    if build_in(folder) != build:
        raise MartReplacedError(f"`dbt build` published {folder} anew while it was read. Run the command again.")


def build_in(folder: Path) -> str:
    """What tells one build of a mart from another: the text of its build record, empty where there is none."""
    return "".join(_record_texts(folder))


def _read_contract(folder: Path, manifest: Path | None) -> Contract:
    record = _read_record(folder)
    columns = tuple(_column(c, folder) for c in record["columns"])
    variables = record["vars"]
    _check_meaning(columns, variables, folder)
    files = tuple(sorted(p for p in folder.rglob("*.parquet") if "_build" not in p.relative_to(folder).parts))
    _check_parquet(folder, files, columns, record["n_rows"])
    lineage = {
        key: record.get(key) for key in ("unique_id", "invocation_id", "dbt_version", "adapter", "node_checksums")
    }
    lineage["manifest"] = _check_manifest(manifest, record, columns)
    return Contract(
        folder=folder, dataset=record["dataset"], model=record["model"], version=int(record["version"]),
        unique_id=record["unique_id"], columns=columns, variables=variables, n_rows=int(record["n_rows"]),
        files=files, lineage=lineage, build=build_in(folder),
    )  # fmt: skip


def _find_mart(marts: Path, mart: str | None) -> Path:
    if not marts.is_dir():
        raise TrainerError(
            f"No folder {marts}. Expected a dataset's marts, such as data/marts/movielens. Run `dbt build`."
        )
    if not _versions(marts) and not (mart and (marts / mart).is_dir()):
        datasets = sorted(p for p in marts.iterdir() if p.is_dir() and _versions(p))
        if len(datasets) > 1:
            names = ", ".join(str(p) for p in datasets)
            raise TrainerError(f"{marts} holds marts of several datasets. Say which one: --marts with one of {names}.")
        if not datasets:
            raise TrainerError(
                f"{marts} holds no training_examples_v*. Expected a dataset's marts, such as "
                "data/marts/movielens. Run `dbt build`."
            )
        marts = datasets[0]
    name = mart or _versions(marts)[-1].name
    if not (marts / name).is_dir():
        known = sorted(p.name for p in marts.iterdir() if p.is_dir())
        found = ", ".join(known) or "nothing"
        raise TrainerError(f"No mart {name} in {marts}{nearest(name, known)}: found {found}. Run `dbt build`.")
    return marts / name


def _versions(marts: Path) -> list[Path]:
    """The versions of training_examples in a folder, lowest first."""
    found = [
        (int(m[1]), p)
        for p in marts.iterdir()
        if p.is_dir() and (m := re.fullmatch(r"training_examples_v(\d+)", p.name))
    ]
    return [p for _, p in sorted(found)]


def _record_texts(folder: Path) -> list[str]:
    try:
        texts = [p.read_text(encoding="utf-8") for p in sorted((folder / "_build").glob("*.json"))]
    except FileNotFoundError:  # listed a moment ago
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise TrainerError(f"{folder}/_build: the build record can't be read ({error}). Run `dbt build`.") from None
    return [t for t in texts if t.strip()]  # Spark may leave empty part files beside the record


def _read_record(folder: Path) -> dict[str, Any]:
    """The `_build` record: one JSON object, written after the data."""
    texts = _record_texts(folder)
    if len(texts) != 1:
        raise TrainerError(
            f"{folder}/_build: expected one build record, found {len(texts)}. The mart was not finished by "
            "`dbt build`, or two builds were mixed in one folder: remove the folder and run `dbt build`."
        )
    try:
        record = json.loads(texts[0])
    except (ValueError, RecursionError) as error:
        raise TrainerError(f"{folder}/_build: the build record isn't JSON ({error}). Run `dbt build`.") from None
    needed = ("model", "version", "unique_id", "dataset", "n_rows", "node_checksums", "columns", "vars")
    missing = [key for key in needed if not isinstance(record, dict) or key not in record]
    if missing:
        raise TrainerError(f"{folder}/_build: the build record lacks {', '.join(missing)}. Run `dbt build`.")
    for key, expected in _RECORD.items():
        if not isinstance(record[key], expected):
            raise TrainerError(
                f"{folder}/_build: {key} of the build record is {record[key]!r:.100}, expected {expected.__name__}. "
                "Run `dbt build`."
            )
    return record


_RECORD = {"model": str, "unique_id": str, "dataset": str, "n_rows": int, "version": int, "node_checksums": dict,
           "columns": list, "vars": dict}  # fmt: skip


def normal_type(spelled: str) -> str:
    """`ARRAY<DOUBLE>`, `double[]` and `list(double)` are one type; raises KeyError for one that isn't known here."""
    text = re.sub(r"\s+", " ", spelled.strip().lower())
    if text.endswith("[]"):
        return normal_type(text[:-2]) + "[]"
    if match := re.fullmatch(r"(?:array|list) ?[<(](.+)[>)]", text):
        return normal_type(match[1]) + "[]"
    return _TYPES[re.sub(r"\(\d+\)$", "", text)]


def _column(raw: dict[str, Any], folder: Path) -> Column:
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
        name, data_type, meta["role"], meta.get("kind"), meta.get("transform") or "none", meta.get("group"),
        meta.get("names"), raw.get("description") or "", meta.get("of"),
        bool(meta.get("cold_only")),
    )  # fmt: skip


def _check_meaning(columns: tuple[Column, ...], variables: dict[str, Any], folder: Path) -> None:
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
            ("text_id", "list"): {"string[]"},
            ("text_id", None): {"string"},
            ("history", "list"): {f"{t}[]" for t in _NUMBERS}
            if c.of == "label"
            else {"string[]"}
            if c.of
            else {c.data_type},
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


def _arrow_type(t: pa.DataType) -> str:
    if pa.types.is_dictionary(t):
        return _arrow_type(t.value_type)
    if pa.types.is_list(t) or pa.types.is_large_list(t):
        return _arrow_type(t.value_type) + "[]"
    if pa.types.is_string(t) or pa.types.is_large_string(t):
        return "string"
    if pa.types.is_timestamp(t):
        return "timestamp"
    return {"int64": "bigint", "int32": "int", "int16": "smallint", "int8": "tinyint", "date32[day]": "date",
            "bool": "boolean"}.get(str(t), str(t))  # fmt: skip


def _check_parquet(folder: Path, files: tuple[Path, ...], columns: tuple[Column, ...], n_rows: int) -> None:
    if not files:
        raise TrainerError(f"{folder} holds no Parquet files. Run `dbt build`.")
    promised = {c.name: c.data_type for c in columns}
    found_rows, checked = 0, set()
    for path in files:
        partition = path.relative_to(folder).parts[0]
        if not re.fullmatch(PARTITION + r"\d{4}-\d{2}-\d{2}", partition):
            raise TrainerError(
                f"{path}: expected it under a folder event_date=YYYY-MM-DD. Remove {folder} and run `dbt build`."
            )
        try:
            parquet = pq.ParquetFile(path)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise TrainerError(f"{path} can't be read as Parquet ({error}). Run `dbt build`.") from None
        with parquet:
            found_rows += parquet.metadata.num_rows
            schema = parquet.schema_arrow
        if schema in checked:
            continue
        checked.add(schema)
        found = {f.name: _arrow_type(f.type) for f in schema} | {"event_date": "date"}
        for name, data_type in promised.items():
            if name not in found:
                raise TrainerError(
                    f"Column {name}: the contract promises it as {data_type}, {path} doesn't have it"
                    f"{nearest(name, found.keys() - promised.keys())}. Run `dbt build`."
                )
            if found[name] != data_type:
                raise TrainerError(
                    f"Column {name}: the contract says {data_type}, {path} holds {found[name]}. Run `dbt build`."
                )
        for name in found.keys() - promised.keys() - {"event_date"}:
            raise TrainerError(f"Column {name}: {path} has it, the contract doesn't. Run `dbt build`.")
    if found_rows != n_rows:
        raise TrainerError(
            f"{folder}: the build record counts {n_rows} rows, the Parquet files hold {found_rows}. Run `dbt build`."
        )
    if not n_rows:
        raise TrainerError(f"{folder} holds no rows. Look at rejected_events for the reason, then run `dbt build`.")


def _check_manifest(given: Path | None, record: dict[str, Any], columns: tuple[Column, ...]) -> dict[str, Any] | None:
    """Compare the build record with dbt's manifest; return what a run should remember of it, or None without one."""
    path = given or DEFAULT_MANIFEST
    if not path.exists():
        if given:
            raise TrainerError(f"No manifest {path}. `dbt parse` writes target/manifest.json; or leave --manifest out.")
        return None
    try:
        manifest = _read_manifest(path)
        nodes = manifest["nodes"]
        known_columns = list(nodes[record["unique_id"]]["columns"].values()) if record["unique_id"] in nodes else []
        checksums = {name: nodes.get(name, {}).get("checksum", {}).get("checksum") for name in record["node_checksums"]}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise TrainerError(f"{path} isn't a dbt manifest. Run `dbt parse`, or point --manifest at one.") from None
    unique_id = record["unique_id"]
    if unique_id not in nodes:
        raise TrainerError(
            f"{path} doesn't know {unique_id}, which this mart was built as{nearest(unique_id, nodes)}. "
            "Run `dbt build`, or point --manifest at the project's own."
        )
    node = nodes[unique_id]
    theirs = [
        _column(c | {"meta": c.get("meta") or c.get("config", {}).get("meta")}, Path(unique_id)) for c in known_columns
    ]
    _compare_columns(columns, theirs, path)
    for name, checksum in sorted(record["node_checksums"].items()):
        known = checksums[name]
        if known and known != checksum:
            raise TrainerError(
                f"The mart was built by other code than {path} describes: {name} has changed since "
                f"(built {checksum[:12]}, now {known[:12]}). Run `dbt build`."
            )
    return {
        "path": str(path),
        "invocation_id": manifest.get("metadata", {}).get("invocation_id"),
        "contract_checksum": (node.get("contract") or {}).get("checksum"),
        "node_checksum": (node.get("checksum") or {}).get("checksum"),
    }


def _read_manifest(path: Path) -> Any:
    """dbt writes it in place: half of one becomes a whole one in a moment, or was left by a dbt that was killed."""
    for seconds in _MANIFEST_WAITS:
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            time.sleep(seconds)
    return json.loads(path.read_text(encoding="utf-8"))


def _compare_columns(ours: tuple[Column, ...], theirs: list[Column], path: Path) -> None:
    built, declared = {c.name: c for c in ours}, {c.name: c for c in theirs}
    for name in [*built, *(n for n in declared if n not in built)]:
        if name not in declared:
            raise TrainerError(
                f"Column {name}: the mart was built with it, {path} doesn't declare it. Run `dbt build`."
            )
        if name not in built:
            raise TrainerError(f"Column {name}: {path} declares it, the mart was built without it. Run `dbt build`.")
        for part in ("data_type", "role", "kind", "transform", "group", "names", "of"):
            a, b = getattr(built[name], part), getattr(declared[name], part)
            if a != b:
                raise TrainerError(
                    f"Column {name}: the mart was built with {part} {a}, {path} says {b}. Run `dbt build`."
                )
