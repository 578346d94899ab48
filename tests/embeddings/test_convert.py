import struct

import numpy as np
import pytest

from embeddings import EmbeddingsError
from embeddings.catalogue import model_folder
from embeddings.convert import _E5File, e5_4bit


def test_four_bit_blocks():
    """Two blocks: a float16 scale, then 32 nibbles, the low ones first; a nibble means (nibble - 8) * scale."""
    low, high = np.arange(16, dtype=np.uint8), np.arange(16, dtype=np.uint8)[::-1]
    block = struct.pack("<e", 0.5) + (low | high << 4).tobytes()
    other = struct.pack("<e", -2.0) + bytes([0x88] * 16)
    packed = _E5File(block + other, (), 0.0, {}, [], {}, {"w": (1, 64, 0)})
    expected = np.concatenate([(low - 8.0) * 0.5, (high - 8.0) * 0.5, np.zeros(32)])
    np.testing.assert_array_equal(packed.tensor("w", 2, 32), expected.reshape(2, 32).astype(np.float32))


def test_another_file_is_refused(tmp_path):
    (tmp_path / "x.bin").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(EmbeddingsError, match="expected it to begin with E5S1, found b'GGUF'"):
        e5_4bit(tmp_path / "x.bin", tmp_path / "out")


def test_the_converted_folder_is_an_ordinary_one(e5):
    """transformers alone loads it, and its tokenizer cuts as XLM-R's does."""
    from transformers import AutoConfig, AutoTokenizer

    folder = model_folder("e5-small")
    assert AutoConfig.from_pretrained(folder).model_type == "bert"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.convert_ids_to_tokens(tokenizer("Hello world")["input_ids"]) == ["<s>", "▁Hello", "▁world", "</s>"]
    # Full-width letters are folded, runs of blanks shrink, and the full-width tilde stays what it is.
    assert tokenizer("ＡＢＣ  １２３")["input_ids"] == tokenizer("ABC 123")["input_ids"]
    assert tokenizer("5～10")["input_ids"] != tokenizer("5~10")["input_ids"]
    assert tokenizer.unk_token_id not in tokenizer("周末火锅，满100减30")["input_ids"]
