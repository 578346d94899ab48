"""The rules that the whole project keeps, read from dbt's manifest: layers, grain, keys, contracts, owners."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.warehouse.project import Edit, Project

# The order in which a newcomer meets the data; a model reads its own layer and those before it.
LAYERS = ["sources", "staging", "daily", "texts", "features", "marts", "monitoring"]
RANK = {"sources": 0, "staging": 1, "daily": 2, "texts": 2, "features": 3, "marts": 4, "monitoring": 5}
# The macros that open files of the raw log.
FILE_MACROS = {f"macro.first_impression.{name}" for name in ("raw_csv", "raw_parquet", "raw_parts", "raw_files")}
MARTS = "warehouse/models/marts"


def manifest_of(project: Project) -> dict:
    result = project.dbt("parse")
    assert result.returncode == 0, result.stdout
    return json.loads((project.folder / "target/manifest.json").read_text())


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return manifest_of(Project(tmp_path_factory.mktemp("manifest") / "project"))


def models(manifest: dict) -> dict[str, dict]:
    return {key: node for key, node in manifest["nodes"].items() if node["resource_type"] == "model"}


def layer(node: dict) -> str:
    return node["fqn"][1]


def breaches_of_layers(manifest: dict) -> Iterator[str]:
    known = models(manifest)
    for node in known.values():
        for parent_id in node["depends_on"]["nodes"]:
            if parent_id.startswith("source."):
                if layer(node) != "sources":
                    yield f"{node['name']} reads raw files; an adapter should"
                continue
            parent = known[parent_id]
            if RANK[layer(parent)] > RANK[layer(node)]:
                yield f"{node['name']} ({layer(node)}) reads {parent['name']} ({layer(parent)}), a later layer"
            if parent["name"] == "raw_files":  # the list of files; who asks for a scan reads it
                if layer(node) not in ("sources", "staging"):
                    yield f"{node['name']} reads raw files; an adapter should"
                continue
            unaccepted = layer(parent) == "sources" or parent["name"] in ("parsed_events", "rejected_events")
            if unaccepted and layer(node) != "staging":
                yield f"{node['name']} reads {parent['name']}; stg_events is for it"
        for macro in FILE_MACROS & set(node["depends_on"]["macros"]):
            if layer(node) != "sources":
                yield f"{node['name']} opens files with {macro}; an adapter should"
        for function in ("read_csv", "read_parquet", "parquet.`", "csv.`"):
            if function in node["raw_code"]:
                yield f"{node['name']} opens files with {function}"


def breaches_of_documentation(manifest: dict) -> Iterator[str]:
    keyed = {
        node["attached_node"]
        for node in manifest["nodes"].values()
        if node["resource_type"] == "test" and (node.get("test_metadata") or {}).get("name") in ("unique", "unique_key")
    }
    for key, node in models(manifest).items():
        name = f"{node['name']} v{node['version']}" if node["version"] else node["name"]
        if not node["raw_code"].startswith("-- Grain: "):
            yield f"{name}: the first line doesn't tell the grain"
        if not node["description"]:
            yield f"{name}: no description"
        if not node["group"]:
            yield f"{name}: no group, so no owner"
        # An adapter's rows are keyed by file and row; parsed_events tests that once for all of them.
        if key not in keyed and layer(node) != "sources":
            yield f"{name}: no unique or unique_key test"
        if node["config"]["contract"]["enforced"]:
            for column in node["columns"].values():
                if not column["description"] or not column["data_type"]:
                    yield f"{name}.{column['name']}: no description or no type"
                if not column["config"]["meta"].get("role"):
                    yield f"{name}.{column['name']}: no meta saying its role"
        elif layer(node) in ("features", "marts", "monitoring"):
            yield f"{name}: no enforced contract"


def test_layers(manifest: dict) -> None:
    assert {layer(node) for node in models(manifest).values()} == set(LAYERS)
    assert list(breaches_of_layers(manifest)) == []


def test_every_model_says_what_it_is(manifest: dict) -> None:
    adapter_of_the_guide = {"src_my_log: no description"}  # docs/bring-your-own-log.md asks for SQL and vars alone
    assert set(breaches_of_documentation(manifest)) == adapter_of_the_guide


def test_access(manifest: dict) -> None:
    expected = dict.fromkeys(LAYERS, "protected") | {"sources": "private", "marts": "public"}
    for node in models(manifest).values():
        # What a mart adds up is the store's own, beside the mart; the list of raw files holds no event.
        is_own = node["name"].startswith("int_") or node["name"] == "raw_files"
        assert node["access"] == ("protected" if is_own else expected[layer(node)]), node["name"]


def test_groups_and_exposures_have_owners_and_exposures_read_public_models_alone(manifest: dict) -> None:
    assert all(group["owner"]["name"] for group in manifest["groups"].values())
    exposures = {exposure["name"]: exposure for exposure in manifest["exposures"].values()}
    assert set(exposures) == {"embeddings", "trainer"}
    for exposure in exposures.values():
        assert exposure["type"] == "ml"
        assert exposure["owner"]["name"]
        assert exposure["depends_on"]["nodes"]
        assert all(manifest["nodes"][parent]["access"] == "public" for parent in exposure["depends_on"]["nodes"])
    versions = {key for key in models(manifest) if ".training_examples." in key}
    assert set(exposures["trainer"]["depends_on"]["nodes"]) == versions


def test_a_column_means_the_same_in_every_contract(manifest: dict) -> None:
    """Type and meta of a feature agree wherever it passes on its way to the training table."""
    found: dict[str, dict[str, str]] = {}
    for node in models(manifest).values():
        for column in node["columns"].values():
            if column["config"]["meta"].get("role") == "feature":
                says = f"{column['data_type']} {sorted(column['config']['meta'].items())}"
                found.setdefault(column["name"], {})[node["unique_id"]] = says
    assert len(found) > 50
    assert {name: says for name, says in found.items() if len(set(says.values())) > 1} == {}


def test_what_is_served_has_the_columns_of_v1(manifest: dict) -> None:
    for name in ("feat_user", "feat_item", "feat_user_item", "feat_scene"):
        daily, latest = (
            manifest["nodes"][f"model.first_impression.{node}"] for node in (f"{name}.v1", f"{name}_latest")
        )
        assert list(latest["columns"]) == list(daily["columns"])
        for column, mine in latest["columns"].items():
            trained_on = daily["columns"][column]
            assert (mine["data_type"], mine["config"]) == (trained_on["data_type"], trained_on["config"])


def test_breaches_are_found(tmp_path: Path) -> None:
    """Each rule fails on a project that breaks it."""
    edits = (
        Edit(f"{MARTS}/texts.sql", "ref('stg_events')", "ref('parsed_events')"),
        Edit("warehouse/models/texts/int_events.sql", "-- Grain: one event.", "-- One event."),
        Edit("warehouse/models/texts/int_events.sql", "ref('stg_events')", "ref('feat_user', v=1)"),
        Edit("warehouse/models/daily/int_scene_daily.sql", "with", "{% do raw_parquet('*', [], '') %} with"),
        Edit(f"{MARTS}/texts.yml", "config: {meta: {role: side}}", "config: {}"),
        Edit("warehouse/models/features/feat_scene.yml", "unique_key: {arguments", "not_empty #"),
    )
    broken = manifest_of(Project(tmp_path / "project", edits))
    layers = "\n".join(breaches_of_layers(broken))
    assert "texts reads parsed_events; stg_events is for it" in layers
    assert "int_events (texts) reads feat_user (features), a later layer" in layers
    assert "int_scene_daily reads raw files; an adapter should" in layers
    assert "int_scene_daily opens files with macro.first_impression.raw_parquet" in layers
    documentation = "\n".join(breaches_of_documentation(broken))
    assert "int_events: the first line doesn't tell the grain" in documentation
    assert "texts.side: no meta saying its role" in documentation
    assert "feat_scene v1: no unique or unique_key test" in documentation


def test_an_adapter_is_private_to_ingestion(tmp_path: Path) -> None:
    """dbt itself refuses a model that reads an adapter past staging."""
    edit = Edit("warehouse/models/texts/int_events.sql", "ref('stg_events')", "ref('src_my_log')")
    result = Project(tmp_path / "project", (edit,)).dbt("parse")
    assert result.returncode != 0
    assert "private to the 'ingestion' group" in " ".join(result.stdout.split())
