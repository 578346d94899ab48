"""The package away from its checkout: a wheel that is built, installed with only the core requirements, and used."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.testing import CliRunner

from tests.system.conftest import PACKAGES, ignored
from tests.system.pages import app_of
from tests.trainer.conftest import make_toy
from tests.warehouse.project import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
Bare = Callable[..., subprocess.CompletedProcess[str]]


def core() -> Iterator[str]:
    """The distributions that the core requirements bring, as they are installed here."""
    found, wanted = set(), [Requirement(r) for r in PROJECT["dependencies"]]
    while wanted:
        requirement = wanted.pop()
        name = canonicalize_name(requirement.name)
        if name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        yield name
        wanted += [Requirement(r) for r in metadata.requires(name) or []]


@pytest.fixture(scope="module")
def bare(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Bare:
    """`bare(*arguments)` runs Python where there is nothing but the wheel and what its core requires."""
    home = tmp_path_factory.mktemp("bare")
    required, work = home / "required", home / "work"
    for folder in (required, work):
        folder.mkdir()
    for name in core():
        for file in metadata.files(name) or ():
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (required / top).exists():
                (required / top).symlink_to(Path(str(metadata.distribution(name).locate_file(top))))

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        done = subprocess.run(
            [sys.executable, "-S", *map(str, arguments)],
            cwd=work,
            capture_output=True,
            text=True,
            env=environment
            | {
                "PYTHONPATH": os.pathsep.join(map(str, (site, required))),
                "FIRST_IMPRESSION_CACHE": str(home / "cache"),
            },
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    run.site, run.work = site, work
    return run


def test_the_wheel_holds_the_packages_whole_and_nothing_else(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {
        path.relative_to(ROOT).as_posix()
        for name in PACKAGES
        for path in (ROOT / name).rglob("*")
        if path.is_file() and not ignored("", [*path.relative_to(ROOT).parts]) and path.suffix != ".pyc"
    }
    assert held == expected


def test_the_wheel_holds_a_whole_dbt_project(bare: Bare) -> None:
    """What a folder needs to become a project: the two files at its root, and all that they name."""
    warehouse = bare.site / "warehouse"
    for name in ("dbt_project.yml", "profiles.yml"):
        copy = warehouse / name
        assert not copy.is_symlink() and copy.read_bytes() == (ROOT / name).read_bytes()
    for path in ("models", "macros", "data_tests"):
        names = {p.relative_to(ROOT / "warehouse") for p in (ROOT / "warehouse" / path).rglob("*") if p.is_file()}
        assert names and all((warehouse / name).is_file() for name in names if name.suffix != ".pyc")


def test_the_core_fits_scores_and_loads_a_run(bare: Bare) -> None:
    make_toy(1500).write(bare.work / "marts")
    fitted = bare("-m", "trainer", "fit", "--stage", "00_gbdt", "--marts", "marts", "--run", "run")
    assert "report.html wasn't written" in fitted.stderr and "pip install 'first-impression[report]'" in fitted.stderr
    assert (bare.work / "run" / "DONE").exists() and not (bare.work / "run" / "report.html").exists()
    bare("-m", "trainer", "score", "--run", "run", "--input", "marts/training_examples_v1", "--output", "s.parquet")
    table = pq.read_table(bare.work / "s.parquet")
    said = bare(
        "-c",
        "import sys, trainer, pyarrow.parquet as pq\n"
        "rows = pq.read_table('marts/training_examples_v1', partitioning=None)\n"
        "print(repr(trainer.load_run('run').predict(rows).tolist()))\n"
        "print(trainer.__file__, trainer.__version__)\n",
    ).stdout.splitlines()
    assert sorted(eval(said[0])) == sorted(table["probability"].to_pylist()) and len(table) == 1500
    assert said[1] == f"{bare.site / 'trainer' / '__init__.py'} {PROJECT['version']}"


LACKING = [
    ("trainer export --run run --output run.onnx", "export", "onnxscript"),
    ("trainer report --runs run --output report.html", "report", "vl-convert-python"),
    ("trainer ladder --dataset toy", "report", "vl-convert-python"),
    ("trainer state build --marts marts --state sqlite:state", "serving", "duckdb"),
    ("trainer state apply --state sqlite:state --events day.parquet", "serving", "duckdb"),
    ("trainer replay --marts marts --state sqlite:state", "serving", "duckdb"),
    ("trainer fit --stage 00_gbdt --marts marts --run tracked --track mlflow", "tracking", "mlflow"),
    ("embeddings pull e5-small", "embeddings", "transformers"),
    ("embeddings build --marts marts", "embeddings", "transformers"),
    ("embeddings inspect --marts marts", "report", "matplotlib"),
]
# `python -m` for each command in a fork of one process, since most of their time is the import of torch.
EACH_IN_A_FORK = """
import json, os, runpy, sys
import torch
for number, words in enumerate(json.loads(sys.argv[1])):
    child = os.fork()
    if not child:
        os.dup2(os.open(f"said-{number}", os.O_WRONLY | os.O_CREAT), 2)
        sys.argv = words
        sys.exit(runpy.run_module(words[0], run_name="__main__") and 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) > 0, words
"""


@pytest.fixture(scope="module")
def said(bare: Bare) -> dict[str, str]:
    """What each command of LACKING says when it fails."""
    bare("-c", EACH_IN_A_FORK, json.dumps([command.split() for command, _, _ in LACKING]))
    return {command: (bare.work / f"said-{number}").read_text() for number, (command, _, _) in enumerate(LACKING)}


@pytest.mark.parametrize(("command", "extra", "package"), LACKING)
def test_a_command_that_lacks_an_extra_names_the_pip_command(
    command: str, extra: str, package: str, said: dict[str, str]
) -> None:
    words = " ".join(said[command].split())
    assert "Traceback" not in words
    assert package in words and f"pip install 'first-impression[{extra}]'" in words


@pytest.mark.parametrize("program", ["trainer", "embeddings", "warehouse"])
def test_every_command_tells_the_version_of_pyproject(program: str) -> None:
    result = CliRunner().invoke(app_of(program), ["--version"])
    assert (result.exit_code, result.output) == (0, f"{program} {PROJECT['version']}\n")


def test_the_lock_has_one_version_of_all_that_is_required() -> None:
    text = (ROOT / "constraints.txt").read_text()
    assert not re.search(r"://|^-", text, re.MULTILINE), "a lock names no index"
    lock: dict[str, list[Requirement]] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            lock.setdefault(canonicalize_name(Requirement(line).name), []).append(Requirement(line))
    for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()):
        for required in map(Requirement, group):
            if required.name == PROJECT["name"]:
                continue
            for python in ("3.11", "3.12", "3.13"):
                here = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
                if required.marker and not required.marker.evaluate(here):
                    continue
                exact = [
                    r for r in lock.get(canonicalize_name(required.name), ()) if not r.marker or r.marker.evaluate(here)
                ]
                assert len(exact) == 1, f"{required.name} on Python {python}: run `make lock`"
                (version,) = [s.version for s in exact[0].specifier]
                assert required.specifier.contains(version), f"{exact[0]} is outside {required}: run `make lock`"
