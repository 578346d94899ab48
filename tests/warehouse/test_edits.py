"""An edit finds its expression whatever a user has added around it, and says so when the expression is gone."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.warehouse import test_latest, test_mutants, test_refresh, test_split
from tests.warehouse.project import ROOT, Edit, Project, code_block, dumped, edits_of
from tests.warehouse.test_any_feature import GUIDE, planted_in_sql

SPLIT_AND_LATEST = [
    *(Edit(test_split.SPLIT, old, new) for old, new, _ in test_split.test_mutant_is_caught.pytestmark[0].args[1]),
    *(Edit(*mutant) for mutant in test_latest.test_mutant_is_caught.pytestmark[0].args[1]),
]
EDITS = [
    *(
        (f"v{version} {name}", edit)
        for version, mutants in test_mutants.MUTANTS.items()
        for name, edits in mutants.items()
        for edit in edits
    ),
    *(("docs/add-a-feature.md", edit) for edit in edits_of(GUIDE)),
    *(("planted columns", edit) for edit in planted_in_sql()),
    *(("refresh", edit) for edit, _ in test_refresh.MUTANTS),
    *((f"mutant of {edit.path}", edit) for edit in SPLIT_AND_LATEST),
]


def text_of(edit: Edit) -> str:
    return (ROOT / edit.path).read_text()


@pytest.mark.parametrize(("name", "edit"), EDITS, ids=[f"{name}: {edit.old[:30]}" for name, edit in EDITS])
def test_nothing_that_a_user_adds_hides_an_anchor(name: str, edit: Edit) -> None:
    text = text_of(edit)
    assert edit.applied_to(text) != text
    lines = text.splitlines(keepends=True)
    for added in ("-- a comment\n", "    cast(1 as double) as mine,\n", "\n", "{# a remark #}\n", "/* two\nlines */\n"):
        for n in range(len(lines) + 1):
            edit.applied_to("".join([*lines[:n], added, *lines[n:]]))


@pytest.mark.parametrize(("name", "edit"), EDITS, ids=[f"{name}: {edit.old[:30]}" for name, edit in EDITS])
def test_no_layout_hides_an_anchor(name: str, edit: Edit) -> None:
    """In upper case, indented otherwise, each word on a line of its own, all on one line, remarks between words."""
    text = text_of(edit)
    bare = text if edit.old.startswith("--") else re.sub(r"--[^\n]*|\{#.*?#\}", "", text, flags=re.DOTALL)
    for other in (
        text.upper(),
        text.replace("    ", "\t"),
        re.sub(r"(?<!-)\s+", "\n", bare),
        re.sub(r"(?<!-)\s+", " -- a remark\n", bare),
        " ".join(bare.split()),
        re.sub(r"([(),])", r" \1 ", bare),
    ):
        edit.applied_to(other)


def test_every_occurrence_is_changed_and_nothing_else() -> None:
    edit = Edit("a.sql", "known_date as day", "event_date as day")
    text = "select known_date as day, last_known_date as day, Known_Date  AS -- why\n day from x"
    assert edit.applied_to(text) == "select event_date as day, last_known_date as day, event_date as day from x"


def test_an_expression_that_is_gone_is_named() -> None:
    edit = Edit("a.sql", "sum(n_clicks) over w_7d", "")
    for text in ("sum(n_clicks) over w_28d", "sum(n_clicks) + over w_7d", "sum(n_clicks)over_w_7d", ""):
        with pytest.raises(AssertionError, match=re.escape(f"a.sql no longer holds the expression `{edit.old}`")):
            edit.applied_to(text)


def test_an_anchor_does_not_span_lines() -> None:
    with pytest.raises(AssertionError, match="one expression on one line"):
        Edit("a.sql", "from a\nwhere b", "")


def test_a_project_under_test_is_the_same_whatever_logs_a_user_has(tmp_path: Path) -> None:
    """A checkout with logs of its own, one of them named as in the guide: their adapters don't get in the way."""
    root = tmp_path / "checkout"
    root.mkdir()
    shutil.copytree(ROOT / "warehouse", root / "warehouse", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "profiles.yml", root)
    sources = root / "warehouse/models/sources"
    for name in ("my_log", "shop", "shop_2"):
        (sources / name).mkdir(exist_ok=True)
        sql = f"{{{{ config(enabled=is_adapter('{name}')) }}}}\nselect 'mine' as user_id"
        (sources / name / f"src_{name}.sql").write_text(sql)
    (sources / "my_log/src_my_log.yml").write_text("models: [{name: src_my_log, description: mine}]")
    (sources / "my_log/my_log_lookup.sql").write_text("select * from a_table_of_mine")
    settings = yaml.safe_load((ROOT / "dbt_project.yml").read_text())
    settings["vars"]["datasets"] |= {name: {"scenes": ["mine"]} for name in ("my_log", "shop", "shop_2")}
    settings["vars"]["dataset"] = "my_log"
    (root / "dbt_project.yml").write_text(dumped(settings))

    project = Project(tmp_path / "project", root=root)
    result = project.dbt("parse")
    assert result.returncode == 0, result.stdout
    guide = ROOT / "docs/bring-your-own-log.md"
    (adapter,) = project.folder.rglob("src_my_log.*")
    assert adapter.read_text() == code_block(guide, "sql")
    assert not list(project.folder.rglob("my_log_lookup.sql"))
    found = yaml.safe_load((project.folder / "dbt_project.yml").read_text())["vars"]["datasets"]
    assert found["my_log"] == yaml.safe_load(code_block(guide, "yaml"))["my_log"]
    assert found["shop"] == {"scenes": ["mine"]}
