"""feature_profile against a plain recomputation; the warnings of drift and of a stale log; the docs site."""

import datetime as dt
import json
import shutil
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import yaml

from tests.warehouse.logs import random_log, with_column
from tests.warehouse.project import MY_LOG, ROOT, Project, code_block

GUIDE = ROOT / "docs/bring-your-own-log.md"
PROFILED = ["feature_profile", "features_drift"]
LIVELY = {"drift_min_rows": 20}  # the made-up log has some 80 rows a day


def expected_inputs() -> dict[str, tuple[str, int | None]]:
    """name -> (column, position) of every number in the contract of the latest training_examples, read from the yml."""
    contract = yaml.safe_load((ROOT / "warehouse/models/marts/training_examples.yml").read_text())["models"][0]
    (columns,) = (each["columns"] for each in contract["versions"] if each["v"] == contract["latest_version"])
    names = yaml.safe_load(code_block(ROOT / "docs/bring-your-own-log.md", "yaml"))["my_log"]
    found: dict[str, tuple[str, int | None]] = {}
    for column in columns:
        meta = column["config"]["meta"]
        if meta["role"] == "feature" and meta["kind"] == "dense":
            found[column["name"]] = (column["name"], None)
        elif meta["role"] == "feature" and meta["kind"] == "list" and "string" not in column["data_type"]:
            found |= {f"{column['name']}.{name}": (column["name"], k) for k, name in enumerate(names[meta["names"]])}
    return found


def shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Shares of NULL (NaN) and of the bins that the edges part; a value on an edge is below it."""
    present = values[~np.isnan(values)]
    counts = np.bincount(np.searchsorted(edges, present, side="left"), minlength=len(edges) + 1)
    return np.maximum(np.append(counts, np.isnan(values).sum()) / len(values), 1e-4)


@pytest.fixture(scope="module")
def log() -> pa.Table:
    """The last day's prices are a hundredfold: a drift that was put there."""
    log = random_log()
    days = [at.date() for at in log["shown_at"].to_pylist()]
    prices = [
        price and price * (100 if day == max(days) else 1)
        for price, day in zip(log["price"].to_pylist(), days, strict=True)
    ]
    return with_column(log, "price", prices)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, log: pa.Table) -> Project:
    project = Project(tmp_path_factory.mktemp("monitoring") / "project")
    project.write_log(log)
    result = project.dbt("run", "--select", "+feature_profile")
    assert result.returncode == 0, result.stdout
    return project


def test_every_number_of_the_contract_is_profiled_each_day(project: Project) -> None:
    found = project.query("select feature, count(*) as n from feature_profile group by feature").to_pylist()
    n_days = project.query("select count(distinct event_date) as n from training_examples_v2")["n"][0].as_py()
    assert {row["feature"]: row["n"] for row in found} == dict.fromkeys(expected_inputs(), n_days)


def test_profile_equals_its_recomputation(project: Project) -> None:
    columns = sorted({column for column, _ in expected_inputs().values()})
    mart = project.query(f"select event_date, split, {', '.join(columns)} from training_examples_v2").to_pylist()
    day_of = np.array([row["event_date"] for row in mart])
    is_train = np.array([row["split"] == "train" for row in mart])
    profile = {
        (row["feature"], row["event_date"]): row for row in project.query("select * from feature_profile").to_pylist()
    }
    for name, (column, position) in expected_inputs().items():
        cells = [row[column] if position is None or row[column] is None else row[column][position] for row in mart]
        values = np.array([np.nan if cell is None else cell for cell in cells], dtype=float)
        train = values[is_train]
        edges = np.quantile(train[~np.isnan(train)], np.arange(1, 10) / 10)
        of_train = shares(train, edges)
        for day in np.unique(day_of):
            today = values[day_of == day]
            present = today[~np.isnan(today)]
            row = profile[name, day]
            assert row["n_rows"] == row["n_sampled"] == len(today)
            assert row["null_rate"] == pytest.approx(np.isnan(today).mean(), abs=1e-12)
            if len(present):
                assert row["mean"] == pytest.approx(present.mean(), rel=1e-9, abs=1e-12)
                found = [row["q05"], row["q50"], row["q95"]]
                assert found == pytest.approx(np.quantile(present, [0.05, 0.5, 0.95]), rel=1e-9, abs=1e-12)
            else:
                assert row["mean"] is row["q50"] is None
            p = shares(today, edges)
            assert row["psi"] == pytest.approx(((p - of_train) * np.log(p / of_train)).sum(), rel=1e-6, abs=1e-9), name


