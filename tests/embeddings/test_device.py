"""The way of batches over a GPU, on the CPU: the same code without streams and pinned memory."""

import dataclasses
import random
import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embeddings import EmbeddingsError, Encoder, VectorStore, read_texts
from embeddings import encoder as encoder_module
from embeddings.batching import fitting_tokens
from embeddings.build import build
from embeddings.device import DeviceQueue, pool
from embeddings.head import POOLINGS, Head
from embeddings.torch_engine import _READY_MASK, TorchEngine, without_plans

rng = random.Random(0)
TEXTS = ["".join(rng.choices("abcdefgh ", k=rng.randint(1, 55))) + "." for _ in range(300)]
LIMIT = 256


@pytest.fixture
def queued(tiny_folder, monkeypatch) -> Encoder:
    """An encoder that works as on a GPU, with many small chunks."""
    monkeypatch.setattr(encoder_module, "_CHUNK_TEXTS", 40)
    encoder = Encoder.open(str(tiny_folder), dtype="fp32", device="cpu", threads=1)
    encoder._queue = DeviceQueue(encoder._engine, encoder.recipe.pooling)
    encoder.batch_tokens = LIMIT
    return encoder


def test_every_text_gets_its_own_vector_in_the_order_given(queued, tiny):
    done = []
    found = queued.encode(TEXTS, progress=done.append)
    np.testing.assert_allclose(found, tiny.encode(TEXTS), atol=1e-6)
    np.testing.assert_array_equal(queued.encode(TEXTS), found)  # the same bytes again
    assert sum(done) == len(TEXTS) and len(done) > 8
    assert queued.encode([]).shape == (0, 32)


def test_tokens_made_before_give_the_same(queued, tiny):
    tokens = queued.tokenize(TEXTS)
    np.testing.assert_allclose(queued.encode(tokens), tiny.encode(TEXTS), atol=1e-6)


def test_no_batch_holds_more_than_the_limit_and_little_is_padding(queued, monkeypatch):
    shapes, launch = [], queued._queue._launch

    def remember(laid):
        shapes.append(tuple(laid.ids_BS.shape))
        return launch(laid)

    monkeypatch.setattr(queued._queue, "_launch", remember)
    queued.encode(TEXTS)
    assert all(n * longest <= LIMIT for n, longest in shapes)
    assert sum(n for n, _ in shapes) == len(TEXTS)
    assert queued.n_tokens == queued.tokenize(TEXTS).n_tokens
    assert queued.n_computed == sum(n * longest for n, longest in shapes)
    assert queued.n_tokens <= queued.n_computed < 1.1 * queued.n_tokens


def test_texts_are_tokenised_in_another_thread_while_batches_are_computed(queued, monkeypatch):
    """The first batch waits until the third chunk is being tokenised: without overlap it would wait for ever."""
    third, tokenize, hidden, chunks = threading.Event(), queued.tokenize, queued._engine.hidden, []

    def tokenized(texts):
        chunks.append(threading.current_thread())
        if len(chunks) == 3:
            third.set()
        return tokenize(texts)

    def computed(*batch):
        assert third.wait(20), "nothing was tokenised ahead"
        return hidden(*batch)

    monkeypatch.setattr(queued, "tokenize", tokenized)
    monkeypatch.setattr(queued._engine, "hidden", computed)
    queued.encode(TEXTS)
    assert len(chunks) == 8 and threading.main_thread() not in chunks


def test_an_error_of_the_tokenising_thread_is_the_users(queued):
    queued._texts.recipe = dataclasses.replace(queued.recipe, max_tokens=2)
    before = threading.active_count()
    with pytest.raises(EmbeddingsError, match=r"takes all 2 tokens.*--max-tokens"):
        queued.encode(TEXTS)
    assert threading.active_count() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_what_stops_the_device_stops_the_threads(queued, monkeypatch, error):
    def stop(*_):
        raise error("in the middle")

    before = threading.active_count()
    monkeypatch.setattr(queued._engine, "hidden", stop)
    with pytest.raises(error, match="in the middle"):
        queued.encode(TEXTS)
    assert threading.active_count() == before


