import numpy as np
import pytest

from embeddings import EmbeddingsError, Encoder, Template
from embeddings.int8 import PROBES

TEXTS = [*PROBES, "a", "Toy Story (1995)"]


def cosines(a, b):
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def test_vectors_are_those_of_transformers(minilm):
    """The float32 path against the model run by hand, one text at a time, through its own tokenizer."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    from embeddings.catalogue import model_folder

    folder = model_folder("minilm")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder, dtype=torch.float32)
    expected = []
    with torch.inference_mode():
        for text in TEXTS:
            mean = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(dim=0)
            expected.append((mean / mean.norm()).numpy())
    found = Encoder.open("minilm", dtype="fp32", threads=1).encode(TEXTS)
    np.testing.assert_allclose(found, np.array(expected), atol=2e-6)


def test_int8_gives_a_text_the_same_bits_in_any_company(minilm):
    together = minilm.encode(TEXTS)
    alone = np.concatenate([minilm.encode([text]) for text in TEXTS])
    turned = minilm.encode(TEXTS[::-1])[::-1]
    crowd = minilm.encode(TEXTS + ["some other text of much the same length"] * 200)[: len(TEXTS)]
    np.testing.assert_array_equal(alone, together)
    np.testing.assert_array_equal(turned, together)
    np.testing.assert_array_equal(crowd, together)


def test_threads_change_nothing(minilm):
    one = Encoder.open("minilm", dtype="int8", threads=1)
    np.testing.assert_array_equal(one.encode(TEXTS), minilm.encode(TEXTS))


def test_int8_is_near_to_float32(minilm):
    near = cosines(minilm.encode(TEXTS), Encoder.open("minilm", dtype="fp32", threads=1).encode(TEXTS))
    assert near.min() > 0.97 and near.mean() > 0.99


def test_bf16_is_near_to_float32(minilm):
    near = cosines(*(Encoder.open("minilm", dtype=dtype, threads=1).encode(TEXTS) for dtype in ("bf16", "fp32")))
    assert near.min() > 0.99


def test_the_default_on_a_cpu_is_int8_where_it_keeps_quality(minilm, monkeypatch):
    from embeddings import int8

    assert Encoder.open("minilm", device="cpu").recipe.dtype == "int8"
    monkeypatch.setattr(int8, "MIN_COSINE", 0.99999)
    worse = Encoder.open("minilm", device="cpu")
    assert worse.recipe.dtype == "fp32" and "int8 comes only within" in worse.notes[0]


def test_padding_changes_nothing_but_rounding(tiny):
    texts = ["a", "a b c d e f g", "hello world " * 3]
    alone = np.concatenate([tiny.encode([text]) for text in texts])
    np.testing.assert_allclose(tiny.encode(texts), alone, atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_pooling_takes_the_right_states(tiny_folder, pooling):
    import torch

    encoder = Encoder.open(str(tiny_folder), dtype="fp32", pooling=pooling, threads=1)
    texts = ["abc", "abcdefgh", "x"]
    engine = encoder._engine
    expected = []
    for ids in encoder.tokenize(texts).ids:
        with torch.inference_mode():
            states = engine.model(input_ids=torch.tensor([ids])).last_hidden_state[0].numpy()
        expected.append({"mean": states.mean(axis=0), "cls": states[0], "last": states[-1]}[pooling])
    np.testing.assert_allclose(encoder.encode(texts), expected, atol=1e-6)


def test_a_long_text_loses_its_own_end_never_the_templates(tiny_folder):
    template = Template("q: {text} :z")
    encoder = Encoder.open(str(tiny_folder), dtype="fp32", template=template, threads=1)
    # Of 64 tokens two are special and four are the template's.
    tokens = encoder.tokenize(["ab" * 50_000, "short", "d" * 58, "e" * 59])
    whole = [encoder._tokenizer.encode(f"q: {t} :z").ids for t in ("short", "d" * 58)]
    assert tokens.n_cut == 2
    assert all(len(ids) <= encoder.recipe.max_tokens == 64 for ids in tokens.ids)
    end = encoder._tokenizer.encode(":z").ids[1:]  # the template's end and the last special token
    assert all(ids[-len(end) :] == end for ids in tokens.ids)
    assert tokens.ids[1:3] == whole
    assert np.isfinite(encoder.encode(tokens)).all()


def test_one_hundred_thousand_characters(minilm):
    tokens = minilm.tokenize(["word " * 20_000, "。" * 100_000, "short"])
    assert tokens.n_cut == 2 and max(map(len, tokens.ids)) <= 256
    assert np.isfinite(minilm.encode(tokens)).all()


def test_a_smaller_limit_is_another_recipe(tiny_folder, tiny):
    short = Encoder.open(str(tiny_folder), dtype="fp32", max_tokens=16)
    assert short.recipe.key != tiny.recipe.key
    assert 12 <= len(short.tokenize(["x" * 100]).ids[0]) <= 16
    with pytest.raises(EmbeddingsError, match="expected 8 to 64"):
        Encoder.open(str(tiny_folder), dtype="fp32", max_tokens=100)


def test_vectors_that_are_not_finite_are_refused(tiny, monkeypatch):
    monkeypatch.setattr(tiny._engine, "states", lambda ids: np.full((len(ids), len(ids[0]), 32), np.inf, np.float32))
    with pytest.raises(EmbeddingsError, match=r"not finite.*--dtype fp32"), np.errstate(invalid="ignore"):
        tiny.encode(["a"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"dtype": "int4"}, "dtype 'int4': expected one of auto, int8"),
        ({"device": "tpu"}, "device 'tpu': expected one of auto, cpu, cuda"),
        ({"device": "cuda", "dtype": "int8"}, "int8 runs on the CPU"),
        ({"pooling": "median"}, "pooling 'median'"),
    ],
)
def test_wrong_options_are_named(tiny_folder, options, says):
    with pytest.raises(EmbeddingsError, match=says):
        Encoder.open(str(tiny_folder), **{"dtype": "fp32", **options})


def test_no_cuda_device_is_said(tiny_folder):
    import torch

    if torch.cuda.is_available():
        assert Encoder.open(str(tiny_folder), device="cuda", dtype="bf16").encode(["a"]).shape == (1, 32)
    else:
        with pytest.raises(EmbeddingsError, match="finds no CUDA device"):
            Encoder.open(str(tiny_folder), device="cuda", dtype="bf16")