def test_a_large_day_is_sampled_for_its_shape_only(project: Project, tmp_path: Path) -> None:
    thinned = Project(tmp_path / "project")
    shutil.copytree(project.folder / "data", thinned.folder / "data", dirs_exist_ok=True)
    whole = thinned.query("select * from feature_profile order by feature, event_date").to_pylist()
    result = thinned.dbt("run", "--select", "feature_profile", dataset_vars=MY_LOG | {"profile_rows": 20})
    assert result.returncode == 0, result.stdout
    sampled = thinned.query("select * from feature_profile order by feature, event_date").to_pylist()
    for was, now in zip(whole, sampled, strict=True):
        assert [now[name] for name in ("feature", "event_date", "n_rows")] == [
            was[name] for name in ("feature", "event_date", "n_rows")
        ]
        assert now["null_rate"] == was["null_rate"]
        assert now["mean"] == pytest.approx(was["mean"], rel=1e-9) if was["mean"] is not None else now["mean"] is None
        assert now["n_sampled"] < was["n_rows"] or was["n_rows"] <= 20
    assert 5 < np.mean([row["n_sampled"] for row in sampled]) < 25


def test_drift_warns_and_says_where(project: Project) -> None:
    result = project.dbt("test", "--select", "features_drift", "--store-failures", dataset_vars=MY_LOG | LIVELY)
    assert result.returncode == 0, "a warning stops nothing"
    assert "features_drift" in result.stdout
    assert "WARN=1" in result.stdout
    drifted = project.query("select * from main_dbt_test__audit.features_drift order by psi desc").to_pylist()
    drift = {row["feature"]: row["psi"] for row in drifted}
    assert drift["ctx_dense.price"] > 1
    assert "ctx_dense.position" not in drift
    assert min(drift.values()) > 0.2
    (line,) = [line for line in result.stdout.splitlines() if "Drift on" in line]
    assert line.split("Drift on ")[1].startswith(f"{drifted[0]['event_date']}: {drifted[0]['feature']} (PSI ")
    for row in drifted[:10]:
        usual = f"{row['psi_of_train_days']:.2f}"
        assert f"{row['feature']} (PSI {row['psi']:.2f}, train's days up to {usual})" in line
    assert ("more" in line) == (len(drifted) > 10)


def test_no_drift_says_nothing(project: Project) -> None:
    result = project.dbt("test", "--select", "features_drift", dataset_vars=MY_LOG | LIVELY | {"max_psi": 100})
    assert result.returncode == 0, result.stdout
    assert "WARN=0" in result.stdout
    assert "Drift on" not in result.stdout


TRAIN = [
    (number, 100 + number % 7, {"calm": 0.1 + 0.001 * number, "wild": 3.0 if number % 5 else 0.1})
    for number in range(40)
]
LATER = [(41, 110, {"calm": 0.5, "wild": 5.0}), (42, 101, {"calm": 0.05, "wild": 9.0})]


@pytest.mark.parametrize(
    ("days", "judged", "drifted"),
    [
        (TRAIN + LATER, 42, {"wild"}),
        (TRAIN + LATER[:1], 41, {"calm"}),  # wild is within twice what train's days show
        ([*TRAIN, *LATER, (43, 60, {"calm": 9.0, "wild": 9.0})], 42, {"wild"}),  # a day of few rows
        ([*TRAIN, (41, 70, {"calm": 0.1, "wild": 1.0}), (42, 60, {"calm": 9.0, "wild": 9.0})], 41, set()),  # all small
        ([*TRAIN, (42, 15, {"calm": 9.0, "wild": 9.0})], 39, set()),  # below drift_min_rows
        (LATER, 42, {"wild"}),  # no day of train: max_psi alone
        (TRAIN, 39, set()),
    ],
)
def test_drift_is_judged_on_a_day_like_trains_and_by_what_trains_days_show(
    days: list, judged: int, drifted: set[str], project: Project
) -> None:
    result = project.dbt("compile", "--select", "features_drift", dataset_vars=MY_LOG | LIVELY)
    assert result.returncode == 0, result.stdout
    (compiled,) = (project.folder / "target/compiled").rglob("features_drift.sql")
    val_from = dt.date.fromisoformat(yaml.safe_load(code_block(GUIDE, "yaml"))["my_log"]["val_from"][:10])
    rows = [
        (feature, val_from + dt.timedelta(days=number - 40), n_rows, psi)
        for number, n_rows, psis in days
        for feature, psi in psis.items()
    ]
    with duckdb.connect() as connection:
        connection.execute("attach ':memory:' as my_log; create schema if not exists my_log.main")
        connection.execute(
            "create table my_log.main.feature_profile (feature text, event_date date, n_rows int, psi double)"
        )
        connection.executemany("insert into my_log.main.feature_profile values (?, ?, ?, ?)", rows)
        found = connection.execute(compiled.read_text()).fetchall()
    assert {row[0] for row in found} == drifted
    assert {row[1] for row in found} <= {val_from + dt.timedelta(days=judged - 40)}


