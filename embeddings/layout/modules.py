"""One module each: pooling, dense, layer norm, normalize, with its weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from embeddings.errors import EmbeddingsError
from embeddings.head import ACTIVATIONS, POOLINGS, Dense, LayerNorm, Normalize, parse_pooling
from embeddings.layout.files import ELSEWHERE, count, only_known, read_json, refuse

_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "last",
}


def read_pooling(file: Path) -> tuple[str, bool]:
    """The pooling in this project's spelling, and whether the prompt's tokens count."""
    config = read_json(file, dict)
    only_known(
        file, config, {*_FLAGS, "pooling_mode", "word_embedding_dimension", "embedding_dimension", "include_prompt"}
    )
    for key in (*_FLAGS, "include_prompt"):
        if not isinstance(config.get(key, True), bool):
            refuse(file, f"{key} is {config[key]!r}", "Expected true or false.")
    if "pooling_mode" in config:  # it wins over flags, as in sentence-transformers
        mode = config["pooling_mode"]
        modes = mode if isinstance(mode, list) else [mode]
        if not modes or not all(isinstance(one, str) for one in modes):
            refuse(file, f"pooling_mode is {mode!r}", f"Expected one or more of {', '.join(POOLINGS)}.")
        try:
            pooling = parse_pooling("+".join(modes))
        except EmbeddingsError:
            refuse(file, f"pooling_mode is {mode!r}", f"Expected one or more of {', '.join(POOLINGS)}.")
    else:
        pooling = "+".join(name for flag, name in _FLAGS.items() if config.get(flag))
        if not pooling:
            refuse(file, "no pooling_mode is switched on", "Set one, for example pooling_mode_mean_tokens: true.")
    return pooling, config.get("include_prompt", True)


def read_normalize(file: Path) -> Normalize:
    config = read_json(file, dict) if file.exists() else {}
    _on_sentences(file, config)
    only_known(file, config, {"module_input_name", "module_output_name"})
    return Normalize()


def read_dense(place: Path) -> Dense:
    file = place / "config.json"
    config = read_json(file, dict)
    _on_sentences(file, config)
    only_known(
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
        refuse(file, f"activation_function is {activation!r}", f"Applied here: {', '.join(ACTIVATIONS)} of torch.nn.")
    n_in, n_out = (count(file, config, key) for key in ("in_features", "out_features"))
    has_bias, use_residual = config.get("bias", True), config.get("use_residual", False)
    for key, value in (("bias", has_bias), ("use_residual", use_residual)):
        if not isinstance(value, bool):
            refuse(file, f"{key} is {value!r}", "Expected true or false.")
    shapes: dict[str, tuple[int, ...]] = {"linear.weight": (n_out, n_in)}
    shapes |= {"linear.bias": (n_out,)} if has_bias else {}
    shapes |= {"residual.weight": (n_out, n_in)} if use_residual and n_in != n_out else {}
    weights = _read_weights(place, shapes)
    bias, residual = weights.get("linear.bias"), weights.get("residual.weight")
    return Dense(weights["linear.weight"], bias, residual, name, use_residual, file)


def read_layernorm(place: Path) -> LayerNorm:
    file = place / "config.json"
    config = read_json(file, dict)
    only_known(file, config, {"dimension"})
    n = count(file, config, "dimension")
    weights = _read_weights(place, {"norm.weight": (n,), "norm.bias": (n,)})
    return LayerNorm(weights["norm.weight"], weights["norm.bias"], file)


def _read_weights(place: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError, safe_open

    file = place / "model.safetensors"
    if not file.exists():
        listing = ", ".join(sorted(path.name for path in place.iterdir())) if place.is_dir() else "no such folder"
        refuse(
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
        refuse(file, f"it can't be read ({error})", "Copy it again from where it came from.")
    weights = {
        name: np.asarray(value if framework == "numpy" else value.float().numpy(), np.float32)
        for name, value in raw.items()
    }
    found = {name: value.shape for name, value in weights.items()}
    if found != shapes:
        refuse(file, f"it holds {_shapes(found)}", f"Its config.json asks for {_shapes(shapes)}.")
    return weights


def _shapes(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {' x '.join(map(str, shape))}" for name, shape in sorted(shapes.items())) or "nothing"


def _on_sentences(file: Path, config: dict) -> None:
    for key in ("module_input_name", "module_output_name"):
        if config.get(key) not in (None, "sentence_embedding"):
            refuse(file, f"{key} is {config[key]!r}", "Only 'sentence_embedding' is supported here. " + ELSEWHERE)
