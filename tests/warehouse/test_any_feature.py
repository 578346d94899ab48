"""`warehouse prove` on a project with features of one's own: honest ones hold, and each leak is named in one run.

The project is a copy with the worked example of docs/add-a-feature.md. It is proven first; then columns are planted in
its marts, honest ones and leaks, and it is proven again. Nothing but stg_events is built.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from tests.warehouse.logs import random_log
from tests.warehouse.project import ROOT, Edit, Project, code_block, dumped, edits_of
from tests.warehouse.proofs import features_of
from warehouse.prove.models import PROVEN_ROLES
from warehouse.prove.verdicts import variety

GUIDE = ROOT / "docs/add-a-feature.md"
CONTRACT = "warehouse/models/marts/training_examples.yml"
# A column of the last step of either mart, before which others can be put.
ANCHOR = "{{ if_cold('whole_user_text_id') }} as user_text_id"
BEFORE_THE_INSTANT = "order by event_at range between unbounded preceding and interval 1 microsecond preceding"
AFTER_THE_INSTANT = "order by event_at range between interval 1 microsecond following and unbounded following"
BEFORE_THE_DAY = "order by as_of_date range between unbounded preceding and interval 1 day preceding"
UP_TO_THE_DAY = "order by as_of_date range between unbounded preceding and current row"
HONEST = {
    1: {"week_share": "user_n_impressions_7d / cast(user_n_impressions_cum as double)"},
    2: {"last_shown": f"cast(epoch(max(event_at) over (partition by user_id {BEFORE_THE_INSTANT})) as double)"},
}
UNPROVEN = {"constant": "cast(1 as double)", "empty": "cast(null as double)"}
LEAKS_OF_BOTH = {
    "own_label": "cast(label as double)",
    "whole_log_rate": "avg(label) over ()",
    "whole_log_rate_of_item": "avg(label) over (partition by item_id)",
    "own_label_of_late_outcomes": "cast(case when known_at > event_at + interval 9 hour then label end as double)",
    "own_label_of_new_users": "cast(case when user_level = 'zero' then label else 2 end as double)",
    "own_label_of_new_items": "cast(case when item_level = 'zero' then label else 2 end as double)",
    "own_label_of_warm_users": "cast(case when user_level = 'warm' then label else 2 end as double)",
    "label_of_twins": "cast(sum(label) over (partition by user_id, event_at) - label as double)",
    "next_label": "cast(lead(label) over (partition by user_id order by event_at, event_id) as double)",
    "shown_later": f"cast(count(*) over (partition by user_id {AFTER_THE_INSTANT}) as double)",
}
LEAKS = {
    1: LEAKS_OF_BOTH
    | {
        "today_included": f"cast(sum(label) over (partition by user_id {UP_TO_THE_DAY}) as double)",
        "up_to_the_instant": f"cast(sum(label) over (partition by user_id {BEFORE_THE_INSTANT}) as double)",
        "known_when_shown": f"cast(sum(label) over (partition by user_id {BEFORE_THE_DAY}) as double)",
        "how_busy_today": "cast(count(*) over (partition by user_id, as_of_date) as double)",
    },
    2: LEAKS_OF_BOTH
    | {
        "ties_included": "cast(sum(label) over (partition by user_id order by event_at) as double)",
        "rows_for_instants": "cast(sum(label) over (partition by user_id order by event_at, event_id"
        " rows between unbounded preceding and 1 preceding) as double)",
        "known_when_shown": f"cast(sum(label) over (partition by user_id {BEFORE_THE_INSTANT}) as double)",
        "next_event": "cast(epoch(lead(event_at) over (partition by user_id order by event_at, event_id)) as double)",
    },
}


def planted(version: int) -> dict[str, str]:
    return {f"planted_{name}": sql for name, sql in (HONEST[version] | UNPROVEN | LEAKS[version]).items()}


def planted_in_sql() -> Iterator[Edit]:
    for version in HONEST:
        columns = "".join(f"{sql} as {name},\n        " for name, sql in planted(version).items())
        yield Edit(f"warehouse/models/marts/training_examples_v{version}.sql", ANCHOR, columns + ANCHOR)


def declare(project: Project, columns: dict[int, list[dict]]) -> None:
    """Add columns to the contract of training_examples, by version."""
    path = project.folder / CONTRACT
    document = yaml.safe_load(path.read_text())
    for version in document["models"][0]["versions"]:
        version["columns"] += columns.get(version["v"], [])
    path.write_text(dumped(document))


def declared(version: int, path: Path = ROOT / CONTRACT) -> set[str]:
    """The columns that the contract says are features of any kind."""
    (columns,) = (
        each["columns"] for each in yaml.safe_load(path.read_text())["models"][0]["versions"] if each["v"] == version
    )
    return {column["name"] for column in columns if column["config"]["meta"]["role"] in PROVEN_ROLES}


def planted_in_yml() -> dict[int, list[dict]]:
    meta = {"role": "feature", "kind": "dense", "transform": "none", "group": "user"}
    column = {"data_type": "double", "description": "Planted.", "config": {"meta": meta}}
    return {version: [{"name": name} | column for name in planted(version)] for version in HONEST}


def worked_example() -> tuple[tuple[Edit, ...], list[dict]]:
    """What docs/add-a-feature.md adds to the SQL and to the contract of v2; nothing if a user has followed it."""
    columns = yaml.safe_load(code_block(GUIDE, "yaml"))
    if {column["name"] for column in columns} <= set(features_of(2)):
        return (), []
    return edits_of(GUIDE), columns


class Proven:
    """One run of the command: its exit code, what it printed, and its JSON with the features by version."""

    def __init__(self, project: Project):
        result = project.prove("--json", "proof.json")
        self.code, self.printed = result.returncode, result.stdout
        assert self.code in (0, 1), result.stderr
        self.found = json.loads((project.folder / "proof.json").read_text())
        self.declared = {version: declared(version, project.folder / CONTRACT) for version in HONEST}
        self.features = {
            version: {each["name"]: each for each in self.found["marts"][f"training_examples_v{version}"]["features"]}
            for version in HONEST
        }

    def names(self, version: int, verdict: str) -> set[str]:
        return {name for name, feature in self.features[version].items() if feature["verdict"] == verdict}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    edits, columns = worked_example()
    project = Project(tmp_path_factory.mktemp("any") / "project", edits)
    declare(project, {2: columns})
    project.write_log(random_log(n_events=700))
    result = project.dbt("run", "--select", "+stg_events")
    assert result.returncode == 0, result.stdout
    return project


@pytest.fixture(scope="module")
def clean(project: Project) -> Proven:
    return Proven(project)


@pytest.fixture(scope="module")
def leaking(project: Project, clean: Proven) -> Proven:
    """The same project after columns were planted: it isn't built again."""
    for edit in planted_in_sql():
        path = project.folder / edit.path
        path.write_text(edit.applied_to(path.read_text()))
    declare(project, planted_in_yml())
    return Proven(project)


