"""What a build does to a table, from the records in the tables' comments: warehouse/refresh.py by itself."""

import json
from pathlib import Path

from warehouse.refresh import plan_refresh

EVENTS, VIEW, COUNTS, FEATURES = "model.p.events", "model.p.view", "model.p.counts", "model.p.features"
NODES = {  # events -> a view of them -> counts -> features, which read the view too
    EVENTS: ["events", "incremental", "-", ["source.p.raw"]],
    VIEW: ["view", "view", "-", [EVENTS]],
    COUNTS: ["counts", "incremental", "-", [VIEW]],
    FEATURES: ["features", "mart", "-", [COUNTS, VIEW]],
}
VIEWS = {"view": "create view v"}
Tables = dict[str, str | None]


def plan(node: str, tables: Tables, views: dict[str, str] | None = None, **given: object) -> dict:
    asked = {
        "relation": NODES[node][0],
        "text": "select",
        "parents": NODES[node][3],
        "full_refresh": False,
        "is_root": node == EVENTS,
        "mart": None,
    } | given
    request = {"invocation": given.pop("now", "now"), "nodes": NODES, "asked": {node: asked}}
    return json.loads(plan_refresh(json.dumps(request), json.dumps(tables), json.dumps(views or VIEWS)))[node]


def built(tables: Tables, *nodes: str, load: int | None = None, **given: object) -> Tables:
    """`tables` after a build of some nodes, as macros/refresh.sql records it."""
    tables = dict(tables)
    for node in nodes:
        record = plan(node, tables, **given)["record"]
        if load is not None and node == EVENTS:
            record["load"] = load
        tables[NODES[node][0]] = "A description.\n\nrefresh: " + json.dumps(record)
    return tables


EVERYTHING = built({}, EVENTS, COUNTS, FEATURES, load=1)


def test_a_first_build_is_a_full_one_and_the_next_has_nothing_to_do() -> None:
    assert plan(COUNTS, {"counts": "only a description"})["why"] == "no earlier build to refresh"
    for node in (EVENTS, COUNTS, FEATURES):
        found = plan(node, EVERYTHING)
        assert not found["is_full"]
        assert found["since"] == found["record"]["load"] == 1
        assert found["record"] == json.loads(EVERYTHING[NODES[node][0]].partition("refresh: ")[2])


def test_a_table_is_never_ahead_of_what_it_reads() -> None:
    """A build of some models leaves counts behind; features, built alone, stay with it and catch up later."""
    ahead = built(EVERYTHING, EVENTS, load=2)
    assert plan(FEATURES, ahead)["record"]["load"] == 1
    behind = built(ahead, FEATURES)
    assert plan(COUNTS, behind)["record"]["load"] == 2
    caught_up = built(behind, COUNTS)
    assert (plan(FEATURES, caught_up)["since"], plan(FEATURES, caught_up)["record"]["load"]) == (1, 2)


def test_what_reads_a_table_that_was_built_in_full_is_built_in_full() -> None:
    again = built(EVERYTHING, COUNTS, full_refresh=True, now="later")
    assert plan(FEATURES, again)["is_full"]
    assert plan(FEATURES, again)["why"] is None, "the reason was the other table's"
    assert not plan(EVENTS, again)["is_full"]


def test_another_sql_or_view_is_a_full_build() -> None:
    why = "its SQL, or a var or a table that it reads, changed"
    assert plan(COUNTS, EVERYTHING, text="select other")["why"] == why
    assert plan(COUNTS, EVERYTHING, views={"view": "create view w"})["why"] == why
    assert plan(COUNTS, EVERYTHING, full_refresh=True)["why"] == "--full-refresh"


def test_a_mart_that_another_database_wrote_is_built_in_full(tmp_path: Path) -> None:
    mart = str(tmp_path)
    assert plan(FEATURES, EVERYTHING, mart=mart)["is_full"], "its folder is gone"
    (tmp_path / "_build").mkdir()
    for writer in ("another", "now"):
        (tmp_path / "_build/build.json").write_text(json.dumps({"invocation_id": writer}))
        assert plan(FEATURES, EVERYTHING, mart=mart)["is_full"] == (writer == "another")


def test_without_the_record_of_a_parent_a_table_is_built_in_full_each_time() -> None:
    lost = EVERYTHING | {"counts": None}
    assert plan(FEATURES, lost)["is_full"]
    assert plan(FEATURES, built(lost, FEATURES))["is_full"]
