"""The SQL that a state counts by comes from dbt's manifest, which is of whatever log dbt compiled last."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trainer.base.errors import TrainerError
from trainer.contract.manifest import compiled_models
from trainer.contract.read import read_contract
from trainer.contract.schema import Contract

READ = "model.first_impression.stg_events"


@pytest.fixture
def compiled(toy: Any, tmp_path: Path) -> tuple[Contract, Path]:
    """The contract of a toy mart, and the manifest of a dbt that has compiled it."""
    mart = toy(300)
    path = mart.manifest(tmp_path / "manifest.json")
    contract = read_contract(mart.write(tmp_path / "marts"), None, path)
    manifest = json.loads(path.read_text())
    for unique_id, sql, parents in ((contract.unique_id, "select * from src", [READ]), (READ, "select 1", [])):
        name = unique_id.split(".")[2]
        manifest["nodes"][unique_id] |= {"resource_type": "model", "name": name, "alias": name, "relation_name": None}
        manifest["nodes"][unique_id] |= {"compiled_code": sql, "depends_on": {"nodes": parents}}
    path.write_text(json.dumps(manifest))
    return contract, path


def test_the_mart_and_what_it_reads(compiled: tuple[Contract, Path]) -> None:
    contract, path = compiled
    assert compiled_models(path, contract) == {"training_examples": "select * from src", "stg_events": "select 1"}


def test_a_manifest_of_another_log_is_refused(compiled: tuple[Contract, Path]) -> None:
    """Features by another log's SQL would be other features: its scenes, its lists."""
    contract, path = compiled
    path.write_text(path.read_text().replace(READ, "model.first_impression.stg_other"))
    with pytest.raises(TrainerError, match="compiled for another log") as error:
        compiled_models(path, contract)
    assert READ in str(error.value) and "stg_other" in str(error.value) and "dbt compile" in str(error.value)


def test_a_manifest_compiled_with_other_vars_is_refused(compiled: tuple[Contract, Path]) -> None:
    contract, path = compiled
    manifest = json.loads(path.read_text())
    manifest["nodes"][contract.unique_id]["config"] = {"meta": {"vars": contract.variables}}
    path.write_text(json.dumps(manifest))
    assert compiled_models(path, contract)
    manifest["nodes"][contract.unique_id]["config"]["meta"]["vars"] = contract.variables | {"few_max": 17}
    path.write_text(json.dumps(manifest))
    with pytest.raises(TrainerError, match=r"compiled with few_max 17, the mart was built with 5\. Run `dbt compile`"):
        compiled_models(path, contract)
