"""The data tests of macros/generic_tests.sql find each repeated key and each NULL, and nothing else."""

import json
import re
import shutil
from pathlib import Path

import yaml

from tests.warehouse.project import Project

MODEL = """
select *
from (values (1, 'a', 'x'), (1, 'a', 'y'), (1, 'b', 'x'), (null, 'b', 'z'), (2, 'c', null)) as t (id, part, name)
"""
# Arguments, and how many rows a test of that kind must give.
CASES = [
    ("unique_key", {"columns": ["id", "part"]}, 1),
    ("unique_key", {"columns": ["id", "part", "name"]}, 0),
    ("unique_key", {"columns": ["id", "part", "name"], "not_null": ["part"]}, 0),
    ("unique_key", {"columns": ["id", "part", "name"], "not_null": ["id"]}, 1),
    ("unique_key", {"columns": ["id", "part", "name"], "not_null": ["part", "id", "name"]}, 2),
    ("unique_key", {"columns": ["id", "part"], "not_null": ["id"]}, 2),
    ("unique_key", {"columns": ["id", "part"], "not_null": ["id", "name"]}, 3),
    ("unique_key", {"columns": ["part", "name"], "not_null": ["id"]}, 1),
    ("unique_key", {"columns": ["name"], "not_null": ["part"]}, 1),
    ("never_null", {"columns": ["part"]}, 0),
    ("never_null", {"columns": ["id", "part"]}, 1),
    ("never_null", {"columns": ["name", "part", "id"]}, 2),
    ("not_empty", {}, 0),
]


def test_each_repeated_key_and_each_null_is_found(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    models = project.folder / "warehouse/models"
    for folder in (models, project.folder / "warehouse/data_tests"):
        shutil.rmtree(folder)
    models.mkdir()
    (models / "keyed.sql").write_text(MODEL)
    tests = [{kind: {"name": f"case_{n}", "arguments": given}} for n, (kind, given, _) in enumerate(CASES)]
    (models / "keyed.yml").write_text(yaml.safe_dump({"models": [{"name": "keyed", "data_tests": tests}]}))
    done = project.dbt("build")
    assert done.returncode == 1, done.stdout
    results = json.loads((project.folder / "target/run_results.json").read_text())["results"]
    found = {
        int(name[1]): result["failures"]
        for result in results
        if (name := re.search(r"\.case_(\d+)\.", result["unique_id"]))
    }
    assert found == {n: expected for n, (_, _, expected) in enumerate(CASES)}
