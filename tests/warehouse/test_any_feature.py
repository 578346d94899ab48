"""Every column that training_examples declares is proven, also one that this project has never heard of.

The project under test is a copy with the worked example of docs/add-a-feature.md and with planted columns: honest ones,
and leaks that the proofs must name. So the same builds prove the features and the proofs.
"""

from collections.abc import Iterator

import pyarrow as pa
import pytest
import yaml

from tests.warehouse.any_feature import (
    as_it_stood,
    moved,
    proven_columns,
    tied_instants,
    unproven,
    with_one_outcome_reversed,
    with_ties,
)
from tests.warehouse.logs import FIRST_DAY, random_log
from tests.warehouse.project import ROOT, Edit, Project, code_block, dumped, edits_of
from tests.warehouse.proofs import features_of

GUIDE = ROOT / "docs/add-a-feature.md"
CONTRACT = "warehouse/models/marts/training_examples.yml"
# A column of the last step of either mart, before which others can be put.
ANCHOR = "{{ if_cold('whole_user_text_id') }} as user_text_id"
BEFORE_THE_INSTANT = "order by event_at range between unbounded preceding and interval 1 microsecond preceding"
BEFORE_THE_DAY = "order by as_of_date range between unbounded preceding and interval 1 day preceding"
UP_TO_THE_DAY = "order by as_of_date range between unbounded preceding and current row"
HONEST = {
    1: {"week_share": "user_n_impressions_7d / cast(user_n_impressions_cum as double)"},
    2: {"last_shown": f"cast(epoch(max(event_at) over (partition by user_id {BEFORE_THE_INSTANT})) as double)"},
}
LEAKS = {
    1: {
        "own_label": "cast(label as double)",
        "today_included": f"cast(sum(label) over (partition by user_id {UP_TO_THE_DAY}) as double)",
        "up_to_the_instant": f"cast(sum(label) over (partition by user_id {BEFORE_THE_INSTANT}) as double)",
        "known_when_shown": f"cast(sum(label) over (partition by user_id {BEFORE_THE_DAY}) as double)",
        "whole_log_rate": "avg(label) over ()",
        "whole_log_rate_of_item": "avg(label) over (partition by item_id)",
        "how_busy_today": "cast(count(*) over (partition by user_id, as_of_date) as double)",
    },
    2: {
        "own_label": "cast(label as double)",
        "ties_included": "cast(sum(label) over (partition by user_id order by event_at) as double)",
        "rows_for_instants": "cast(sum(label) over (partition by user_id order by event_at, event_id"
        " rows between unbounded preceding and 1 preceding) as double)",
        "known_when_shown": f"cast(sum(label) over (partition by user_id {BEFORE_THE_INSTANT}) as double)",
        "whole_log_rate": "avg(label) over ()",
        "whole_log_rate_of_item": "avg(label) over (partition by item_id)",
        "next_event": "cast(epoch(lead(event_at) over (partition by user_id order by event_at, event_id)) as double)",
    },
}


def planted(version: int) -> dict[str, str]:
    return {f"planted_{name}": sql for name, sql in (HONEST[version] | LEAKS[version]).items()}


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
    """The builds, each of which serves every proof: marts of the whole log, and by proof and version what moved."""

    def __init__(self, project: Project, log: pa.Table):
        self.marts = project.build_marts(log)
        self.contracts = project.contracts()
        self.moved: dict[str, dict[int, dict[str, str]]] = {}
        instants = tied_instants(log)
        early, late = instants[len(instants) // 4], instants[-len(instants) // 4]
        midnight = FIRST_DAY.replace(day=23)
        for name, moment, less in (
            ("as it stood at a midnight", midnight, as_it_stood(log, midnight)),
            ("as it stood at an instant", early, as_it_stood(log, early)),
            ("as it stood at a later instant", late, as_it_stood(log, late)),
            ("one outcome reversed", late, with_one_outcome_reversed(log, late)),
        ):
            project.forget()
            again = project.build_marts(less)
            self.moved[name] = {
                version: moved(mart, again[version], self.contracts[version], version, moment)
                for version, mart in self.marts.items()
            }

    def names(self, version: int) -> set[str]:
        return {name for found in self.moved.values() for name in found[version]}


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory) -> Proven:
    edits, columns = worked_example()
    project = Project(tmp_path_factory.mktemp("any") / "project", (*edits, *planted_in_sql()))
    declare(project, {2: columns})
    declare(project, planted_in_yml())
    return Proven(project, with_ties(random_log(n_events=1500)))


def test_no_feature_knows_too_much(proven: Proven) -> None:
    """Every column of every version in the manifest, the worked example and the honest planted ones among them."""
    for version, contract in proven.contracts.items():
        columns = proven_columns(contract)
        leaks = {f"planted_{name}" for name in LEAKS.get(version, ())}
        assert {f"planted_{name}" for name in HONEST.get(version, ())} < set(columns)
        for proof, found in proven.moved.items():
            honest = {name: where for name, where in found[version].items() if name not in leaks}
            assert not honest, f"training_examples v{version}, {proof}: " + "; ".join(honest.values())
        n_proven = sum(not name.startswith("planted_") for name in columns)
        print(f"\nproven v{version}: {n_proven} columns are the same in the log {', '.join(proven.moved)}")
    assert "user_recent_share" in proven_columns(proven.contracts[2])


@pytest.mark.parametrize(("version", "leak"), [(version, leak) for version in LEAKS for leak in LEAKS[version]])
def test_a_leak_of_ones_own_is_caught(version: int, leak: str, proven: Proven) -> None:
    caught_by = [proof for proof, found in proven.moved.items() if f"planted_{leak}" in found[version]]
    assert caught_by, f"nothing caught {leak}"
    print(f"\nmutant v{version} a feature of one's own, {leak}: caught by the log {', '.join(caught_by)}")


def test_every_column_can_be_proven(proven: Proven) -> None:
    for version, mart in proven.marts.items():
        found = [name for name in unproven(mart, proven.contracts[version]) if not name.startswith("planted_")]
        assert not found, (
            f"training_examples v{version} has one value alone, or none, in {', '.join(found)}: nothing proves a column"
            " that never moves. Mend it, or give tests/warehouse/logs.py what it reads (docs/add-a-feature.md)."
        )


def test_a_column_without_values_is_found(proven: Proven) -> None:
    mart = proven.marts[1].slice(0, 50)
    lost = mart.set_column(mart.column_names.index("item_title_text_id"), "item_title_text_id", [[None] * 50])
    assert "item_title_text_id" in unproven(lost, proven.contracts[1])


def test_a_lost_line_of_the_guide_is_noticed() -> None:
    """The worked example is applied as it stands: too little would be proven if a block went unread."""
    (edit,) = edits_of(GUIDE)
    assert edit.path.endswith("training_examples_v2.sql")
    assert "as user_recent_share" in edit.new
    assert [column["name"] for column in yaml.safe_load(code_block(GUIDE, "yaml"))] == ["user_recent_share"]
