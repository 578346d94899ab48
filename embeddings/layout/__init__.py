"""What a model folder says about the way from a text to its vector, in sentence-transformers' layout.

    modules.json                         the modules in order: Transformer, Pooling, then Dense, LayerNorm, Normalize
    config_sentence_transformers.json    prompts, and which is put before each text by default
    sentence_bert_config.json            in the Transformer's folder: longest text, lower case
    1_Pooling/config.json                flags (old form) or names (new form)
    2_Dense/config.json, model.safetensors

Every key of these files is known here: it is applied, or it can't change a vector, or the folder is refused. A key that
this version doesn't know might change vectors, so it is refused too.
Source: sentence-transformers 6.2 (`base/model.py`, `base/modules/`, `sentence_transformer/modules/`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from embeddings.head import Step, Truncate
from embeddings.layout.files import read_json
from embeddings.layout.listing import guess_modules, read_modules
from embeddings.layout.modules import read_dense, read_layernorm, read_normalize, read_pooling
from embeddings.layout.settings import read_prompts, read_transformer

__all__ = ["Layout", "read_json", "read_layout"]

_TRANSFORMER_CONFIGS = tuple(
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)


@dataclass(frozen=True)
class Layout:
    """The way from a text to its vector. Units: max_tokens counts tokens, special ones included."""

    transformer: Path
    is_listed: bool
    pooling: str | None = None
    prompt_in_pooling: bool = True
    steps: tuple[Step, ...] = ()
    prompt: str = ""
    lower_case: bool = False
    max_tokens: int | None = None
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


def read_layout(folder: Path) -> Layout:
    """Read the files above, where a folder has them.

    Raises: EmbeddingsError naming the file, the value and the remedy for what can't be applied.
    """
    listed = folder / "modules.json"
    modules = read_modules(listed) if listed.exists() else guess_modules(folder)
    transformer = folder / modules[0][1]
    files, pooling, prompt_in_pooling = [listed], None, True
    steps: list[Step] = []
    for kind, path in modules[1:]:
        place = folder / path
        if kind == "Pooling":
            pooling, prompt_in_pooling = read_pooling(place / "config.json")
        elif kind == "Normalize":
            steps.append(read_normalize(place / "config.json"))
        elif kind == "Dense":
            steps.append(read_dense(place))
        elif kind == "LayerNorm":
            steps.append(read_layernorm(place))
        files += [place / "config.json", place / "model.safetensors"]
    about = folder / "config_sentence_transformers.json"
    prompt, n_kept, notes = read_prompts(about) if about.exists() else ("", None, [])
    if n_kept is not None:
        steps.append(Truncate(n_kept))
    config = next((transformer / name for name in _TRANSFORMER_CONFIGS if (transformer / name).exists()), None)
    max_tokens, lower_case = read_transformer(config) if config else (None, False)
    files += [about, *([config] if config else [])]
    return Layout(
        transformer=transformer,
        is_listed=listed.exists(),
        pooling=pooling,
        prompt_in_pooling=prompt_in_pooling,
        steps=tuple(steps),
        prompt=prompt,
        lower_case=lower_case,
        max_tokens=max_tokens,
        files=tuple(file for file in files if file.exists()),
        notes=tuple(notes),
    )
