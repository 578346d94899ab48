"""Model folders in sentence-transformers' layout, made at random, and their vectors by an independent reader.

The reader goes by the plan that the folder was written from, never by the folder's files: plain transformers, one text
at a time, and torch's own modules. sentence-transformers 6.2.0 itself gives the same vectors for seeds 0 to 39, within
1e-5 (in an environment that has it: `python -m tests.embeddings.st_folders MODEL_FOLDER`, with a plain BERT's folder).
"""

from __future__ import annotations

import json
import random
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

ACTIVATIONS = ("Identity", "Tanh", "ReLU", "Sigmoid", "SiLU", "GELU")
# In the order in which the flags' poolings are concatenated; last, the name in the new form.
FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
TEXTS = ["a", "Hello World", "the QUICK brown fox jumps over it " * 4, "x y z 1 2 3", "Zz"]


@dataclass
class Plan:
    """How a text becomes a vector. Units: max_tokens counts tokens, special ones included."""

    modes: list[str] = field(default_factory=lambda: ["mean"])
    old_form: bool = True
    include_prompt: bool = True
    prompt: str | None = None
    lower_case: bool = False
    max_tokens: int | None = None
    steps: list = field(default_factory=list)
    new_names: bool = False
    subfolder: str = ""
    truncate_dim: int | None = None


def random_plan(seed: int, n_states: int) -> Plan:
    rng = random.Random(seed)
    modes = rng.sample(list(FLAGS.values()), rng.choice([1, 1, 2, 3]))
    old_form = rng.random() < 0.5
    if old_form:
        modes = [mode for mode in FLAGS.values() if mode in modes]
    plan = Plan(
        modes=modes,
        old_form=old_form,
        include_prompt=rng.random() < 0.7,
        prompt=rng.choice([None, "query: ", "Represent this: "]),
        lower_case=rng.random() < 0.3,
        max_tokens=rng.choice([None, 24, 40]),
        new_names=rng.random() < 0.5,
        subfolder=rng.choice(["", "", "0_Transformer"]),
        truncate_dim=rng.choice([None, None, 7]),
    )
    width = n_states * len(modes)
    for _ in range(rng.choice([0, 1, 2, 3])):
        match rng.choice(["normalize", "dense", "layernorm"]):
            case "normalize":
                plan.steps.append(("normalize",))
            case "layernorm":
                plan.steps.append(("layernorm", width, rng.random()))
            case "dense":
                n_out = rng.choice([width, 16, 24])
                plan.steps.append(
                    (
                        "dense",
                        width,
                        n_out,
                        rng.random() < 0.7,
                        rng.choice(ACTIVATIONS),
                        rng.random() < 0.3,
                        rng.random(),
                    )
                )
                width = n_out
    return plan


def module(step):
    """The step as torch's module, with weights that its own last number seeds."""
    import torch

    torch.manual_seed(int(step[-1] * 1e6) if step[0] != "normalize" else 0)
    match step:
        case ("normalize",):
            return None
        case ("layernorm", width, _):
            norm = torch.nn.LayerNorm(width)
            torch.nn.init.normal_(norm.weight)
            torch.nn.init.normal_(norm.bias)
            return torch.nn.ModuleDict({"norm": norm})
        case ("dense", n_in, n_out, bias, _, use_residual, _):
            parts = {"linear": torch.nn.Linear(n_in, n_out, bias=bias)}
            if use_residual and n_in != n_out:
                parts["residual"] = torch.nn.Linear(n_in, n_out, bias=False)
            return torch.nn.ModuleDict(parts)


