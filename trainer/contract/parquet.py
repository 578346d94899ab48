"""The mart's Parquet files against the contract."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from trainer.base.errors import TrainerError, nearest
from trainer.contract.schema import Column

PARTITION = "event_date="


def check_parquet(folder: Path, files: tuple[Path, ...], columns: tuple[Column, ...], n_rows: int) -> None:
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


def _arrow_type(t: pa.DataType) -> str:
    if pa.types.is_dictionary(t):
        return _arrow_type(t.value_type)
    if pa.types.is_list(t) or pa.types.is_large_list(t):
        return _arrow_type(t.value_type) + "[]"
    if pa.types.is_string(t) or pa.types.is_large_string(t):
        return "string"
    if pa.types.is_timestamp(t):
        return "timestamp"
    return {
        "int64": "bigint",
        "int32": "int",
        "int16": "smallint",
        "int8": "tinyint",
        "date32[day]": "date",
        "bool": "boolean",
    }.get(str(t), str(t))
