"""A transformer in 8-bit integers on onnxruntime, whose vectors depend on their text only.

Weights are rounded once, a scale a column; activations at run time, a scale a token. onnxruntime's own dynamic
quantisation takes one scale for a whole batch, so there the same text gets another vector in other company; with a
scale a token every integer product is exact and a batch of one gives the same bits as a batch of a hundred.

Texts are batched by exact length, so the graph has no padding and no mask. The token table stays outside the graph, as
a file that is mapped into memory: of 250,000 rows a log touches a few thousand. Running needs neither torch nor
transformers.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from embeddings.catalogue import cache_dir
from embeddings.errors import EmbeddingsError
from embeddings.head import POOLINGS, Head
from embeddings.locking import exclusive
from storage import atomic

if TYPE_CHECKING:
    import torch
    from onnx import ModelProto
    from transformers import PreTrainedModel

FORMAT = 3  # raise it when the graph this file writes changes
MIN_COSINE = 0.97  # of any probe to its float32 vector; below it, int8 is not the default on this machine
_OPSET = 20  # the first with Gelu as one operator
# onnxruntime's fused form is several times slower on CPU than Add and LayerNormalization apart.
_SLOW_FUSIONS = ["SkipLayerNormFusion"]

PROBES = (
    "Toy Story (1995)",
    "Comedy",
    "Sci-Fi",
    "a cup of coffee to take away",
    "How do I return a pair of shoes that don't fit?",
    "Weekend special: two large pizzas and a drink for the price of one",
    "The engine makes a rattling noise when it is cold, and the warning light stays on for a minute",
    "Seven Samurai (The Magnificent Seven) (Shichinin no samurai) (1954)",
    "female, 25 to 34, academic or educator",
    "He walked along the river until the lights of the town were out of sight, then sat down and opened the letter.",
    "1984",
    "free shipping & 30% off!!!",
    "咖啡",
    "手机充值优惠券",
    "附近的火锅店外卖满三十减十五",
    "如何办理信用卡分期还款",
    "北京到上海的高铁票几点开始预售？",
    "周末亲子游乐园门票，两大一小套餐限时特惠",
    "这部电影讲述了一个男孩在海边小镇长大的故事，画面很美，结尾却让人难过",
    "水电煤缴费",
    "医保电子凭证",
    "洗衣液 3kg 家庭装",
    "新用户首单立减，红包天天领",
    "天气转凉，记得给家里的老人买一件厚外套",
)


def folder_of(revision: str) -> Path:
    """Where the int8 form of a model revision is kept on this machine."""
    safe = "".join(c if c.isalnum() or c in ".-_+" else "-" for c in revision)
    return cache_dir() / "int8" / f"{safe}-v{FORMAT}"


def ensure(model_folder: Path, revision: str, max_tokens: int, *, lower_case: bool = False) -> tuple[Path, dict]:
    """The int8 form of a model, made once per machine, and how close it is to float32 here.

    Returns: its folder; {"cosine": {pooling: {"min", "mean"}}, ...} measured on this machine's processor.
    Raises: EmbeddingsError for an architecture that can't be exported.
    """
    folder = folder_of(revision)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not (folder / "int8.json").exists():
        with exclusive(folder.with_name(folder.name + ".lock"), f"The int8 form of {revision} is being made"):
            if not (folder / "int8.json").exists():
                with atomic.folder(folder) as aside:
                    _make(model_folder, aside, max_tokens, lower_case)
    return folder, json.loads((folder / "int8.json").read_text(encoding="utf-8"))


def nearness(folder: Path, head: Head) -> dict[str, float]:
    """Cosines of the probes' vectors to float32, least and mean, after this pooling and what follows it."""
    with np.load(folder / "probes.npz") as probes:
        lengths, exact_TD, rounded_TD = probes["lengths"], probes["exact"], probes["rounded"]
    cosines, at = [], 0
    for n in lengths:
        length, start = np.array([n]), np.array([0])
        a_D, b_D = (head(states_TD[None, at : at + n], length, start)[0] for states_TD in (exact_TD, rounded_TD))
        cosines.append(float(a_D @ b_D / max(np.linalg.norm(a_D) * np.linalg.norm(b_D), 1e-12)))
        at += n
    return {"min": min(cosines), "mean": float(np.mean(cosines))}


