"""The settings of the whole: prompts, truncation, the longest text, lower case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from embeddings.layout.files import ELSEWHERE, count, only_known, read_json, refuse

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


def read_prompts(file: Path) -> tuple[str, int | None, list[str]]:
    """The prompt before each text, how many numbers of a vector are kept (None: all), and notes for the user."""
    config = read_json(file, dict)
    only_known(
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
        refuse(file, f"model_type is {config['model_type']!r}", "Expected a SentenceTransformer. " + ELSEWHERE)
    prompts, default = config.get("prompts") or {}, config.get("default_prompt_name")
    if not isinstance(prompts, dict) or not all(isinstance(text, str | None) for text in prompts.values()):
        refuse(file, f"prompts is {prompts!r}", "Expected texts by name.")
    n_kept = config.get("truncate_dim")
    if n_kept is not None:
        n_kept = count(file, config, "truncate_dim")
    if default is not None:
        if default not in prompts:
            refuse(
                file, f"default_prompt_name is {default!r}", f"prompts has {', '.join(map(repr, prompts)) or 'none'}."
            )
        prompt = prompts[default] or ""
        if "{text}" in prompt:
            refuse(file, f"the prompt {default!r} is {prompt!r}", "Give it with --template instead.")
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


def read_transformer(file: Path) -> tuple[int | None, bool]:
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
    only_known(
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
            refuse(file, f"{key} is {config[key]!r}", f"Expected {expected[key]!r}. {ELSEWHERE}")
    for key in ("processing_kwargs", "query_expansion", "tokenizer_name_or_path"):
        if config.get(key):
            refuse(file, f"{key} is {config[key]!r}", "That isn't supported here. " + ELSEWHERE)
    for key, part in names.items():
        args = config.get(key) or {}
        other = sorted(set(args) - _HARMLESS_ARGS[part]) if isinstance(args, dict) else [args]
        if other:
            refuse(file, f"{key} has {other[0]!r}", "That isn't supported here. " + ELSEWHERE)
    lower_case = config.get("do_lower_case") or False
    if not isinstance(lower_case, bool):
        refuse(file, f"do_lower_case is {lower_case!r}", "Expected true or false.")
    max_tokens = None
    if config.get("max_seq_length") is not None:
        max_tokens = count(file, config, "max_seq_length")
    for key in ("tokenizer_args", "processor_kwargs"):  # the tokenizer's own argument wins
        if (config.get(key) or {}).get("model_max_length") is not None:
            max_tokens = count(file, config[key], "model_max_length")
    return max_tokens, lower_case
