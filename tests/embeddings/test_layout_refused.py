"""Of a model folder, what can't be applied is refused, in words that name the file, the value and the remedy."""

import json

import pytest

from embeddings import EmbeddingsError, Encoder
from embeddings.model import resolve
from tests.embeddings.st_folders import Plan, dense, put, write

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
