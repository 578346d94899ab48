"""Real weights, pulled as a user pulls them, and a tiny random BERT for what needs many quick runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embeddings import Encoder
from embeddings.pull import pull
from storage.text_ids import text_id

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def pairs() -> dict[str, list[list[str]]]:
    """Forty paraphrases a language."""
    out: dict[str, list[list[str]]] = {}
    for line in (HERE / "paraphrases.tsv").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            language, first, second = line.split("\t")
            out.setdefault(language, []).append([first, second])
    return out


@pytest.fixture(scope="session")
def minilm() -> Encoder:
    pull("minilm")
    return Encoder.open("minilm", dtype="int8", threads=2)


@pytest.fixture(scope="session")
def e5() -> Encoder:
    pull("e5-small")
    return Encoder.open("e5-small", dtype="int8", threads=2)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """A two-layer BERT with random weights and a tokenizer of single characters."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("models") / "tiny"
    letters = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *map(chr, range(33, 127))]
    tokenizer = Tokenizer(models.WordLevel({letter: i for i, letter in enumerate(letters)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split("", "isolated")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(letters),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    return folder


@pytest.fixture(scope="session")
def tiny(tiny_folder) -> Encoder:
    return Encoder.open(str(tiny_folder), dtype="fp32", threads=2)


@pytest.fixture
def write_mart(tmp_path):
    """Write a texts mart of rows (text, side, n_rows, n_cold_rows, n_train_rows), or of texts; give its folder."""

    def write(rows, name: str = "marts", files: int = 1) -> Path:
        full = [(row, "title", 3, 1, 2) if isinstance(row, (str, bytes)) else row for row in rows]
        folder = tmp_path / name / "texts"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "_build").mkdir(exist_ok=True)
        (folder / "_SUCCESS").touch()
        for number, part in enumerate(np.array_split(np.arange(len(full)), files)):
            some = [full[i] for i in part]
            # As bytes cast to string, so that a test can write what is not valid UTF-8.
            raw = pa.array([t if isinstance(t, bytes) or t is None else t.encode() for t, *_ in some], pa.binary())
            strings = pa.StringArray.from_buffers(len(raw), raw.buffers()[1], raw.buffers()[2], raw.buffers()[0])
            columns = {
                "text_id": [text_id(side, str(t)) for t, side, *_ in some],
                "text": strings,
                "side": [side for _, side, *_ in some],
                "n_rows": pa.array([row[2] for row in some], pa.int64()),
                "n_cold_rows": pa.array([row[3] for row in some], pa.int64()),
                "n_train_rows": pa.array([row[4] for row in some], pa.int64()),
            }
            pq.write_table(pa.table(columns), folder / f"part-{number}.parquet")
        return folder.parent

    return write
