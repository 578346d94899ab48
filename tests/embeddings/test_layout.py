"""Of a model folder, what changes vectors is applied or refused in words: folders made at random, and each refusal."""

import json
import shutil

import numpy as np
import pytest

from embeddings import EmbeddingsError, Encoder, Recipe
from embeddings.model import resolve
from tests.embeddings.st_folders import TEXTS, Plan, put, random_plan, vectors, write

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


def dense(n_in=32, n_out=16, seed=0.5, activation="Tanh"):
    return ("dense", n_in, n_out, True, activation, False, seed)


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


# -- refused, in words that name the file, the value and the remedy --------------------------------------------------

ROUTER = "sentence_transformers.models.Router"


def edit(name, **changes):
    def apply(folder):
        file = folder / name
        put(file, json.loads(file.read_text()) | changes)

    return apply


def modules(*kinds, **changes):
    def apply(folder):
        put(
            folder / "modules.json",
            [
                {"idx": i, "name": str(i), "path": f"{i}_{kind.rpartition('.')[2]}" if i else "", "type": kind}
                | changes
                for i, kind in enumerate(kinds)
            ],
        )

    return apply


def text(name, content):
    return lambda folder: (folder / name).write_text(content)


def gone(name):
    return lambda folder: (folder / name).unlink()


