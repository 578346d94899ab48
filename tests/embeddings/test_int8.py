import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from embeddings import EmbeddingsError, Encoder, int8


def graph(weight):
    """y = (x @ weight) and z = tanh(x) @ weight: one matrix, two inputs."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("Tanh", ["x"], ["t"]),
        helper.make_node("MatMul", ["t", "w"], ["z"]),
    ]
    tensors = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, ["B", "S", d]) for n, d in (("x", 48), ("y", 24), ("z", 24))
    ]
    made = helper.make_graph(nodes, "g", tensors[:1], tensors[1:], [numpy_helper.from_array(weight, "w")])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(proto, x):
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})


def by_hand(x, weight):
    """The same rounding in numpy: one scale per row of x, one per column of the weight, an exact integer product."""
    m = np.abs(x).max(axis=-1, keepdims=True)
    scales = np.abs(weight).max(axis=0) / 127
    product = np.rint(x / m * 127).astype(np.int64) @ np.rint(weight / scales).astype(np.int64)
    return product / 127 * scales * m


@pytest.fixture
def weight():
    return np.random.default_rng(0).normal(size=(48, 24)).astype(np.float32)


def test_rounded_products_are_those_computed_by_hand(weight):
    x = np.random.default_rng(1).normal(size=(3, 5, 48)).astype(np.float32) * np.geomspace(0.01, 100, 5)[:, None]
    x = x.astype(np.float32)
    proto = graph(weight)
    assert int8.round_weights(proto) == 1
    onnx.checker.check_model(proto)
    y, z = run(proto, x)
    scale = np.abs(by_hand(x, weight)).max(axis=-1, keepdims=True)
    # A value on the border between two steps may go either way: one step of one product.
    assert (np.abs(y - by_hand(x, weight)) / scale).max() < 0.02
    assert (np.abs(z - by_hand(np.tanh(x), weight))).max() < 0.1
    exact = x @ weight
    assert (np.abs(y - exact) / np.abs(exact).max(axis=-1, keepdims=True)).max() < 0.03


def test_a_row_does_not_know_the_others(weight):
    """An outlier in one row leaves every other row's bits alone: this is what one scale a batch would break."""
    proto = graph(weight)
    int8.round_weights(proto)
    x = np.random.default_rng(2).normal(size=(4, 6, 48)).astype(np.float32)
    loud = x.copy()
    loud[0, 0] *= 1e4
    before, after = run(proto, x)[0], run(proto, loud)[0]
    np.testing.assert_array_equal(before.reshape(24, -1)[1:], after.reshape(24, -1)[1:])
    np.testing.assert_array_equal(run(proto, x[2:3])[0], before[2:3])


def test_rows_and_columns_of_zeros_stay_zero(weight):
    weight[:, 3] = 0
    proto = graph(weight)
    int8.round_weights(proto)
    x = np.random.default_rng(3).normal(size=(1, 2, 48)).astype(np.float32)
    x[0, 0] = 0
    y, _ = run(proto, x)
    assert not y[0, 0].any() and not y[0, 1, 3] and y[0, 1].any()


def test_the_float_weights_are_gone(weight):
    proto = graph(weight)
    int8.round_weights(proto)
    kinds = {t.name: t.data_type for t in proto.graph.initializer}
    assert "w" not in kinds
    assert kinds["w/q"] == (TensorProto.UINT8 if int8.signed_products_saturate() else TensorProto.INT8)


@pytest.mark.parametrize("saturates", [False, True])
def test_the_form_for_processors_that_saturate_is_exact_everywhere(saturates, weight, monkeypatch):
    """Unsigned weights are exact on any processor; signed ones where the processor was found not to saturate."""
    if not saturates and int8.signed_products_saturate():
        pytest.skip("signed weights are not used on this processor, which cuts off large sums")
    monkeypatch.setattr(int8, "signed_products_saturate", lambda: saturates)
    x = np.random.default_rng(4).normal(size=(2, 3, 48)).astype(np.float32)
    proto = graph(weight)
    int8.round_weights(proto)
    largest = np.abs(by_hand(x, weight)).max(axis=-1, keepdims=True)
    assert (np.abs(run(proto, x)[0] - by_hand(x, weight)) / largest).max() < 0.02


def test_a_tiny_bert_end_to_end(tiny_folder, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("FIRST_IMPRESSION_CACHE", str(tmp_path))
    encoder = Encoder.open(str(tiny_folder), dtype="int8", threads=1)
    texts = ["a", "hello there", "x" * 90]
    near = [
        a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        for a, b in zip(encoder.encode(texts), tiny.encode(texts), strict=True)
    ]
    assert min(near) > 0.99
    made = int8.folder_of(encoder.recipe.revision)
    assert sorted(path.name for path in made.iterdir()) == [
        "graph.onnx",
        "int8.json",
        "probes.npz",
        "table.npy",
        "tokenizer.json",
    ]
    # Made once: a second time neither torch's exporter nor the lock is needed.
    monkeypatch.setattr(int8, "_make", lambda *_: pytest.fail("made twice"))
    int8.ensure(tiny_folder, encoder.recipe.revision, 64)


def test_a_failed_export_leaves_nothing_and_says_what_to_use(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("FIRST_IMPRESSION_CACHE", str(tmp_path))

    def refuse(*_):
        raise NotImplementedError("an operator nobody knows")

    monkeypatch.setattr(int8, "_export", refuse)
    with pytest.raises(EmbeddingsError, match=r"can't be exported.*--dtype fp32"):
        Encoder.open(str(tiny_folder), dtype="int8")
    encoder = Encoder.open(str(tiny_folder), device="cpu")
    assert encoder.recipe.dtype == "fp32" and "fp32 instead of int8" in encoder.notes[0]
    assert not [path for path in (tmp_path / "int8").iterdir() if path.is_dir()]