def write(plain: Path, folder: Path, plan: Plan) -> Path:
    """A plain model folder and a plan -> a folder in sentence-transformers' layout."""
    from safetensors.torch import save_file

    home = folder / plan.subfolder
    shutil.copytree(plain, home, ignore=shutil.ignore_patterns("1_Pooling"))
    base, own = (
        ("sentence_transformers.base.modules.", "sentence_transformers.sentence_transformer.modules.")
        if plan.new_names
        else ("sentence_transformers.models.", "sentence_transformers.models.")
    )

    def named(where: str, kind: str) -> str:
        return f"{where}{kind.lower()}.{kind}" if plan.new_names else where + kind

    modules = [(named(base, "Transformer"), plan.subfolder), (named(own, "Pooling"), "1_Pooling")]
    n_states = json.loads((plain / "config.json").read_text())["hidden_size"]
    if plan.old_form:
        pooling = {"word_embedding_dimension": n_states} | {flag: mode in plan.modes for flag, mode in FLAGS.items()}
    else:
        mode = plan.modes[0] if len(plan.modes) == 1 else plan.modes
        pooling = {"embedding_dimension": n_states, "pooling_mode": mode}
    put(folder / "1_Pooling" / "config.json", pooling | {"include_prompt": plan.include_prompt})
    for number, step in enumerate(plan.steps, 2):
        match step:
            case ("normalize",):
                kind, where, config = "Normalize", base, {}
            case ("layernorm", width, _):
                kind, where, config = "LayerNorm", own, {"dimension": width}
            case ("dense", n_in, n_out, bias, activation, use_residual, _):
                kind, where = "Dense", base
                home_of = "linear" if activation == "Identity" else "activation"
                config = {
                    "in_features": n_in,
                    "out_features": n_out,
                    "bias": bias,
                    "activation_function": f"torch.nn.modules.{home_of}.{activation}",
                } | ({"use_residual": True} if use_residual else {})
        path = f"{number}_{kind}"
        (folder / path).mkdir()
        name = "layer_norm.LayerNorm" if kind == "LayerNorm" and plan.new_names else None
        modules.append((where + name if name else named(where, kind), path))
        if config:
            put(folder / path / "config.json", config)
            save_file(
                {name: value.contiguous() for name, value in module(step).state_dict().items()},
                folder / path / "model.safetensors",
            )
    put(
        folder / "modules.json",
        [{"idx": i, "name": str(i), "path": path, "type": kind} for i, (kind, path) in enumerate(modules)],
    )
    put(home / "sentence_bert_config.json", {"max_seq_length": plan.max_tokens, "do_lower_case": plan.lower_case})
    about = {"__version__": {"sentence_transformers": "3.0.0"}, "similarity_fn_name": "cosine"}
    if plan.truncate_dim:
        about["truncate_dim"] = plan.truncate_dim
    if plan.prompt is not None:
        about |= {"prompts": {"search": plan.prompt, "other": "nothing: "}, "default_prompt_name": "search"}
    put(folder / "config_sentence_transformers.json", about)
    return folder


def put(file: Path, value) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value), encoding="utf-8")


def vectors(plain: Path, plan: Plan, texts: list[str], longest: int) -> np.ndarray:
    """The plan's vectors, by hand."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(plain), AutoModel.from_pretrained(plain, dtype=torch.float32)
    prompt, out = plan.prompt or "", []
    for text in texts:
        whole = prompt + text
        whole = whole.lower() if plan.lower_case else whole
        ids = tokenizer(whole, truncation=True, max_length=plan.max_tokens or longest, return_tensors="pt")
        with torch.inference_mode():
            states = model(input_ids=ids["input_ids"]).last_hidden_state[0]
        first = 0
        if prompt and not plan.include_prompt:
            first = len(tokenizer(prompt.lower() if plan.lower_case else prompt)["input_ids"]) - 1  # without [SEP]
        counted = states[first:]
        at = torch.arange(first + 1, len(states) + 1)[:, None]
        pooled = {
            "cls": counted[0],
            "max": counted.max(dim=0).values,
            "mean": counted.mean(dim=0),
            "mean_sqrt_len_tokens": counted.sum(dim=0) / len(counted) ** 0.5,
            "weightedmean": (counted * at).sum(dim=0) / at.sum(),
            "lasttoken": counted[-1],
        }
        x = torch.cat([pooled[mode] for mode in plan.modes])
        for step in plan.steps:
            made = module(step)
            with torch.inference_mode():
                match step:
                    case ("normalize",):
                        x = torch.nn.functional.normalize(x, dim=0)
                    case ("layernorm", *_):
                        x = made["norm"](x)
                    case ("dense", _, _, _, activation, use_residual, _):
                        y = getattr(torch.nn, activation)()(made["linear"](x))
                        x = y + (made["residual"](x) if "residual" in made else x) if use_residual else y
        out.append(x[: plan.truncate_dim].numpy())
    return np.array(out)


def main(plain: Path) -> None:
    """Compare the reader above with sentence-transformers."""
    import tempfile

    from sentence_transformers import SentenceTransformer

    config = json.loads((plain / "config.json").read_text())
    for seed in range(40):
        plan = random_plan(seed, config["hidden_size"])
        with tempfile.TemporaryDirectory() as place:
            folder = write(plain, Path(place) / "model", plan)
            theirs = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
        ours = vectors(plain, plan, TEXTS, config["max_position_embeddings"])
        print(seed, theirs.shape == ours.shape and float(np.abs(theirs - ours).max()), plan)


if __name__ == "__main__":
    main(Path(sys.argv[1]))


def dense(n_in=32, n_out=16, seed=0.5, activation="Tanh"):
    return ("dense", n_in, n_out, True, activation, False, seed)
