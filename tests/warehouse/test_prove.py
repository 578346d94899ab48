"""The parts of `warehouse prove`: the sample, a project of three models, what is refused."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from tests.warehouse.logs import random_log
from tests.warehouse.project import Project
from warehouse.prove import output
from warehouse.prove.errors import ProofError
from warehouse.prove.models import Models
from warehouse.prove.proof import Proof, prove_sample
from warehouse.prove.sample import SIZES, draw, with_corners
from warehouse.prove.verdicts import agree

CANONICAL = """
    impression_id as event_id, user_id, item_id, surface as scene,
    shown_at as event_at, cast(shown_at as date) as event_date,
    ingested_at as known_at, cast(ingested_at as date) as known_date, cast(clicked as integer) as label,
    title as item_title, tags as item_entities, [profile] as user_texts
"""


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        yield connection


def events(connection: duckdb.DuckDBPyConnection, log: pa.Table, columns: str = "*") -> pa.Table:
    """A log as stg_events has it, in the table `events` too."""
    connection.register("log", log)
    connection.execute(f"create or replace table events as select {columns} from (select {CANONICAL} from log)")
    return connection.sql("select * from events").to_arrow_table()


# ---- the sample


def long_log() -> pa.Table:
    """Many users of a few events and some of many; few ties, few late outcomes, few texts."""
    log = random_log(9000, delay_hours=0)
    rows = log.to_pylist()
    for number, row in enumerate(rows):
        row["user_id"] = f"u{number // 3 % 30}" if number % 3 == 0 else f"rare{number // 2}"
        row["item_id"] = f"i{number % 40}" if number % 5 else f"only{number}"
        row["title"] = row["title"] if number % 40 == 0 else ""
        row["tags"], row["profile"] = "", None
        if number % 60 == 1:
            row["ingested_at"] = row["shown_at"] + dt.timedelta(hours=40)
        if number % 60 == 2:
            row |= {name: rows[number - 1][name] for name in ("user_id", "shown_at")}
            row["ingested_at"] = row["shown_at"]
        if number > 8990:
            row["surface"] = "rare scene"
    return pa.Table.from_pylist(rows, schema=log.schema)


def test_a_sample_holds_what_a_leak_shows_in(connection: duckdb.DuckDBPyConnection) -> None:
    events(connection, long_log())
    sample = draw(connection, "events", seed=7)
    assert len(sample) == SIZES["all"] == len(set(sample["event_id"].to_pylist()))
    connection.execute("create table sampled as select * from sample")

    def count(sql: str) -> int:
        return connection.execute(sql).fetchall()[0][0]

    contents = with_corners(connection, "sampled")
    assert not contents.ties_are_made and not contents.late_are_made
    assert contents.tied >= 60 and contents.late >= 100
    busy = "select count(*) from (select 1 from sampled group by user_id having count(*) >= 40)"
    assert count(busy) >= 15
    assert count("select count(*) from (select 1 from sampled group by item_id having count(*) >= 20)") >= 10
    assert count("select count(*) from (select 1 from sampled group by user_id having count(*) = 1)") >= 100
    assert count("select count(*) from sampled where item_title <> ''") >= 100
    assert count("select count(*) from sampled where scene = 'rare scene'") == 9
    assert count("select count(distinct event_date) from sampled") == count(
        "select count(distinct event_date) from events"
    )


def test_a_seed_draws_the_same_events_whatever_their_order(connection: duckdb.DuckDBPyConnection) -> None:
    log = long_log()
    events(connection, log)
    first, other = draw(connection, "events", seed=7), draw(connection, "events", seed=8)
    events(connection, log.take(list(reversed(range(len(log))))))
    assert draw(connection, "events", seed=7).equals(first)
    assert set(first["event_id"].to_pylist()) != set(other["event_id"].to_pylist())


def test_ties_and_late_outcomes_are_made_where_the_log_has_none(connection: duckdb.DuckDBPyConnection) -> None:
    log = random_log(400, delay_hours=0)
    rows = [row | {"shown_at": row["shown_at"] + dt.timedelta(microseconds=n)} for n, row in enumerate(log.to_pylist())]
    rows = [row | {"ingested_at": row["shown_at"]} for row in rows]
    events(connection, pa.Table.from_pylist(rows, schema=log.schema))
    contents = with_corners(connection, "events")
    assert contents.ties_are_made and contents.late_are_made
    assert contents.tied == 40 and contents.late >= 20
    wrong = "event_date <> cast(event_at as date) or known_date <> cast(known_at as date) or known_at < event_at"
    assert connection.execute(f"select count(*) from events where {wrong}").fetchall() == [(0,)]
    assert connection.execute("select count(distinct event_id) from events").fetchall() == [(400,)]


# ---- a project of three models, in a manifest as dbt writes it

EVENTS = {
    "name": "stg_events",
    "unique_id": "model.mine.stg_events",
    "resource_type": "model",
    "language": "sql",
    "relation_name": '"my_log"."main"."stg_events"',
    "config": {"materialized": "view"},
    "columns": {},
    "compiled_code": 'select * from "my_log"."main"."parsed_events"',
    "depends_on": {"nodes": ["model.mine.parsed_events"]},
}


def model(name: str, sql: str, parents: tuple[str, ...] = ("stg_events",), **fields: object) -> dict:
    of_parents = [f"{'seed' if parent.startswith('seed') else 'model'}.mine.{parent}" for parent in parents]
    return EVENTS | {
        "name": name,
        "unique_id": f"model.mine.{name}",
        "relation_name": f'"my_log"."main"."{name}"',
        "compiled_code": sql,
        "depends_on": {"nodes": of_parents},
        **fields,
    }


def mart(features: dict[str, str], source: str = '"my_log"."main"."stg_events"', **fields: object) -> dict:
    """training_examples v2 with these features."""
    columns = "".join(f", {sql} as {name}" for name, sql in features.items())
    roles = {"event_id": "key", "label": "label"} | dict.fromkeys(features, "feature")
    fields = {"parents": ("stg_events",), "version": 2, "alias": "training_examples_v2"} | fields
    yml = {name: {"name": name, "config": {"meta": {"role": role}}} for name, role in roles.items()}
    return model("training_examples", f"select events.*{columns} from {source} as events", columns=yml, **fields)


def manifest(*models: dict) -> dict:
    parsed = model("parsed_events", "select 1", parents=())
    return {"nodes": {node["unique_id"]: node for node in (EVENTS, parsed, *models)}, "sources": {}}


def proven(connection: duckdb.DuckDBPyConnection, log: pa.Table, *models: dict, **inputs: pa.Table) -> Proof:
    found = Models.of(manifest(*models))
    return prove_sample(
        found,
        [connection],
        events(connection, log),
        {f'"my_log"."main"."{name}"': rows for name, rows in inputs.items()},
    )


SEEN = "partition by user_id order by event_at range between unbounded preceding and interval 1 microsecond preceding"
LOG = random_log(300)


def verdicts(proof: Proof) -> dict[str, str]:
    (of_mart,) = proof.marts
    return {name: feature.verdict for name, feature in of_mart.features.items()}


def test_a_feature_made_of_other_models_and_of_a_seed(connection: duckdb.DuckDBPyConnection) -> None:
    """A table on the way, an ephemeral model that is part of its reader's SQL, and a seed that holds no event."""
    counted = model(
        "feat_mine", f'select event_id, count(*) over ({SEEN}) as n_shown from "my_log"."main"."stg_events"'
    )
    merged = model("merged", "select 1", config={"materialized": "ephemeral"})
    features = {
        "n_shown": "feat_mine.n_shown",
        "price": "prices.price * coalesce(feat_mine.n_shown, 0)",
        "leaked": "label / 2.0",
    }
    source = """(select * from "my_log"."main"."stg_events") as events
        left join "my_log"."main"."feat_mine" as feat_mine using (event_id)
        left join "my_log"."main"."seed_prices" as prices using (item_id) --"""
    wanted = mart(features, source, parents=("feat_mine", "merged", "seed_prices"))
    prices = EVENTS | {"name": "seed_prices", "unique_id": "seed.mine.seed_prices", "resource_type": "seed",
                       "relation_name": '"my_log"."main"."seed_prices"', "depends_on": {"nodes": []}}  # fmt: skip
    wanted["compiled_code"] = wanted["compiled_code"].replace(" -- as events", "")
    document = manifest(counted, merged, wanted, prices)
    assert [each.name for each in Models.of(document).models] == ["feat_mine", "training_examples_v2"]
    assert Models.of(document).inputs == ('"my_log"."main"."seed_prices"',)
    rows = pa.table({"item_id": [f"i{n}" for n in range(40)], "price": [float(n) for n in range(40)]})
    proof = proven(connection, LOG, counted, merged, wanted, prices, seed_prices=rows)
    assert verdicts(proof) == {"n_shown": "held", "price": "held", "leaked": "moved"}
    assert not proof.holds


