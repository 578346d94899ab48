"""The `texts` mart: each text once, and in how many rows it occurs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from embeddings.errors import EmbeddingsError, NoTextsError
from storage import remote, text_ids
from storage.mart_files import mart_files
from storage.places import is_remote, local

COLUMNS = ("text_id", "text", "side", "n_rows", "n_cold_rows", "n_train_rows")


@dataclass(frozen=True)
class Texts:
    """Texts in the order of their ids. Arrays are aligned with `ids`.

    Units: n_rows, n_cold_rows and n_train_rows count training examples in which the text occurs: all of them, those
    whose user or item is zero or few, those of the train split. `empty` flags texts with nothing but white space;
    `repaired` lists the ids of texts that were not valid UTF-8 (their bad bytes now read U+FFFD).
    """

    ids: list[int]
    texts: list[str]
    side: np.ndarray
    n_rows: np.ndarray
    n_cold_rows: np.ndarray
    n_train_rows: np.ndarray
    repaired: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def empty(self) -> np.ndarray:
        return np.array([not text.strip() for text in self.texts], bool)

    def take(self, keep: np.ndarray) -> Texts:
        """The texts where `keep` (a mask or positions) says so."""
        at = np.flatnonzero(keep) if keep.dtype == bool else keep
        return Texts(
            ids=[self.ids[i] for i in at],
            texts=[self.texts[i] for i in at],
            side=self.side[at],
            n_rows=self.n_rows[at],
            n_cold_rows=self.n_cold_rows[at],
            n_train_rows=self.n_train_rows[at],
            repaired=self.repaired,
        )


def find_texts(marts: Path) -> list[Path]:
    """The `texts` folders at or below a folder of marts (one dataset's or all)."""
    remote.look(marts)
    if (marts / "texts").is_dir():
        return [marts / "texts"]
    if marts.name == "texts" and marts.is_dir():
        return [marts]
    for folder in marts.iterdir() if is_remote(marts) and marts.is_dir() else ():
        remote.look(folder)
    return sorted(path for path in marts.glob("*/texts") if path.is_dir())


def read_texts(marts: Path | str) -> Texts:
    """Read the `texts` mart of one dataset: `data/marts/<dataset>`, or the `texts` folder itself.

    Raises: EmbeddingsError where there is no such mart, a column is missing, ids are not unique, or no text holds
    anything; NoTextsError where the log has none.
    """
    marts = local(marts)
    folders = find_texts(marts)
    if len(folders) != 1:
        found = ", ".join(str(folder.parent) for folder in folders)
        raise EmbeddingsError(
            f"Expected one texts mart under {marts}, found {found or 'none'}."
            + (" Name one of them with --marts." if found else " Build it with `dbt build`, or correct --marts.")
        )
    folder = folders[0]
    remote.fetch(folder)
    files = mart_files(folder, EmbeddingsError)
    if not files and _is_built_empty(folder):
        raise NoTextsError(folder)
    if not files:
        raise EmbeddingsError(f"{folder} holds no Parquet files. Build the texts mart again with `dbt build`.")
    tables = [_read(path) for path in files]
    texts = _as_texts(pa.concat_tables(tables), folder)
    if not len(texts):
        raise NoTextsError(folder)
    if texts.empty.all():
        raise EmbeddingsError(
            f"All {len(texts):,} texts of {folder} are empty. Vectors of nothing would all be the same, so nothing is"
            " built: see whether staging picks the log's text columns."
        )
    return texts


def _is_built_empty(folder: Path) -> bool:
    """Whether the build record says that there is nothing to store: Spark writes no file for no rows."""
    try:
        records = [json.loads(path.read_text()) for path in (folder / "_build").glob("*.json") if path.stat().st_size]
    except (OSError, ValueError):
        return False
    return [record.get("n_rows") for record in records] == [0]


def _read(path: Path) -> pa.Table:
    try:
        file = pq.ParquetFile(path)
        missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
        if missing:
            raise EmbeddingsError(
                f"{path} lacks the column {', '.join(missing)}: a texts mart has {', '.join(COLUMNS)}, this file has"
                f" {', '.join(file.schema_arrow.names)}. Rebuild it with `dbt build --select texts`."
            )
        table = file.read(columns=list(COLUMNS))
    except (pa.ArrowException, OSError) as error:
        raise EmbeddingsError(
            f"{path} can't be read as Parquet ({error}). Rebuild it with `dbt build --select texts`."
        ) from error
    try:
        ids = text_ids.from_arrow(table["text_id"].combine_chunks())
    except ValueError as error:
        raise EmbeddingsError(
            f"{path}: text_id is {error}. Expected content hashes: run `dbt build --select texts`."
        ) from None
    # As bytes: Arrow takes invalid UTF-8 on trust, and the first to trip over it would not know which row it was.
    types = [pa.large_binary()] * 2 + [pa.int64()] * 3
    columns: list[pa.Array] = [ids]
    for name, wanted in zip(COLUMNS[1:], types, strict=True):
        column = table[name]
        if pa.types.is_string(column.type):
            column = column.cast(pa.binary())
        columns.append(column.cast(wanted))
    return pa.table(columns, names=list(COLUMNS))


def _as_texts(table: pa.Table, folder: Path) -> Texts:
    if table["text_id"].null_count:
        raise EmbeddingsError(
            f"{folder} has {table['text_id'].null_count:,} rows without a text_id: expected a content hash in every"
            " row. Run `dbt test --select texts`."
        )
    ids = table["text_id"].combine_chunks().to_numpy()
    repaired, texts = [], []
    for text_id, value in zip(ids.tolist(), table["text"].to_pylist(), strict=True):
        text = (value or b"").decode("utf-8", "replace")
        if value and "\ufffd" in text and text.encode() != value:
            repaired.append(text_id)
        texts.append(text)
    order = np.argsort(ids, kind="stable")
    for again in np.flatnonzero(np.diff(ids[order]) == 0):
        left, right = order[again : again + 2]
        raise EmbeddingsError(
            f"text_id {ids[left]} occurs twice in {folder}: {texts[left][:40]!r} and {texts[right][:40]!r}. The"
            " mart's grain is one row per text_id: run `dbt test --select texts`."
        )
    counts = [
        pc.fill_null(table[name], 0).combine_chunks().to_numpy(zero_copy_only=False)[order] for name in COLUMNS[3:]
    ]
    sides = np.array([(side or b"").decode("utf-8", "replace") for side in table["side"].to_pylist()], dtype=object)
    return Texts(
        ids=ids[order].tolist(),
        texts=[texts[i] for i in order],
        side=sides[order],
        n_rows=counts[0],
        n_cold_rows=counts[1],
        n_train_rows=counts[2],
        repaired=tuple(sorted(repaired)),
    )


def list_hash(ids: Sequence[int | str]) -> str:
    """One sha256 over a set of text ids, whatever their order: says which texts something was fit on."""
    return hashlib.sha256("\n".join(map(str, sorted(ids))).encode()).hexdigest()
