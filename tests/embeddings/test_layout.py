"""Of a model folder, what changes vectors is applied: folders made at random."""

import json
import shutil

import numpy as np
import pytest

from embeddings import Encoder, Recipe
from embeddings.model import resolve
from tests.embeddings.st_folders import TEXTS, Plan, dense, put, random_plan, vectors, write

LONGEST = 64  # of the tiny model


@pytest.mark.parametrize("seed", range(16))
def test_vectors_of_random_folders_are_those_by_hand(tiny_folder, tmp_path, seed):
    plan = random_plan(seed, 32)
    folder = write(tiny_folder, tmp_path / "model", plan)
    encoder = Encoder.open(str(folder), dtype="fp32", device="cpu", threads=1)
    expected = vectors(tiny_folder, plan, TEXTS, LONGEST)
    found = encoder.encode(TEXTS)
    assert (found.dtype, encoder.dim) == (np.float32, expected.shape[1])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    # A vector depends on its text alone: the same in any company, but for what padding rounds.
    np.testing.assert_allclose(np.concatenate([encoder.encode([text]) for text in TEXTS]), found, atol=1e-6)
    assert Recipe.from_dict(json.loads(json.dumps(encoder.recipe.as_dict()))) == encoder.recipe


PLANS = {
    "plain": Plan(),
    "cls": Plan(modes=["cls"]),
    "two poolings": Plan(modes=["cls", "mean"]),
    "the other order": Plan(modes=["mean", "cls"], old_form=False),
    "a prompt": Plan(prompt="query: "),
    "a prompt that isn't pooled": Plan(prompt="query: ", include_prompt=False),
    "lower case": Plan(lower_case=True),
    "shorter": Plan(max_tokens=24),
    "normalized": Plan(steps=[("normalize",)]),
    "normalized twice": Plan(steps=[("normalize",), ("normalize",)]),
    "dense": Plan(steps=[dense()]),
    "other weights": Plan(steps=[dense(seed=0.25)]),
    "another activation": Plan(steps=[dense(activation="ReLU")]),
    "dense, normalized": Plan(steps=[dense(), ("normalize",)]),
    "normalized, dense": Plan(steps=[("normalize",), dense()]),
    "cut": Plan(truncate_dim=8),
}


def test_whatever_changes_vectors_changes_the_key(tiny_folder, tmp_path):
    keys = set()
    for name, plan in PLANS.items():
        folder = write(tiny_folder, tmp_path / name / "model", plan)
        keys.add(Encoder.open(str(folder), dtype="fp32", device="cpu", threads=1).recipe.key.rpartition("-")[2])
    assert len(keys) == len(PLANS)


def test_a_hub_models_modules_are_in_its_key(tiny_folder, tmp_path, monkeypatch):
    """A hub revision is the same whether its modules are applied or not, as older versions didn't."""
    folder = write(tiny_folder, tmp_path / "model", Plan(steps=[dense(n_out=32)], lower_case=True))
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(folder))
    recipe = Encoder.open("somebody/model", dtype="fp32", device="cpu", threads=1).recipe
    assert (recipe.revision, recipe.steps, recipe.lower_case) == ("model", ("dense 32>32 Tanh",), True)


def test_keys_of_usual_recipes_are_what_they_were():
    recipe = {
        "encoder": "e5-small",
        "revision": "r1",
        "pooling": "mean",
        "template": {"default": "{text}", "zh": None},
        "normalize": True,
        "max_tokens": 64,
        "dtype": "fp32",
    }
    assert Recipe.from_dict(recipe).as_dict() == recipe
    assert Recipe.from_dict(recipe).key == "e5-small-mean-fp32-21749c89b1"