def test_what_differs_between_two_builds_of_one_log_is_named(connection: duckdb.DuckDBPyConnection) -> None:
    proof = proven(
        connection,
        LOG,
        mart({"drawn": "random()", "nan": "case when label = 1 then cast('nan' as double) else label end"}),
    )
    (of_mart,) = proof.marts
    assert of_mart.features["drawn"].moved[0].alteration == "the same events in another order"
    assert of_mart.features["nan"].verdict == "moved"  # it is the label


def test_rows_that_are_lost_or_doubled_are_no_proof(connection: duckdb.DuckDBPyConnection) -> None:
    stored = 'select * from "my_log"."main"."stg_events"'
    twice = f"({stored} union all {stored} where event_id = 'e00007')"
    proof = proven(connection, LOG, mart({"hour": "hour(event_at)"}, twice))
    assert proof.marts[0].lost_or_doubled == ["e00007 has several rows"] and not proof.holds
    assert any("e00007 has several rows" in line for line in output.conclusions(proof))
    fewer = f"({stored} where event_id <> 'e00007')"
    proof = proven(connection, LOG, mart({"hour": "hour(event_at)"}, fewer))
    assert proof.marts[0].lost_or_doubled == ["e00007 is missing"] and not proof.holds


@pytest.mark.parametrize("n_events", [1, 2, 25])
def test_a_log_of_one_day(n_events: int, connection: duckdb.DuckDBPyConnection) -> None:
    """v1 sees no day before it: that can't be proven, and is no leak. A leak is one all the same."""
    day = LOG["shown_at"].to_pylist()[0].date()
    rows = [row for row in random_log(2000, delay_hours=0).to_pylist() if row["shown_at"].date() == day][:n_events]
    log = pa.Table.from_pylist(rows, schema=LOG.schema)
    daily = "partition by user_id order by event_date range between unbounded preceding and interval 1 day preceding"
    features = {"n_clicks": f"sum(label) over ({daily})", "leaked": "label"}
    proof = proven(connection, log, mart(features, version=1, alias="training_examples_v1"))
    assert verdicts(proof)["n_clicks"] == "unproven"
    assert verdicts(proof)["leaked"] == "moved"
    assert proof.marts[0].features["n_clicks"].why_unproven == "NULL or empty in every event of the sample"


