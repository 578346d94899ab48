"""The mart's build record against dbt's manifest. This folder is the only one in the trainer that knows dbt."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from storage.places import shown
from trainer.base.errors import TrainerError, nearest
from trainer.base.fetching import fetch
from trainer.contract.schema import Column, Contract, column_of

DEFAULT_MANIFEST = Path("target/manifest.json")
_MANIFEST_WAITS = (0.1, 0.2, 0.4)  # seconds


def check_manifest(given: Path | None, record: dict[str, Any], columns: tuple[Column, ...]) -> dict[str, Any] | None:
    """Compare the build record with dbt's manifest; return what a run should remember of it, or None without one."""
    path = given or DEFAULT_MANIFEST
    fetch(path)
    if not path.exists():
        if given:
            raise TrainerError(f"No manifest {path}. `dbt parse` writes target/manifest.json; or leave --manifest out.")
        return None
    try:
        manifest = _read_manifest(path)
        nodes = manifest["nodes"]
        known_columns = list(nodes[record["unique_id"]]["columns"].values()) if record["unique_id"] in nodes else []
        checksums = {name: nodes.get(name, {}).get("checksum", {}).get("checksum") for name in record["node_checksums"]}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise TrainerError(f"{path} isn't a dbt manifest. Run `dbt parse`, or point --manifest at one.") from None
    unique_id = record["unique_id"]
    if unique_id not in nodes:
        raise TrainerError(
            f"{path} doesn't know {unique_id}, which this mart was built as{nearest(unique_id, nodes)}. "
            "Run `dbt build`, or point --manifest at the project's own."
        )
    node = nodes[unique_id]
    theirs = [
        column_of(c | {"meta": c.get("meta") or c.get("config", {}).get("meta")}, Path(unique_id))
        for c in known_columns
    ]
    _compare_columns(columns, theirs, path)
    for name, checksum in sorted(record["node_checksums"].items()):
        known = checksums[name]
        if known and known != checksum:
            raise TrainerError(
                f"The mart was built by other code than {path} describes: {name} has changed since "
                f"(built {checksum[:12]}, now {known[:12]}). Run `dbt build`."
            )
    return {
        "path": shown(path),
        "invocation_id": manifest.get("metadata", {}).get("invocation_id"),
        "contract_checksum": (node.get("contract") or {}).get("checksum"),
        "node_checksum": (node.get("checksum") or {}).get("checksum"),
    }


def compiled_models(given: Path | None, contract: Contract) -> dict[str, str]:
    """The SQL of a mart and of all models that it reads, by the name of their relation.

    Raises: TrainerError where dbt's last command compiled only some of them, for a refresh, for another log or with
    other vars.
    """
    path = given or DEFAULT_MANIFEST
    fetch(path)
    mend = "Run `dbt compile` with the vars of the build: it writes target/manifest.json. Or point --manifest at one."
    if not path.exists():
        raise TrainerError(f"No manifest {path}, which has the SQL of the features. {mend}")
    found, read, waiting = dict[str, str](), set[str](), [contract.unique_id]
    try:
        nodes = _read_manifest(path)["nodes"]
        given_vars = nodes.get(contract.unique_id, {}).get("config", {}).get("meta", {}).get("vars", {})
        differing = {name: value for name, value in given_vars.items() if contract.variables.get(name) != value}
        while waiting:
            unique_id = waiting.pop()
            node = nodes.get(unique_id)
            if node is None or node["resource_type"] != "model" or unique_id in read:
                continue
            read.add(unique_id)
            sql = node.get("compiled_code")
            if not sql:
                raise TrainerError(f"{path} lacks the SQL of {node['name']}: dbt's last command left it out. {mend}")
            if node["relation_name"] and node["relation_name"] in sql:
                raise TrainerError(f"{path} has the SQL of {node['name']} as of a refresh, not of a full build. {mend}")
            found[node["alias"]] = sql
            waiting += node["depends_on"]["nodes"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise TrainerError(f"{path} isn't a dbt manifest. {mend}") from None
    built = {name for name in contract.lineage["node_checksums"] if name.startswith("model.")}
    if only := sorted(built - read):  # the adapter is another one
        others = ", ".join(sorted(read - built)) or "nothing in its place"
        raise TrainerError(
            f"{path} was compiled for another log than the mart's, {contract.dataset}: the mart was built from "
            f"{', '.join(only)}, and the manifest has {others}. {mend}"
        )
    for name, value in differing.items():
        built_with = contract.variables.get(name)
        raise TrainerError(f"{path} was compiled with {name} {value!r}, the mart was built with {built_with!r}. {mend}")
    return found


def _read_manifest(path: Path) -> Any:
    """dbt writes it in place: half of one becomes a whole one in a moment, or was left by a dbt that was killed."""
    for seconds in _MANIFEST_WAITS:
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            time.sleep(seconds)
    return json.loads(path.read_text(encoding="utf-8"))


def _compare_columns(ours: tuple[Column, ...], theirs: list[Column], path: Path) -> None:
    built, declared = {c.name: c for c in ours}, {c.name: c for c in theirs}
    for name in [*built, *(n for n in declared if n not in built)]:
        if name not in declared:
            raise TrainerError(
                f"Column {name}: the mart was built with it, {path} doesn't declare it. Run `dbt build`."
            )
        if name not in built:
            raise TrainerError(f"Column {name}: {path} declares it, the mart was built without it. Run `dbt build`.")
        for part in ("data_type", "role", "kind", "transform", "group", "names", "of"):
            a, b = getattr(built[name], part), getattr(declared[name], part)
            if a != b:
                raise TrainerError(
                    f"Column {name}: the mart was built with {part} {a}, {path} says {b}. Run `dbt build`."
                )