def test_too_little_memory_says_what_to_do(queued, monkeypatch):
    def full(*_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has ...")

    monkeypatch.setattr(queued._engine, "hidden", full)
    with pytest.raises(EmbeddingsError, match=r"too little free memory for \d+ texts.*2\.00 GiB.*--max-tokens"):
        queued.encode(TEXTS)


def test_vectors_that_are_not_finite_are_refused(queued, monkeypatch):
    monkeypatch.setattr(queued._engine, "hidden", lambda ids_BS, _: torch.full((*ids_BS.shape, 32), torch.inf))
    with pytest.raises(EmbeddingsError, match=r"not finite.*--dtype fp32"), np.errstate(invalid="ignore"):
        queued.encode(["a"])


def test_a_store_of_a_gpu_is_not_one_of_a_cpu(queued, write_mart, tiny, tmp_path):
    texts = read_texts(write_mart(sorted(set(TEXTS))))
    queued.recipe = dataclasses.replace(queued.recipe, device="cuda")
    on_gpu = VectorStore.open(build(texts, queued, tmp_path).store)
    on_cpu = VectorStore.open(build(texts, tiny, tmp_path).store)
    assert on_gpu.path != on_cpu.path and "device" not in on_cpu.recipe.as_dict()
    assert on_gpu.recipe == queued.recipe
    np.testing.assert_allclose(on_gpu.load(texts.ids)[0], on_cpu.load(texts.ids)[0], atol=1e-6)


@pytest.mark.parametrize("pooling", [*POOLINGS, "cls+mean", "max+last"])
def test_pooling_is_that_of_the_head(pooling):
    rng = np.random.default_rng(1)
    states_BSD = rng.normal(size=(5, 7, 4)).astype(np.float32)
    lengths_B, starts_B = np.array([7, 1, 3, 7, 2]), np.array([0, 0, 2, 6, 1])
    expected = Head(pooling)(states_BSD, lengths_B, starts_B)
    states_BSD[2, 3:] = np.inf  # what stands at padded places doesn't count
    found = pool(torch.from_numpy(states_BSD), torch.from_numpy(lengths_B), torch.from_numpy(starts_B), pooling)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


@given(st.integers(0, 1 << 40), st.floats(0, 1e9))
def test_the_limit_is_a_power_of_two_that_fits_half_of_the_memory(free, per_token):
    tokens = fitting_tokens(free, per_token)
    assert 1024 <= tokens <= 65_536 and tokens & (tokens - 1) == 0
    if tokens > 1024:
        assert tokens * per_token <= free / 2 * (1 + 1e-9)
    if tokens < 65_536:
        assert 2 * tokens * max(per_token, 1) > free / 2 * (1 - 1e-9) - 2 * max(per_token, 1)


def test_some_memory_more_or_less_changes_no_batch():
    assert {fitting_tokens(free << 20, 16_000) for free in range(40_000, 141_000, 1000)} == {65_536}


def _tiny_model(model_type, folder):
    import transformers

    sizes = {"vocab_size": 40, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 40}
    sizes |= {"dim": 16, "hidden_dim": 32, "n_layers": 2, "n_heads": 2} if model_type == "distilbert" else {}
    sizes |= {"hidden_size": 16, "intermediate_size": 32, "pad_token_id": 1} if model_type != "distilbert" else {}
    if model_type == "gpt2":
        sizes = {"vocab_size": 40, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 40}
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(model_type, **sizes)
    transformers.AutoModel.from_config(config).save_pretrained(folder)


@pytest.mark.parametrize("model_type", [*_READY_MASK, "gpt2"])
def test_states_are_those_of_the_usual_mask(model_type, tmp_path):
    _tiny_model(model_type, tmp_path)
    engine = TorchEngine(tmp_path, dtype="fp32", device="cpu")
    assert engine._ready_mask == (model_type != "gpt2")
    ids = [[5, 6, 7, 8, 9], [10, 11], [12, 13, 14]]
    ids_BS = torch.tensor([one + [0] * (5 - len(one)) for one in ids])
    found, expected = engine.hidden(ids_BS, torch.tensor([5, 2, 3])).numpy(), engine.states(ids)
    for row, one in enumerate(ids):
        np.testing.assert_allclose(found[row, : len(one)], expected[row, : len(one)], atol=1e-6)


def test_attention_that_plans_every_shape_is_left_out_on_cuda_only():
    enabled = torch.backends.cuda.cudnn_sdp_enabled()
    with without_plans("cuda"):
        assert not torch.backends.cuda.cudnn_sdp_enabled()
        assert torch.backends.cuda.mem_efficient_sdp_enabled() and torch.backends.cuda.flash_sdp_enabled()
    assert torch.backends.cuda.cudnn_sdp_enabled() == enabled
    with without_plans("cpu"):
        assert torch.backends.cuda.cudnn_sdp_enabled() == enabled


def test_a_decoder_in_berts_clothes_keeps_its_usual_mask(tmp_path):
    import transformers

    sizes = {"vocab_size": 40, "num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16}
    config = transformers.BertConfig(**sizes, intermediate_size=32, is_decoder=True)
    transformers.BertModel(config).save_pretrained(tmp_path)
    assert not TorchEngine(tmp_path, dtype="fp32", device="cpu")._ready_mask


@given(st.lists(st.integers(0, 90), max_size=12), st.sampled_from(["{text}", "q: {text}", "q: {text} :z"]))
def test_whole_texts_are_tokenised_as_one_by_one_and_the_cut_ones_are_counted(tiny_folder, sizes, template):
    encoder = _short(tiny_folder, template)
    texts = [chr(97 + i) * size for i, size in enumerate(sizes)]
    tokens = encoder.tokenize(texts)
    encoder._tokenizer.no_truncation()
    whole = [encoder._tokenizer.encode(encoder.recipe.template.render(text)).ids for text in texts]
    encoder._tokenizer.enable_truncation(64)
    assert tokens.n_cut == sum(len(ids) > 64 for ids in whole)
    for found, ids in zip(tokens.ids, whole, strict=True):
        assert found == ids if len(ids) <= 64 else 60 < len(found) <= 64


_opened: dict[str, Encoder] = {}


def _short(folder, template) -> Encoder:
    if template not in _opened:
        _opened[template] = Encoder.open(str(folder), dtype="fp32", device="cpu", template=template, threads=1)
    return _opened[template]
