"""What a run needs before the clock starts: the log with its last day apart, a copy of the project, the peers."""

from __future__ import annotations

import mmap
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
POLARS = ("polars==2.1.0", "polars-runtime-32==2.1.0")
FEAST = "feast[duckdb]==0.67.0"
OTHER_DUCKDB = "duckdb==1.5.6"
# The first row of the simulated log's last day, in either form of time; each part is in order of time.
LAST_DAY = re.compile(rb'\n(?="[0-9a-f]{16}","[0-9a-f]{16}","2023(-08-09|/8/9) )')


def simulated_log(events: int, seed: int, cache: Path) -> Path:
    """A folder of CSV parts: `history` (all days but the last) and `day` (the last one); made if it isn't there."""
    place = cache / f"log-{events}-{seed}"
    if place.exists():
        return place
    raw, aside = cache / f"simulated-{events}", cache / f".{place.name}.partial"
    if not raw.exists():
        words = ["-m", "warehouse.simulate", "--events", str(events), "--seed", str(seed), "--out", str(raw)]
        subprocess.run([sys.executable, *words], cwd=ROOT, check=True)
    shutil.rmtree(aside, ignore_errors=True)
    for name in ("history", "day"):
        (aside / name).mkdir(parents=True)
    for part in sorted(raw.glob("*.csv")):
        _split(part, aside / "history" / part.name, aside / "day" / part.name.replace("10m_part", "10m_last_part"))
        part.unlink()
    shutil.rmtree(raw)
    aside.rename(place)
    return place


def _split(part: Path, history: Path, day: Path) -> None:
    """The rows before the last day to one file, the header and that day's rows to another."""
    with part.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        cut = LAST_DAY.search(text).start() + 1
        header = text[: text.find(b"\n") + 1]
        with history.open("wb") as out:
            for start in range(0, cut, 1 << 24):
                out.write(text[start : min(start + (1 << 24), cut)])
        with day.open("wb") as out:
            out.write(header)
            out.write(text[cut:])


def project(folder: Path, log: Path, checkout: Path = ROOT) -> Path:
    """A fresh copy of the checkout's dbt project that reads `log`, all days but the last."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copytree(checkout / "warehouse", folder / "warehouse", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dbt_project.yml", "profiles.yml"):
        shutil.copy(checkout / name, folder)
    (folder / "data/raw/simulated").mkdir(parents=True)
    add_files(folder, log / "history")
    return folder


def checkout_of(commit: str, folder: Path) -> Path:
    """The files of an earlier commit."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with subprocess.Popen(["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE) as archive:
        subprocess.run(["tar", "-x", "-C", str(folder)], stdin=archive.stdout, check=True)
    if archive.returncode:
        raise SystemExit(f"git archive {commit} failed: expected a commit of this repository.")
    return folder


def add_files(folder: Path, source: Path) -> None:
    for file in source.glob("*.csv"):
        (folder / "data/raw/simulated" / file.name).symlink_to(file.resolve())


def pip_folder(packages: tuple[str, ...], folder: Path) -> Path:
    """Packages alone, without what they need, in a folder for PYTHONPATH; so they are never among this project's."""
    if not folder.exists():
        words = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", f"--target={folder}"]
        subprocess.run([sys.executable, *words, *packages], check=True)
    return folder


def feast_python(folder: Path) -> Path:
    """The Python of an environment with Feast."""
    python = folder / "bin/python"
    if not (folder / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        words = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", FEAST]
        subprocess.run([python, *words], check=True)
        (folder / "installed").touch()
    return python