class Int8Engine:
    """Token ids -> last hidden states.

    Threads may share one engine: a call computes on the thread that makes it, on one core.
    """

    pads = False

    def __init__(self, folder: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Batches differ in shape, and an arena keeps the largest of every shape it has seen.
        options.enable_mem_pattern = False
        self._session = onnxruntime.InferenceSession(
            folder / "graph.onnx", options, providers=["CPUExecutionProvider"], disabled_optimizers=_SLOW_FUSIONS
        )
        self._table_VD = np.load(folder / "table.npy", mmap_mode="r")
        self.dim = self._table_VD.shape[1]

    def states(self, ids: Sequence[Sequence[int]]) -> np.ndarray:
        """Last hidden states of texts of one length. Shapes: B lists of S ids -> (B, S, D), float32."""
        embedded_BSD = self._table_VD[np.asarray(ids)].astype(np.float32)
        return self._session.run(None, {"embedded": embedded_BSD})[0]


def _make(model_folder: Path, out: Path, max_tokens: int, lower_case: bool) -> None:
    import onnx
    import torch

    from embeddings.torch_engine import TorchEngine, fast_tokenizer

    tokenizer = fast_tokenizer(model_folder, lower_case=lower_case)
    tokenizer.no_truncation()  # folders bring their own along
    tokenizer.no_padding()
    tokenizer.save(str(out / "tokenizer.json"))
    engine = TorchEngine(model_folder, dtype="fp32", device="cpu", eager=True)
    engine.check_tokenizer(tokenizer)
    try:
        proto = _export(engine.model, max_tokens)
    except Exception as error:  # the exporter raises whatever the architecture trips over
        raise EmbeddingsError(
            f"{model_folder.name} can't be exported for int8 ({type(error).__name__}: {str(error)[:200]})."
            " Use --dtype fp32 or --dtype bf16."
        ) from error
    n_rounded = round_weights(proto)
    if not n_rounded:
        raise EmbeddingsError(f"Found no matrix to round in {model_folder.name}. Use --dtype fp32 or --dtype bf16.")
    onnx.save(proto, out / "graph.onnx")

    table = engine.model.get_input_embeddings()
    with torch.inference_mode():  # through the module: some scale what they look up
        rows = [table(ids) for ids in torch.arange(table.num_embeddings).split(8192)]
    np.save(out / "table.npy", torch.cat(rows).to(torch.float16).numpy())

    # The probes, in both: what a user's texts will meet on this processor.
    small = Int8Engine(out)
    ids = [encoding.ids[:max_tokens] for encoding in tokenizer.encode_batch(list(PROBES))]
    exact, rounded = ([engine_of.states([one])[0] for one in ids] for engine_of in (engine, small))
    lengths = np.array([len(one) for one in ids])
    np.savez(out / "probes.npz", lengths=lengths, exact=np.concatenate(exact), rounded=np.concatenate(rounded))
    report = {
        "n_rounded": n_rounded,
        "n_probes": len(PROBES),
        "cosine": {pooling: nearness(out, Head(pooling)) for pooling in POOLINGS},
    }
    (out / "int8.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _export(model: PreTrainedModel, max_tokens: int) -> ModelProto:
    """The model from looked-up tokens to last states, as an ONNX graph in float32, any batch and any length."""
    import torch

    class Body(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, embedded_BSD: torch.Tensor) -> torch.Tensor:
            return self.model(inputs_embeds=embedded_BSD).last_hidden_state

    model.config.use_cache = False
    example = torch.randn(2, 7, model.get_input_embeddings().weight.shape[1])
    batch = torch.export.Dim("B", min=1, max=1 << 16)
    length = torch.export.Dim("S", min=2, max=max_tokens)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it reports every package it could also have exported
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            Body().eval(),
            (example,),
            dynamo=True,
            dynamic_shapes=({0: batch, 1: length},),
            input_names=["embedded"],
            output_names=["states"],
            opset_version=_OPSET,
            verbose=False,
        )
    return program.model_proto


@cache
def signed_products_saturate() -> bool:
    """Whether this processor adds pairs of unsigned times signed bytes in 16 bits, which cuts off large sums.

    x86 without VNNI does (its instruction VPMADDUBSW). Found by the largest product there is.
    """
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    n = 64
    product = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w"], ["y"])],
        "largest",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, n])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [1, n])],
        [numpy_helper.from_array(np.full((n, n), 127, np.int8), "w")],
    )
    model = helper.make_model(product, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.full((1, n), 255, np.uint8)})
    return bool((found != n * 255 * 127).any())


