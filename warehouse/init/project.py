"""The project's folder: files made from templates, of which none that was edited is ever replaced."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
import yaml

from storage import atomic
from warehouse.init.adapter import adapter_of, impressions, remarks, scan_call, used_columns, wrapped
from warehouse.init.columns import Sample
from warehouse.init.errors import InitError
from warehouse.init.files import RawLog
from warehouse.init.roles import Roles
from warehouse.init.scope import Scope
from warehouse.init.sql import jinja_text

PACKAGE = Path(__file__).parents[1]  # where the installed warehouse's dbt_project.yml is
WRITTEN = ".init.json"  # what was written: a file that differs from it was edited
# What an adapter may hold that Spark reads otherwise or not at all: its SQL, and what it is for.
DUCKDB_ONLY = {"try_strptime(": "its form of time", "from_json(": "its JSON lists"}
TAKEN = {"first_impression", "dbt", "dbt_duckdb", "dbt_spark", "main", "memory", "system", "temp", "information_schema"}


@dataclass
class Outcome:
    """What became of each file, by its path below the project."""

    written: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    left_alone: list[str] = field(default_factory=list)


def check_place(place: Path) -> str:
    """The project's name, which is its folder's. Raises: InitError."""
    name = place.resolve().name
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", name):
        suggested = re.sub(r"[^a-z0-9_]+", "_", name.lower()).strip("_") or "my_log"
        suggested = suggested if re.match(r"[a-z_]", suggested) else f"log_{suggested}"
        raise InitError(
            f"{name!r} can't be the name of a dbt project, which is lower-case letters, digits and underscores and "
            f"doesn't begin with a digit: {place.parent / suggested}"
        )
    if name in TAKEN:
        raise InitError(
            f"The name {name} is taken by dbt, DuckDB or this warehouse. Choose another, such as my_{name}."
        )
    if place.exists() and not place.is_dir():
        raise InitError(f"{place} is a file. Choose another name for the project's folder.")
    if place.is_dir() and not (place / WRITTEN).exists() and any(place.iterdir()):
        raise InitError(
            f"The folder {place} is there, and `warehouse init` didn't write it. Choose another name, or move it away."
        )
    for folder in (place.resolve(), *place.resolve().parents):
        if folder == PACKAGE.parent or folder == PACKAGE:
            raise InitError(
                f"{place} would lie within the warehouse itself ({PACKAGE.parent}). Choose a folder outside."
            )
    return name


def link_log(log: RawLog, place: Path, name: str) -> str:
    """Var raw_dir. Files in a folder around the project are linked into a raw folder within it."""
    place = place.resolve()
    if place != log.folder and log.folder not in place.parents:
        near = log.folder.is_relative_to(place.parent)
        return os.path.relpath(log.folder, place) if near else str(log.folder)
    raw_dir = f"data/raw/{name}"
    for file in log.files:
        link = place / raw_dir / file
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink() and not link.exists():
            link.symlink_to(os.path.relpath(log.folder / file, link.parent))
    return raw_dir


def write_project(place: Path, name: str, raw_dir: str, sample: Sample, roles: Roles, scope: Scope) -> Outcome:
    """Write what is missing, renew what nobody has edited, leave the rest alone."""
    texts = _texts(name, raw_dir, sample, roles, scope)
    place.mkdir(parents=True, exist_ok=True)
    before = _written_before(place)
    outcome, hashes = Outcome(), dict(before)
    for path, text in texts.items():
        file, new = place / path, _hash(text)
        found = _hash(file.read_text(encoding="utf-8", errors="replace")) if file.exists() else None
        if found == new:
            outcome.unchanged.append(path)
        elif found is not None and found != before.get(path):
            outcome.left_alone.append(path)
            continue
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            atomic.text(file, text)
            (outcome.written if found is None else outcome.updated).append(path)
        hashes[path] = new
    if hashes != before:
        atomic.text(place / WRITTEN, json.dumps(hashes, indent=1) + "\n")
    return outcome


def _written_before(place: Path) -> dict[str, str]:
    try:
        return dict(json.loads((place / WRITTEN).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except ValueError:
        raise InitError(
            f"{place / WRITTEN} is damaged. Remove it, and every file that differs counts as edited."
        ) from None


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _texts(name: str, raw_dir: str, sample: Sample, roles: Roles, scope: Scope) -> dict[str, str]:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("warehouse.init"),
        block_start_string="[%", block_end_string="%]", variable_start_string="[[", variable_end_string="]]",
        comment_start_string="[#", comment_end_string="#]",
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    columns = used_columns(roles, sample)
    kind = "Parquet" if sample.log.kind == "parquet" else "CSV"
    values = {
        "name": name,
        "raw_dir": raw_dir,
        "package": str(PACKAGE),
        "adapter": adapter_of(roles, sample),
        "columns": _jinja_list(columns),
        "header": _jinja_list(sample.log.header) if sample.log.header else "",
        "scan": scan_call(sample, columns, f"Copy the {kind} files of {name} there."),
        "lists": impressions(sample),
        "remarks": remarks(roles, sample),
        "roles": roles,
        "scope": scope,
        "separator": roles.separator,
        "today": dt.datetime.now(dt.UTC).date(),
        "duckdb_only": "",
        "quoted": lambda text: json.dumps(str(text), ensure_ascii=False),
        "flow": lambda names: yaml.safe_dump(list(names), default_flow_style=True, width=10_000).strip(),
        "cell": lambda text: text.replace("|", "\\|"),
    }

    def made(template: str) -> str:
        return environment.get_template(template).render(values)

    adapter = made("adapter.sql.j2")
    values["duckdb_only"] = " and ".join(what for function, what in DUCKDB_ONLY.items() if function in adapter)
    adapter = made("adapter.sql.j2")
    return {
        "dbt_project.yml": made("dbt_project.yml.j2"),
        "packages.yml": made("packages.yml.j2"),
        "profiles.yml": _profiles(name),
        f"models/src_{name}.sql": adapter.rstrip() + "\n",
        "README.md": made("README.md.j2"),
        ".gitignore": made("gitignore.j2"),
    }


def _jinja_list(names: list[str] | tuple[str, ...]) -> str:
    return f"[{wrapped([jinja_text(name) for name in names], indent=4)}]"


def _profiles(name: str) -> str:
    """The warehouse's own, with this project's name and database."""
    text = (PACKAGE / "profiles.yml").read_text(encoding="utf-8")
    assert text.startswith("first_impression:"), "the profile is named as the warehouse is"
    return re.sub(r"\{\{ var\('dataset', 'movielens'\) \}\}", name, text).replace(
        "var('dataset', 'movielens')", f"'{name}'"
    ).replace("first_impression:", f"{name}:", 1)  # fmt: skip