def test_no_feature_knows_too_much(clean: Proven) -> None:
    """Every column of every version holds, the worked example among them."""
    assert (clean.code, clean.found["holds"]) == (0, True), clean.printed
    for version, features in clean.features.items():
        assert set(features) == clean.declared[version]
        assert clean.names(version, "moved") == set()
        assert min(feature["cells_held"] for feature in features.values()) > 5 * clean.found["sample"]["events"]
        times = len(clean.found["alterations"])
        print(f"\nproven v{version}: {len(features)} columns are the same with less to see, {times} times")
    assert "user_recent_share" in clean.names(2, "held")


def test_every_column_can_be_proven(clean: Proven) -> None:
    for version in clean.features:
        found = clean.names(version, "unproven")
        assert not found, (
            f"training_examples v{version} has one value alone, or none, in {', '.join(found)}: nothing proves a column"
            " that never moves. Mend it, or give tests/warehouse/logs.py what it reads (docs/add-a-feature.md)."
        )


def test_the_leaks_are_named_at_once_and_nothing_else(leaking: Proven) -> None:
    assert (leaking.code, leaking.found["holds"]) == (1, False)
    for version in LEAKS:
        assert leaking.names(version, "moved") == {f"planted_{name}" for name in LEAKS[version]}
        assert leaking.names(version, "unproven") == {f"planted_{name}" for name in UNPROVEN}
        assert f"planted_{next(iter(HONEST[version]))}" in leaking.names(version, "held")


@pytest.mark.parametrize(("version", "leak"), [(version, leak) for version in LEAKS for leak in LEAKS[version]])
def test_a_leak_of_ones_own_is_caught(version: int, leak: str, leaking: Proven) -> None:
    """It moves by an alteration, with an event and its two values; it is in the table that is printed, too."""
    feature = leaking.features[version][f"planted_{leak}"]
    assert feature["moved"], f"nothing caught {leak}"
    assert feature["cells_moved"] == sum(moved["cells"] for moved in feature["moved"]) > 0
    for moved in feature["moved"]:
        assert moved["value"] != moved["value_without_the_future"]
        assert moved["event_id"].startswith("e")
    assert f"planted_{leak}" in leaking.printed
    print(f"\nmutant v{version} a feature of one's own, {leak}: caught by {feature['moved'][0]['alteration']}")


def test_the_table_says_why_a_column_cannot_be_proven(leaking: Proven) -> None:
    printed = " ".join(leaking.printed.split())
    assert "can't be proven: 1 in every event" in printed
    assert "can't be proven: NULL or empty in every event" in printed
    assert leaking.features[1]["planted_empty"]["why_unproven"] == "NULL or empty in every event of the sample"


def test_nothing_is_written_but_the_json(project: Project, clean: Proven) -> None:
    """dbt's target/ stays what the build made: the trainer reads its manifest."""
    manifest = json.loads((project.folder / "target/manifest.json").read_text())
    columns = manifest["nodes"]["model.first_impression.training_examples.v1"]["columns"]
    assert not any(name.startswith("planted_") for name in columns)
    assert not (project.folder / "target/compiled/first_impression/warehouse/models/marts").exists()


def test_a_column_without_values_is_found() -> None:
    assert variety(pa.chunked_array([pa.nulls(50)])) == (0, "NULL or empty in every event of the sample")
    assert variety(pa.chunked_array([[[], None, []]]))[0] == 0
    assert variety(pa.chunked_array([[None, 3.0, 3.0]])) == (1, "3 in every event of the sample that has a value")
    assert variety(pa.chunked_array([[1, 2, 2]])) == (2, None)


def test_a_lost_line_of_the_guide_is_noticed() -> None:
    """The worked example is applied as it stands: too little would be proven if a block went unread."""
    (edit,) = edits_of(GUIDE)
    assert edit.path.endswith("training_examples_v2.sql")
    assert "as user_recent_share" in edit.new
    assert [column["name"] for column in yaml.safe_load(code_block(GUIDE, "yaml"))] == ["user_recent_share"]