def round_weights(proto: ModelProto) -> int:
    """Replace every product with a constant matrix by an 8-bit one, in place.

    x @ W becomes (q(x / m) @ q(W)) * scales * m, with m the largest absolute value of each row of x (a token), and one
    scale a column of W. Every row then spans exactly [-1, 1], so the activation's scale is a constant, 1 / 127.

    Returns: how many products were replaced.
    Source: row-wise and column-wise absmax quantisation, Dettmers et al. 2022, section 2 ("vector-wise"). Differs from
    it: no outlier columns kept in float.
    """
    from onnx import helper, numpy_helper

    # Written as unsigned numbers around 128, they take a path that adds up in 32 bits on every processor.
    offset, kind = (128, np.uint8) if signed_products_saturate() else (0, np.int8)
    graph = proto.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    constants = {
        "int8/step": np.float32(1 / 127),
        "int8/zero": np.uint8(128),
        "int8/weight_zero": kind(offset),
        "int8/tiny": np.float32(1e-12),
        "int8/last_axis": np.array([-1], np.int64),
    }
    nodes, rounded_inputs, rounded_weights = [], set(), set()
    for node in graph.node:
        weight = weights.get(node.input[1]) if node.op_type == "MatMul" else None
        if weight is None or len(weight.dims) != 2:
            nodes.append(node)
            continue
        x, w, y = node.input[0], weight.name, node.output[0]
        if x not in rounded_inputs:  # query, key and value share one input
            rounded_inputs.add(x)
            nodes += [
                helper.make_node("Abs", [x], [f"{x}/abs"]),
                helper.make_node("ReduceMax", [f"{x}/abs", "int8/last_axis"], [f"{x}/max"], keepdims=1),
                helper.make_node("Max", [f"{x}/max", "int8/tiny"], [f"{x}/m"]),
                helper.make_node("Div", [x, f"{x}/m"], [f"{x}/unit"]),
                helper.make_node("QuantizeLinear", [f"{x}/unit", "int8/step", "int8/zero"], [f"{x}/q"]),
            ]
        if w not in rounded_weights:
            rounded_weights.add(w)
            values_KN = numpy_helper.to_array(weight).astype(np.float32)
            scales_N = np.abs(values_KN).max(axis=0) / 127
            scales_N[scales_N == 0] = 1.0
            constants[f"{w}/q"] = (np.rint(values_KN / scales_N) + offset).astype(kind)
            constants[f"{w}/scales"] = scales_N.astype(np.float32)
        inputs = [f"{x}/q", f"{w}/q", "int8/step", f"{w}/scales", "int8/zero", "int8/weight_zero"]
        nodes += [
            helper.make_node("MatMulIntegerToFloat", inputs, [f"{y}/unit"], domain="com.microsoft"),
            helper.make_node("Mul", [f"{y}/unit", f"{x}/m"], [y]),
        ]
    # A matrix that something else still reads (a tied one, say) has to stay.
    still_read = {name for node in nodes for name in node.input}
    kept = [tensor for name, tensor in weights.items() if name not in rounded_weights or name in still_read]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items())
    graph.node.extend(nodes)
    if all(opset.domain != "com.microsoft" for opset in proto.opset_import):
        proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return len(rounded_weights)
