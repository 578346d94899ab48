"""The wheel, built once per test run and shared by all workers, and a folder with nothing but it."""

import functools
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from tests.warehouse.project import ROOT

PACKAGES = ("trainer", "embeddings", "warehouse", "storage", "dbt")


def ignored(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if name == "__pycache__" or name.endswith((".egg-info", ".pyc"))}


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The folder `name` as `make` fills it, for all workers of this run."""
    base = factory.getbasetemp()
    folder = (base.parent if base.name.startswith("popen-") else base) / name
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            aside = folder.with_suffix(".partial")
            aside.mkdir()
            make(aside)
            aside.rename(folder)
    return folder


def build(out: Path) -> None:
    """The sdist and the wheel that is built from it, without the network."""
    source = out.with_suffix(".source")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE", "dbt_project.yml", "profiles.yml"):
        shutil.copy(ROOT / name, source)
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def install(dist: Path, site: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-compile", "--disable-pip-version-check"]
    subprocess.run([*pip, "--target", site, wheel], check=True)


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the sdist and the wheel."""
    return once(tmp_path_factory, "dist", build)


@pytest.fixture(scope="session")
def site(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel is installed, without what it requires."""
    return once(tmp_path_factory, "site", functools.partial(install, dist))
