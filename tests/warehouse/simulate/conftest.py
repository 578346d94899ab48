"""One log of 200,000 rows, which most tests look at."""

import json
from pathlib import Path

import duckdb
import numpy as np
import pytest

from tests.system.conftest import once
from tests.warehouse.simulate.making import (
    N,
    run,
)
from warehouse.simulate import parameters


@pytest.fixture(scope="session")
def log_folder(tmp_path_factory) -> Path:
    """Made once for all workers."""

    def make(folder: Path) -> None:
        done = run("--events", N, "--seed", 7, "--out", folder / "simulated", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["written"] is True
        assert done.stderr == ""  # no progress bar where nobody looks

    return once(tmp_path_factory, "simulated-log", make) / "simulated"


@pytest.fixture(scope="session")
def log(log_folder) -> dict[str, np.ndarray]:
    """Every column of the log as text (None where empty) in the truth's order, and the truth as numbers."""
    names = ", ".join(f"l.{name}" for name in parameters.COLUMNS)
    rows = duckdb.sql(f"""
        with l as (
            select *,
                parse_filename(filename) || ':' || row_number() over (partition by filename order by n) as event_id
            from (
                select *, row_number() over () as n
                from read_csv('{log_folder}/*.csv', all_varchar = true, header = true, filename = true)
            )
        )
        select {names}, t.event_id, t.true_probability as p, t.row_number, t.part,
            datediff('day', date '2023-07-10', t.log_time) as day, t.label as true_label,
            t.user_id as true_user, t.item_id as true_item, t.scene as true_scene, t.log_time as at
        from l join '{log_folder}/truth/true_probabilities.parquet' t using (event_id)
        order by t.part, t.row_number
    """).to_arrow_table()
    out = {name: rows[name].to_numpy(zero_copy_only=False) for name in rows.column_names}
    out["y"] = out["label"].astype(int)
    out["residual"] = out["y"] - out["p"]
    return out