def test_int8_honours_the_folder_too(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("FIRST_IMPRESSION_CACHE", str(tmp_path / "cache"))
    plan = Plan(modes=["max", "mean"], steps=[dense(64, 24), ("normalize",)], lower_case=True, prompt="q ")
    folder = write(tiny_folder, tmp_path / "model", plan)
    encoder = Encoder.open(str(folder), dtype="int8", threads=1)
    found, expected = encoder.encode(TEXTS), vectors(tiny_folder, plan, TEXTS, LONGEST)
    assert found.shape == expected.shape and (found * expected).sum(axis=1).min() > 0.99
    # int8 gives a text the same bits in any company, modules included.
    np.testing.assert_array_equal(np.concatenate([encoder.encode([text]) for text in TEXTS]), found)


def test_int8_is_judged_by_what_comes_out_at_the_end(tiny_folder, tmp_path, monkeypatch):
    """The states are near to float32, but a dense module that reads their differences alone isn't."""
    monkeypatch.setenv("FIRST_IMPRESSION_CACHE", str(tmp_path / "cache"))
    folder = write(tiny_folder, tmp_path / "model", Plan(steps=[dense(32, 1, activation="Identity")]))
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "2_Dense" / "model.safetensors")
    probes = Encoder.open(str(folder), dtype="fp32", pooling="mean", device="cpu", threads=1)
    middle = np.median(probes.encode(["ab", "cd", "efg", "xyz 12"])[:, 0])
    weights["linear.bias"] -= float(middle)  # the sign of the one number is now a matter of rounding
    save_file(weights, folder / "2_Dense" / "model.safetensors")
    from embeddings import int8

    encoder = Encoder.open(str(folder), dtype="int8", threads=1)
    near = int8.nearness(int8.folder_of(encoder.recipe.revision), encoder._head)
    states = json.loads((int8.folder_of(encoder.recipe.revision) / "int8.json").read_text())["cosine"]["mean"]
    assert states["min"] > 0.99 and -1.001 <= near["min"] <= 1.001
    monkeypatch.setattr(int8, "nearness", lambda *_: {"min": 0.5, "mean": 0.9})
    opened = Encoder.open(str(folder), device="cpu", threads=1)
    assert opened.recipe.dtype == "fp32" and "0.500 cosine" in opened.notes[0]


def test_a_users_template_replaces_the_prompt_and_prompts_without_default_are_said(tiny_folder, tmp_path):
    folder = write(tiny_folder, tmp_path / "model", Plan(prompt="query: "))
    assert resolve(str(folder)).template.default == "query: {text}"
    own = Encoder.open(str(folder), template="say {text}", dtype="fp32", device="cpu")
    assert own.recipe.template.default == "say {text}"
    put(folder / "config_sentence_transformers.json", {"prompts": {"query": "query: ", "document": ""}})
    encoder = Encoder.open(str(folder), dtype="fp32", device="cpu")
    assert encoder.recipe.template.is_plain and "--template 'query: {text}'" in encoder.notes[0]


def test_a_tokenizer_that_cuts_the_start(tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    put(folder / "tokenizer_config.json", config | {"truncation_side": "left"})
    encoder = Encoder.open(str(folder), dtype="fp32", device="cpu", threads=1)
    tokens = encoder.tokenize(["a" * 100 + "b" * 40])
    expected = encoder._tokenizer.encode("a" * 22 + "b" * 40).ids
    assert tokens.n_cut == 1 and tokens.ids[0] == expected


def test_the_encoder_of_a_t5(tiny_folder, tmp_path):
    import torch
    from transformers import AutoTokenizer, T5Config, T5EncoderModel, T5ForConditionalGeneration

    torch.manual_seed(0)
    config = T5Config(vocab_size=98, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=2, decoder_start_token_id=0)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_folder / name, tmp_path / "t5" / name)
    put(tmp_path / "t5" / "1_Pooling" / "config.json", {"pooling_mode": "mean"})
    encoder = Encoder.open(str(tmp_path / "t5"), dtype="fp32", device="cpu", threads=1)
    model, tokenizer = T5EncoderModel.from_pretrained(tmp_path / "t5"), AutoTokenizer.from_pretrained(tmp_path / "t5")
    with torch.inference_mode():
        expected = [
            model(input_ids=tokenizer(text, return_tensors="pt")["input_ids"]).last_hidden_state[0].mean(dim=0).numpy()
            for text in TEXTS
            if len(text) < LONGEST
        ]
    found = encoder.encode([text for text in TEXTS if len(text) < LONGEST])
    np.testing.assert_allclose(found, expected, atol=1e-5)
