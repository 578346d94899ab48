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

import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import numpy as np

from embeddings.errors import EmbeddingsError
from embeddings.head import ACTIVATIONS, POOLINGS, Dense, LayerNorm, Normalize, Step, Truncate, parse_pooling

_OWN_TYPE = re.compile(
    r"sentence_transformers\.(?:models|base\.modules|sentence_transformer\.modules)\.(?:\w+\.)*(\w+)"
)
_ELSEWHERE = "Take another encoder (`embeddings models` lists some), or a folder without it."
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "last",
}
_TRANSFORMER_CONFIGS = tuple(
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
_TEXT_ONLY = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
# Arguments that choose speed, memory or the type that `--dtype` chooses here.
_HARMLESS_ARGS = {
    "model": {
        "torch_dtype",
        "dtype",
        "attn_implementation",
        "device_map",
        "low_cpu_mem_usage",
        "use_safetensors",
        "add_pooling_layer",
        "trust_remote_code",
    },
    "processor": {"use_fast", "padding_side", "model_max_length", "trust_remote_code"},
    "config": {"use_cache", "trust_remote_code"},
}


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
    modules = _read_modules(listed) if listed.exists() else _guess_modules(folder)
    transformer = folder / modules[0][1]
    files, pooling, prompt_in_pooling = [listed], None, True
    steps: list[Step] = []
    for kind, path in modules[1:]:
        place = folder / path
        if kind == "Pooling":
            pooling, prompt_in_pooling = _read_pooling(place / "config.json")
        elif kind == "Normalize":
            steps.append(_read_normalize(place / "config.json"))
        elif kind == "Dense":
            steps.append(_read_dense(place))
        elif kind == "LayerNorm":
            steps.append(_read_layernorm(place))
        files += [place / "config.json", place / "model.safetensors"]
    about = folder / "config_sentence_transformers.json"
    prompt, n_kept, notes = _read_prompts(about) if about.exists() else ("", None, [])
    if n_kept is not None:
        steps.append(Truncate(n_kept))
    config = next((transformer / name for name in _TRANSFORMER_CONFIGS if (transformer / name).exists()), None)
    max_tokens, lower_case = _read_transformer(config) if config else (None, False)
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


# -- the list of modules ---------------------------------------------------------------------------------------------


def _read_modules(file: Path) -> list[tuple[str, str]]:
    """(kind, folder) of each module, in order; modules that do nothing outside training are left out."""
    entries = read_json(file, list)
    modules = []
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
            _refuse(file, f"entry {number} is {entry!r}", 'Expected objects with "name", "path" and "type".')
        path = entry.get("path", "")
        if not isinstance(path, str) or "\\" in path or ":" in path or _leaves(path):
            _refuse(file, f"entry {number} has the path {path!r}", "Expected a folder inside the model's own.")
        _only_known(file, entry, {"idx", "name", "path", "type", "kwargs"})
        if entry.get("kwargs"):
            _refuse(file, f"entry {number} takes kwargs {entry['kwargs']!r} from its caller", _ELSEWHERE)
        modules.append((_kind(file, entry["type"]), path))
    kinds = [kind for kind, _ in modules]
    if not kinds or kinds[0] != "Transformer" or kinds.count("Transformer") > 1:
        _refuse(file, f"it lists {', '.join(kinds) or 'no modules'}", "Expected one Transformer, and it first.")
    if len(kinds) > 1 and (kinds[1] != "Pooling" or kinds.count("Pooling") > 1):
        _refuse(
            file,
            f"it lists {', '.join(kinds)}",
            "Expected one Pooling, right after the Transformer: modules that"
            " change the states of tokens aren't supported.",
        )
    return [(kind, path) for kind, path in modules if kind != "Dropout"]


def _kind(file: Path, name: str) -> str:
    match = _OWN_TYPE.fullmatch(name)
    if not match:
        _refuse(
            file,
            f"it has a module of type {name!r}",
            "That is code of the model's own (or of another kind of"
            " model), and no code of a model folder is run. " + _ELSEWHERE,
        )
    kind = match[1]
    if kind not in ("Transformer", "Pooling", "Normalize", "Dense", "LayerNorm", "Dropout"):
        _refuse(
            file,
            f"it has a module of type {name!r}",
            "Modules that are applied here: Transformer, Pooling, Dense, LayerNorm, Normalize. " + _ELSEWHERE,
        )
    return kind


def _leaves(path: str) -> bool:
    pure = PurePosixPath(path)
    return pure.is_absolute() or ".." in pure.parts


def _guess_modules(folder: Path) -> list[tuple[str, str]]:
    """A folder without modules.json: a Transformer, and a Pooling and a Normalize where their folders are there."""
    modules = [("Transformer", "")]
    for path in sorted(folder.glob("[0-9]*_*")) if folder.is_dir() else []:
        kind = path.name.partition("_")[2]
        if kind not in ("Pooling", "Normalize"):
            _refuse(path, "its folder has no modules.json that says where this module stands", "Copy modules.json too.")
        modules.append((kind, path.name))
    return modules


# -- one module each -------------------------------------------------------------------------------------------------


def _read_pooling(file: Path) -> tuple[str, bool]:
    """The pooling in this project's spelling, and whether the prompt's tokens count."""
    config = read_json(file, dict)
    _only_known(
        file, config, {*_FLAGS, "pooling_mode", "word_embedding_dimension", "embedding_dimension", "include_prompt"}
    )
    for key in (*_FLAGS, "include_prompt"):
        if not isinstance(config.get(key, True), bool):
            _refuse(file, f"{key} is {config[key]!r}", "Expected true or false.")
    if "pooling_mode" in config:  # it wins over flags, as in sentence-transformers
        mode = config["pooling_mode"]
        modes = mode if isinstance(mode, list) else [mode]
        if not modes or not all(isinstance(one, str) for one in modes):
            _refuse(file, f"pooling_mode is {mode!r}", f"Expected one or more of {', '.join(POOLINGS)}.")
        try:
            pooling = parse_pooling("+".join(modes))
        except EmbeddingsError:
            _refuse(file, f"pooling_mode is {mode!r}", f"Expected one or more of {', '.join(POOLINGS)}.")
    else:
        pooling = "+".join(name for flag, name in _FLAGS.items() if config.get(flag))
        if not pooling:
            _refuse(file, "no pooling_mode is switched on", "Set one, for example pooling_mode_mean_tokens: true.")
    return pooling, config.get("include_prompt", True)


def _read_normalize(file: Path) -> Normalize:
    config = read_json(file, dict) if file.exists() else {}
    _on_sentences(file, config)
    _only_known(file, config, {"module_input_name", "module_output_name"})
    return Normalize()


def _read_dense(place: Path) -> Dense:
    file = place / "config.json"
    config = read_json(file, dict)
    _on_sentences(file, config)
    _only_known(
        file,
        config,
        {
            "in_features",
            "out_features",
            "bias",
            "activation_function",
            "module_input_name",
            "module_output_name",
            "use_residual",
        },
    )
    activation = config.get("activation_function", "torch.nn.modules.activation.Tanh")
    name = str(activation).rpartition(".")[2]
    if not str(activation).startswith("torch.nn.") or name not in ACTIVATIONS:
        _refuse(file, f"activation_function is {activation!r}", f"Applied here: {', '.join(ACTIVATIONS)} of torch.nn.")
    n_in, n_out = (_count(file, config, key) for key in ("in_features", "out_features"))
    has_bias, use_residual = config.get("bias", True), config.get("use_residual", False)
    for key, value in (("bias", has_bias), ("use_residual", use_residual)):
        if not isinstance(value, bool):
            _refuse(file, f"{key} is {value!r}", "Expected true or false.")
    shapes: dict[str, tuple[int, ...]] = {"linear.weight": (n_out, n_in)}
    shapes |= {"linear.bias": (n_out,)} if has_bias else {}
    shapes |= {"residual.weight": (n_out, n_in)} if use_residual and n_in != n_out else {}
    weights = _read_weights(place, shapes)
    bias, residual = weights.get("linear.bias"), weights.get("residual.weight")
    return Dense(weights["linear.weight"], bias, residual, name, use_residual, file)


def _read_layernorm(place: Path) -> LayerNorm:
    file = place / "config.json"
    config = read_json(file, dict)
    _only_known(file, config, {"dimension"})
    n = _count(file, config, "dimension")
    weights = _read_weights(place, {"norm.weight": (n,), "norm.bias": (n,)})
    return LayerNorm(weights["norm.weight"], weights["norm.bias"], file)


def _read_weights(place: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError, safe_open

    file = place / "model.safetensors"
    if not file.exists():
        listing = ", ".join(sorted(path.name for path in place.iterdir())) if place.is_dir() else "no such folder"
        _refuse(
            file,
            f"it isn't there (found {listing})",
            "Weights are read from safetensors alone. A pytorch_model.bin is"
            " turned into one by torch.load(..., weights_only=True) and safetensors.torch.save_file.",
        )
    try:
        with safe_open(file, framework="numpy") as opened:
            kinds = {name: opened.get_slice(name).get_dtype() for name in opened.keys()}  # noqa: SIM118
        framework = "pt" if set(kinds.values()) - {"F32", "F16", "F64"} else "numpy"  # numpy has no bfloat16
        with safe_open(file, framework=framework) as opened:
            raw = {name: opened.get_tensor(name) for name in kinds}
    except (SafetensorError, OSError, ValueError) as error:
        _refuse(file, f"it can't be read ({error})", "Copy it again from where it came from.")
    weights = {
        name: np.asarray(value if framework == "numpy" else value.float().numpy(), np.float32)
        for name, value in raw.items()
    }
    found = {name: value.shape for name, value in weights.items()}
    if found != shapes:
        _refuse(file, f"it holds {_shapes(found)}", f"Its config.json asks for {_shapes(shapes)}.")
    return weights


def _shapes(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {' x '.join(map(str, shape))}" for name, shape in sorted(shapes.items())) or "nothing"


def _on_sentences(file: Path, config: dict) -> None:
    for key in ("module_input_name", "module_output_name"):
        if config.get(key) not in (None, "sentence_embedding"):
            _refuse(file, f"{key} is {config[key]!r}", "Only 'sentence_embedding' is supported here. " + _ELSEWHERE)


# -- settings --------------------------------------------------------------------------------------------------------


def _read_prompts(file: Path) -> tuple[str, int | None, list[str]]:
    """The prompt before each text, how many numbers of a vector are kept (None: all), and notes for the user."""
    config = read_json(file, dict)
    _only_known(
        file,
        config,
        {
            "__version__",
            "prompts",
            "default_prompt_name",
            "similarity_fn_name",
            "model_type",
            "truncate_dim",
            "requirements",
        },
    )
    if config.get("model_type", "SentenceTransformer") != "SentenceTransformer":
        _refuse(file, f"model_type is {config['model_type']!r}", "Expected a SentenceTransformer. " + _ELSEWHERE)
    prompts, default = config.get("prompts") or {}, config.get("default_prompt_name")
    if not isinstance(prompts, dict) or not all(isinstance(text, str | None) for text in prompts.values()):
        _refuse(file, f"prompts is {prompts!r}", "Expected texts by name.")
    n_kept = config.get("truncate_dim")
    if n_kept is not None:
        n_kept = _count(file, config, "truncate_dim")
    if default is not None:
        if default not in prompts:
            _refuse(
                file, f"default_prompt_name is {default!r}", f"prompts has {', '.join(map(repr, prompts)) or 'none'}."
            )
        prompt = prompts[default] or ""
        if "{text}" in prompt:
            _refuse(file, f"the prompt {default!r} is {prompt!r}", "Give it with --template instead.")
        return prompt, n_kept, []
    used = {name: text for name, text in prompts.items() if text}
    if not used:
        return "", n_kept, []
    name, text = next(iter(used.items()))
    return (
        "",
        n_kept,
        [
            f"{file.name} names prompts ({', '.join(used)}) but no default_prompt_name, so texts are encoded without"
            f" one. To use {name!r}: --template {text + '{text}'!r}."
        ],
    )


def _read_transformer(file: Path) -> tuple[int | None, bool]:
    """The longest text in tokens (None: the tokenizer says), and whether texts are put in lower case."""
    config = read_json(file, dict)
    names = {
        "model_args": "model",
        "model_kwargs": "model",
        "tokenizer_args": "processor",
        "processor_kwargs": "processor",
        "config_args": "config",
        "config_kwargs": "config",
    }
    harmless = {"unpad_inputs", "query_length", "document_length"}  # padding; two tasks that aren't used here
    _only_known(
        file,
        config,
        {
            "max_seq_length",
            "do_lower_case",
            "transformer_task",
            "modality_config",
            "module_output_name",
            "processing_kwargs",
            "query_expansion",
            "tokenizer_name_or_path",
            *names,
            *harmless,
        },
    )
    expected: dict[str, Any] = {
        "transformer_task": "feature-extraction",
        "modality_config": _TEXT_ONLY,
        "module_output_name": "token_embeddings",
    }
    for key in ("transformer_task", "modality_config", "module_output_name"):
        if config.get(key) not in (None, expected[key]):
            _refuse(file, f"{key} is {config[key]!r}", f"Expected {expected[key]!r}. {_ELSEWHERE}")
    for key in ("processing_kwargs", "query_expansion", "tokenizer_name_or_path"):
        if config.get(key):
            _refuse(file, f"{key} is {config[key]!r}", "That isn't supported here. " + _ELSEWHERE)
    for key, part in names.items():
        args = config.get(key) or {}
        other = sorted(set(args) - _HARMLESS_ARGS[part]) if isinstance(args, dict) else [args]
        if other:
            _refuse(file, f"{key} has {other[0]!r}", "That isn't supported here. " + _ELSEWHERE)
    lower_case = config.get("do_lower_case") or False
    if not isinstance(lower_case, bool):
        _refuse(file, f"do_lower_case is {lower_case!r}", "Expected true or false.")
    max_tokens = None
    if config.get("max_seq_length") is not None:
        max_tokens = _count(file, config, "max_seq_length")
    for key in ("tokenizer_args", "processor_kwargs"):  # the tokenizer's own argument wins
        if (config.get(key) or {}).get("model_max_length") is not None:
            max_tokens = _count(file, config[key], "model_max_length")
    return max_tokens, lower_case


# -- files -----------------------------------------------------------------------------------------------------------


def read_json(file: Path, kind: type) -> Any:
    """A JSON object or list. Raises: EmbeddingsError where there is no such file, or something else in it."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        _refuse(file, "it isn't there", "Copy the model's folder whole.")
    except (OSError, ValueError, RecursionError) as error:
        _refuse(file, f"it isn't JSON ({error})", "Copy it again from where it came from.")
    if not isinstance(value, kind):
        expected = "an object" if kind is dict else "a list"
        _refuse(file, f"it holds {str(value)[:60]!r}", f"Expected {expected}.")
    return value


def _only_known(file: Path, config: dict, known: set[str]) -> None:
    unknown = sorted(set(config) - known)
    if unknown:
        _refuse(
            file,
            f"it has the key {unknown[0]!r} with the value {config[unknown[0]]!r}",
            "This version doesn't know"
            " it, so it can't tell whether it changes vectors. If it doesn't, remove it from a copy of the folder.",
        )


def _count(file: Path, config: dict, key: str) -> int:
    value = config.get(key)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        _refuse(file, f"{key} is {value!r}", "Expected a whole number above 0.")
    return value


def _refuse(file: Path, found: str, remedy: str) -> NoReturn:
    raise EmbeddingsError(f"{file}: {found}. {remedy}")