def test_numbers_agree_up_to_rounding() -> None:
    assert agree(0.1 + 0.2, 0.3) and agree([1.0, None, [2]], [1.0, None, [2]]) and agree(float("nan"), float("nan"))
    assert not agree(0.3001, 0.3) and not agree([1.0], [1.0, 2.0]) and not agree(None, 0.0) and not agree(1.0, None)


# ---- what is refused


def test_a_model_that_reads_events_past_stg_events_is_refused() -> None:
    past = mart({"n": "1"}, '"my_log"."main"."parsed_events"', parents=("stg_events", "parsed_events"))
    with pytest.raises(ProofError, match="training_examples_v2 reads parsed_events, which stg_events is made of"):
        Models.of(manifest(past))
    ordered = mart({"n": "1"}, parents=("stg_events", "parsed_events"))  # an edge without a read is none
    assert Models.of(manifest(ordered)).inputs == ()


def test_a_project_without_the_warehouse_is_refused() -> None:
    with pytest.raises(ProofError, match="no model stg_events"):
        Models.of({"nodes": {}, "sources": {}})
    with pytest.raises(ProofError, match="nothing can be proven"):
        Models.of(manifest())
    with pytest.raises(ProofError, match="is a Python model"):
        Models.of(manifest(mart({"n": "1"}, language="python")))


def test_a_model_that_fails_on_the_sample_is_named(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(ProofError, match=r"training_examples_v2 fails on the sample:\n.*Conversion Error"):
        proven(connection, LOG, mart({"n": "cast(user_id as integer)"}))


def test_the_command_refuses_what_it_cannot_prove(tmp_path: Path) -> None:
    """Nothing built, an empty log, Spark, no project, an option that isn't there: exit code 2, and why."""
    project = Project(tmp_path / "project")

    def refused(*arguments: str, **target: str) -> str:
        result = project.prove(*arguments, **target)
        assert result.returncode == 2, result.stdout
        assert "Traceback" not in result.stderr
        return " ".join(result.stderr.split())

    said = refused()
    assert 'nothing is built yet. Run dbt build --vars \'{"dataset": "my_log"}\'' in said
    assert not (project.folder / "data/my_log.duckdb").exists()
    assert "The target is spark; warehouse prove runs the features' SQL on DuckDB only" in refused(target="spark")
    assert "No such option: --fast" in refused("--fast")
    assert "elsewhere" in refused("--project-dir", "elsewhere")

    duckdb.connect(str(project.folder / "data/my_log.duckdb")).close()
    said = refused()
    assert "stg_events\" isn't in the database: nothing is built yet." in said, said
    with duckdb.connect(str(project.folder / "data/my_log.duckdb")) as database:
        columns = (
            "event_id varchar, user_id varchar, item_id varchar, scene varchar, event_at timestamp, event_date date"
        )
        more = "known_date date, item_title varchar, item_entities varchar"
        database.execute(f"create table stg_events ({columns}, {more})")
    assert 'stg_events" holds no event' in refused()