def test_show_has_whole_names(project: Project) -> None:
    result = project.dbt("show", "--select", "feature_profile", "--limit", "200")
    assert result.returncode == 0, result.stdout
    cells = [[cell.strip() for cell in line.split("|")[1:]] for line in result.stdout.splitlines() if line[:1] == "|"]
    assert "psi" in cells[0]
    names = {row[0] for row in cells}
    assert set(expected_inputs()) & names >= {name for name in names if "user_own_scene" in name} != set()
    assert not [name for name in names if name.endswith(("...", "…"))]


def test_texts_that_are_lost_fail_a_test(project: Project) -> None:
    result = project.dbt("run", "--select", "+texts")
    assert result.returncode == 0, result.stdout
    (view,) = project.query("select sql from duckdb_views() where view_name = 'texts'")["sql"].to_pylist()
    rows = view.split(" AS ", 1)[1].rstrip(";")
    for kept, code, said in (
        (rows, 0, "PASS texts_are_not_lost"),
        (f"select * from ({rows}) where side = 'user'", 1, "FAIL 2 texts_are_not_lost"),
    ):
        with duckdb.connect(str(project.folder / "data/my_log.duckdb")) as connection:
            connection.execute(f"set file_search_path = '{project.folder}'")
            connection.execute(f"create or replace view texts as {kept}")
        result = project.dbt("test", "--select", "texts_are_not_lost")
        assert result.returncode == code and said in result.stdout, result.stdout


@pytest.mark.parametrize(
    ("age_days", "label_delay", "status"), [(1, 0, "pass"), (9, 0, "warn"), (9, 20 * 86_400, "warn")]
)
def test_source_freshness(age_days: int, label_delay: int, status: str, tmp_path: Path) -> None:
    """dbt source freshness tells the age of the newest outcome that staging has read, whenever it will be known."""
    project = Project(tmp_path / "project")
    log = random_log(n_events=50, delay_hours=0)
    newest = max(log["ingested_at"].to_pylist())
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    for name in ("shown_at", "ingested_at"):
        moved = [at + (now - newest) - dt.timedelta(days=age_days) for at in log[name].to_pylist()]
        log = with_column(log, name, moved)
    given = MY_LOG | {"label_delay": label_delay}
    if label_delay:
        log = with_column(log, "ingested_at", [None] * len(log))
    project.write_log(log)
    assert project.dbt("run", "--select", "+stg_events", dataset_vars=given).returncode == 0
    project.dbt("source", "freshness", dataset_vars=given)
    (found,) = json.loads((project.folder / "target/sources.json").read_text())["results"]
    assert found["unique_id"] == "source.first_impression.raw.log"
    assert found["status"] == status
    assert found["max_loaded_at_time_ago_in_s"] == pytest.approx(age_days * 86_400, abs=600)


def test_docs_site_from_a_clean_state(tmp_path: Path) -> None:
    """What `make docs` runs: one HTML page with the lineage, nothing built before."""
    project = Project(tmp_path / "project")
    given = {"dataset": "antm2c", "raw_dir": str(ROOT / "tests/fixtures/antm2c")}
    result = project.dbt("docs", "generate", "--static", dataset_vars=given)
    assert result.returncode == 0, result.stdout
    page = (project.folder / "target/static_index.html").read_text()
    assert "First Impression: the feature warehouse" in page
    assert "source.first_impression.raw.log" in page
    assert "exposure.first_impression.trainer" in page
