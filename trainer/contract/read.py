"""Find a training mart and read its contract.

Three witnesses describe one table: the `_build` record that was written with the data, the Parquet files themselves,
and dbt's manifest. They must agree; where they don't, the error names the column or the model and what to do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from storage.mart_files import mart_files
from storage.places import local
from storage.uris import RemoteError
from trainer.base.errors import TrainerError, nearest
from trainer.base.fetching import fetch, look
from trainer.contract.manifest import check_manifest
from trainer.contract.parquet import check_parquet
from trainer.contract.schema import Contract, check_meaning, column_of

_RECORD = {
    "model": str,
    "unique_id": str,
    "dataset": str,
    "n_rows": int,
    "version": int,
    "node_checksums": dict,
    "columns": list,
    "vars": dict,
}


class MartReplacedError(TrainerError):
    """`dbt build` published a mart anew while it was read."""


def read_contract(marts: str | Path, mart: str | None = None, manifest: Path | None = None) -> Contract:
    """Find a training mart and check its three witnesses against each other.

    marts: the folder of one dataset's marts (`data/marts/movielens`), or its parent where that holds one dataset; a
    path or a URI.
    mart: the folder's name (`training_examples_v1`); None takes the highest version of `training_examples`.
    manifest: dbt's manifest; None looks at `target/manifest.json` and does without when there is none.
    Raises: TrainerError naming the folder, column or model that differs, and the remedy.
    """
    while True:
        folder = _find_mart(local(marts), mart)
        with suppress(MartReplacedError), one_build(folder):
            return _read_contract(folder, manifest)


@contextmanager
def one_build(folder: Path, build: str | None = None) -> Iterator[None]:
    """What is read of `folder` in this block is of one build of the mart, `build` or the one that is there now.

    Raises: MartReplacedError, also in place of what went wrong because files of the old build were gone.
    """
    build = build_in(folder) if build is None else build
    try:
        yield
    except (TrainerError, RemoteError, OSError, pa.ArrowException):
        if build_in(folder) == build:
            raise
    # A build that gave way never comes back: the same one now as before was there all the time.
    if build_in(folder) != build:
        raise MartReplacedError(f"`dbt build` published {folder} anew while it was read. Run the command again.")


def build_in(folder: Path) -> str:
    """What tells one build of a mart from another: the text of its build record, empty where there is none."""
    return "".join(_record_texts(folder))


def _read_contract(folder: Path, manifest: Path | None) -> Contract:
    fetch(folder)
    record = _read_record(folder)
    columns = tuple(column_of(c, folder) for c in record["columns"])
    variables = record["vars"]
    check_meaning(columns, variables, folder)
    files = tuple(mart_files(folder, TrainerError))
    check_parquet(folder, files, columns, record["n_rows"])
    lineage = {
        key: record.get(key) for key in ("unique_id", "invocation_id", "dbt_version", "adapter", "node_checksums")
    }
    lineage["manifest"] = check_manifest(manifest, record, columns)
    return Contract(
        folder=folder,
        dataset=record["dataset"],
        model=record["model"],
        version=int(record["version"]),
        unique_id=record["unique_id"],
        columns=columns,
        variables=variables,
        n_rows=int(record["n_rows"]),
        files=files,
        lineage=lineage,
        build=build_in(folder),
    )


def _find_mart(marts: Path, mart: str | None) -> Path:
    look(marts)
    if not marts.is_dir():
        raise TrainerError(
            f"No folder {marts}. Expected a dataset's marts, such as data/marts/movielens. Run `dbt build`."
        )
    if not _versions(marts) and not (mart and (marts / mart).is_dir()):
        folders = [p for p in marts.iterdir() if p.is_dir()]
        for folder in folders:
            look(folder)
        datasets = sorted(p for p in folders if _versions(p))
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
    fetch(folder / "_build")
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