ST = "sentence_transformers.models."
REFUSED = {
    "a list that isn't JSON": (text("modules.json", "[{"), r"modules.json: it isn't JSON.*Copy it again"),
    "no list": (text("modules.json", "{}"), "modules.json: it holds '{}'. Expected a list"),
    "an empty list": (text("modules.json", "[]"), "Expected one Transformer"),
    "no objects": (text("modules.json", "[3]"), "entry 0 is 3"),
    "a path that escapes": (modules(ST + "Transformer", path="../../etc"), r"path '\.\./\.\./etc'"),
    "an absolute path": (modules(ST + "Transformer", path="/etc"), "path '/etc'"),
    "code of its own": (modules(ST + "Transformer", "my_code.Pooling"), "'my_code.Pooling'.*no code of a model folder"),
    "another kind of model": (
        modules(ST + "Transformer", "sentence_transformers.sparse_encoder.models.SpladePooling"),
        "SpladePooling",
    ),
    "a router": (modules(ROUTER), "modules.json: it has a module of type '.*Router'"),
    "word vectors": (modules(ST + "WordEmbeddings", ST + "Pooling"), "WordEmbeddings"),
    "an image model": (modules(ST + "CLIPModel"), "CLIPModel"),
    "static vectors": (modules(ST + "StaticEmbedding"), "StaticEmbedding"),
    "layers weighted": (modules(ST + "Transformer", ST + "WeightedLayerPooling", ST + "Pooling"), "WeightedLayer"),
    "dense before pooling": (modules(ST + "Transformer", ST + "Dense", ST + "Pooling"), "right after the Transformer"),
    "no pooling": (modules(ST + "Transformer"), "--pooling"),
    "two poolings": (modules(ST + "Transformer", ST + "Pooling", ST + "Pooling"), "one Pooling"),
    "an unknown key of a module": (modules(ST + "Transformer", gate=1), "key 'gate' with the value 1"),
    "kwargs": (modules(ST + "Transformer", kwargs=["task"]), r"takes kwargs \['task'\]"),
    "an unknown pooling": (edit("1_Pooling/config.json", pooling_mode="attention"), "pooling_mode is 'attention'"),
    "no pooling at all": (
        text("1_Pooling/config.json", '{"pooling_mode_mean_tokens": false}'),
        "1_Pooling/config.json: no pooling_mode",
    ),
    "a flag that this version doesn't know": (edit("1_Pooling/config.json", pooling_mode_median=True), "median"),
    "a flag that is no flag": (edit("1_Pooling/config.json", pooling_mode_cls_token="yes"), "is 'yes'. Expected true"),
    "pooling that isn't JSON": (text("1_Pooling/config.json", "mean"), "1_Pooling/config.json: it isn't JSON"),
    "pooling that is missing": (gone("1_Pooling/config.json"), "1_Pooling/config.json: it isn't there"),
    "dense of other dimensions": (edit("2_Dense/config.json", in_features=30), "linear.weight 16 x 32"),
    "dense that doesn't follow": (edit("1_Pooling/config.json", pooling_mode=["cls", "mean"]), "in_features 32.*64"),
    "an activation of its own": (
        edit("2_Dense/config.json", activation_function="my_code.Swish"),
        "activation_function is 'my_code.Swish'",
    ),
    "dense on tokens": (edit("2_Dense/config.json", module_input_name="token_embeddings"), "token_embeddings"),
    "dense without weights": (gone("2_Dense/model.safetensors"), r"model.safetensors: it isn't there.*alone"),
    "dense with torn weights": (text("2_Dense/model.safetensors", "x" * 9), "2_Dense/model.safetensors: it can't be"),
    "an unknown key of dense": (edit("2_Dense/config.json", scale=2), "key 'scale' with the value 2"),
    "a prompt that isn't there": (
        edit("config_sentence_transformers.json", default_prompt_name="query"),
        "default_prompt_name is 'query'",
    ),
    "prompts of another form": (edit("config_sentence_transformers.json", prompts=["a"]), r"prompts is \['a'\]"),
    "a sparse encoder": (edit("config_sentence_transformers.json", model_type="SparseEncoder"), "'SparseEncoder'"),
    "an unknown key": (edit("config_sentence_transformers.json", rotate=True), "key 'rotate' with the value True"),
    "an unknown key of the transformer": (edit("sentence_bert_config.json", gate=0), "bert_config.json.*'gate'"),
    "no length": (edit("sentence_bert_config.json", max_seq_length="long"), "max_seq_length is 'long'"),
    "no case": (edit("sentence_bert_config.json", do_lower_case="de"), "do_lower_case is 'de'"),
    "another task": (edit("sentence_bert_config.json", transformer_task="fill-mask"), "'fill-mask'"),
    "a chat template": (
        edit("sentence_bert_config.json", modality_config={"message": {"method": "forward"}}),
        "modality_config is",
    ),
    "a model of images": (
        lambda folder: put(folder / "config.json", {"model_type": "clip", "text_config": {}, "vision_config": {}}),
        "config.json: model_type 'clip' has a vision_config",
    ),
    "an encoder and a decoder": (
        lambda folder: put(folder / "config.json", {"model_type": "bart", "is_encoder_decoder": True}),
        "config.json: model_type 'bart' is an encoder and a decoder",
    ),
    "a model that isn't known": (edit("config.json", model_type="unheard_of"), "Could not load the model.*unheard_of"),
    "config that isn't JSON": (text("config.json", "{"), "config.json: it isn't JSON"),
    "config that is missing": (gone("config.json"), "is no model folder: expected config.json"),
    "an adapter": (lambda folder: put(folder / "adapter_config.json", {}), "adapter_config.json.*merge_and_unload"),
    "no weights": (gone("model.safetensors"), "Could not load the model"),
    "torn weights": (text("model.safetensors", "x" * 99), "Could not load the model"),
    "weights of fewer layers": (edit("config.json", num_hidden_layers=3), "weights lack 16 tensors"),
    "weights of other widths": (edit("config.json", hidden_size=48), "Could not load the model"),
    "no tokenizer": (gone("tokenizer.json"), "no tokenizer"),
    "a tokenizer of another model": (edit("config.json", vocab_size=50), "Could not load the model"),
    "a shard that is missing": (
        lambda folder: [
            gone("model.safetensors")(folder),
            put(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": {"a": "model-1.safetensors"}}),
        ],
        "Could not load the model",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_in_words(tiny_folder, tmp_path, what):
    change, says = REFUSED[what]
    folder = write(tiny_folder, tmp_path / "model", Plan(steps=[dense()]))
    change(folder)
    with pytest.raises(EmbeddingsError, match=says):
        Encoder.open(str(folder), dtype="fp32", device="cpu", threads=1)


def test_modules_without_a_list_of_them(tiny_folder, tmp_path):
    folder = write(tiny_folder, tmp_path / "model", Plan(steps=[dense()]))
    (folder / "modules.json").unlink()
    with pytest.raises(EmbeddingsError, match=r"2_Dense: its folder has no modules.json"):
        resolve(str(folder))


def test_pickled_weights_of_a_module_are_not_read(tiny_folder, tmp_path):
    folder = write(tiny_folder, tmp_path / "model", Plan(steps=[dense()]))
    (folder / "2_Dense" / "model.safetensors").rename(folder / "2_Dense" / "pytorch_model.bin")
    with pytest.raises(EmbeddingsError, match=r"found config.json, pytorch_model.bin.*safetensors.torch.save_file"):
        resolve(str(folder))


def test_a_template_that_leaves_no_room(tiny_folder):
    encoder = Encoder.open(str(tiny_folder), dtype="fp32", device="cpu", template="x" * 70 + "{text}")
    with pytest.raises(EmbeddingsError, match="takes all 64 tokens"):
        encoder.encode(["a"])
