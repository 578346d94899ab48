"""A transformer in float32 or bfloat16 on torch, on CPU or CUDA."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from embeddings.catalogue import SOURCE_FILE
from embeddings.errors import EmbeddingsError

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

# Types whose tokens see all tokens of their text and nothing else decides the mask: what they compute with a ready mask
# (B, 1, 1, S) is what they compute with the usual (B, S). From that one transformers first asks the device whether
# anything is padded at all, and the host waits for the answer in every batch.
_READY_MASK = ("bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert")


class TorchEngine:
    """Token ids -> last hidden states.

    Threads may share one engine: on a CPU a call computes on the thread that makes it, on one core.
    """

    pads = True

    def __init__(self, folder: Path, *, dtype: str, device: str, eager: bool = False) -> None:
        import torch
        from transformers.utils import logging

        if device == "cuda" and not torch.cuda.is_available():
            raise EmbeddingsError(
                f"--device cuda, but torch {torch.__version__} finds no CUDA device here. Use --device cpu, or install"
                " a torch built for CUDA."
            )
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        extra = {"attn_implementation": "eager"} if eager else {}
        wanted = {"fp32": torch.float32, "bf16": torch.bfloat16}[dtype]
        try:
            model, info = _model_class(folder).from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=wanted,
                output_loading_info=True,
                **extra,
            )
        except EmbeddingsError:
            raise
        except Exception as error:  # transformers raises whatever it trips over
            raise EmbeddingsError(
                f"Could not load the model in {folder}: {(str(error).splitlines() or [type(error).__name__])[0]}"
                " Expected a folder as `save_pretrained` writes it. For a model of the catalogue,"
                " `embeddings pull NAME --force` renews it."
            ) from error
        # What the files lack, transformers fills with random numbers.
        missing = sorted(name for name in info["missing_keys"] if "pooler." not in name)
        if missing:
            raise EmbeddingsError(
                f"Could not load the model in {folder}: its weights lack {len(missing)} tensors that"
                f" {type(model).__name__} needs, {missing[0]} for one. Copy the folder again, weights and config.json"
                " from the same place."
            )
        self.model = model.eval().to(device)
        self.device = device
        config = self.model.config
        self._ready_mask = (
            config.model_type in _READY_MASK
            and not getattr(config, "is_decoder", False)
            and config._attn_implementation == "sdpa"  # the others add a mask of numbers
        )
        try:
            self.dim = int(self.states([[0, 0]]).shape[2])
        except Exception as error:
            raise EmbeddingsError(
                f"The model in {folder} ({type(model).__name__}) gives no states for the tokens of a text"
                f" ({type(error).__name__}: {str(error)[:150]}), so it is no text encoder. Take another: `embeddings"
                " models` lists some."
            ) from error

    def check_tokenizer(self, tokenizer: Tokenizer) -> None:
        """Raises: EmbeddingsError where the tokenizer knows tokens that the model has no row for."""
        n_tokens, n_rows = tokenizer.get_vocab_size(), self.model.get_input_embeddings().weight.shape[0]
        if n_tokens > n_rows:
            raise EmbeddingsError(
                f"The tokenizer knows {n_tokens:,} tokens and the model's table has {n_rows:,} rows, so they aren't of"
                " one model. Copy its folder again, all files from the same place."
            )

    def states(self, ids: Sequence[Sequence[int]]) -> np.ndarray:
        """Last hidden states, padded on the right. Shapes: B lists of up to S ids -> (B, S, D), float32.

        The states at padded places are noise: the caller knows the lengths.
        """
        import torch

        lengths_B = torch.tensor([len(one) for one in ids])
        ids_BS = torch.zeros(len(ids), int(lengths_B.max()), dtype=torch.long)
        for row, one in enumerate(ids):
            ids_BS[row, : len(one)] = torch.tensor(one)
        mask_BS = (torch.arange(ids_BS.shape[1]) < lengths_B[:, None]).long()
        with torch.inference_mode(), _one_core(self.device):
            out = self.model(input_ids=ids_BS.to(self.device), attention_mask=mask_BS.to(self.device))
            return out.last_hidden_state.float().cpu().numpy()

    def hidden(self, ids_BS: torch.Tensor, lengths_B: torch.Tensor) -> torch.Tensor:
        """Last hidden states of a batch that is on the device, on the device; where it can, without waiting for it.

        Shapes: ids (B, S), padded on the right; lengths (B,) -> (B, S, D), in the network's own precision.
        """
        import torch

        real_BS = torch.arange(ids_BS.shape[1], device=ids_BS.device) < lengths_B[:, None]
        mask = real_BS[:, None, None, :] if self._ready_mask else real_BS.long()
        with torch.inference_mode(), _one_core(self.device), without_plans(self.device):
            return self.model(input_ids=ids_BS, attention_mask=mask).last_hidden_state


@contextmanager
def without_plans(device: str) -> Iterator[None]:
    """Fused attention on CUDA without cuDNN's, which makes a plan for every new shape; batches rarely share one."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    if device != "cuda":
        yield
        return
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]):
        yield


@contextmanager
def _one_core(device: str) -> Iterator[None]:
    """One core for what this thread computes. The number is the calling thread's own where OpenMP keeps it, so it is
    set on each, and put back because others in the process may want their cores."""
    import torch

    if device != "cpu":
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _model_class(folder: Path) -> Any:
    """The class that gives states of a text's tokens; of an encoder and decoder, the encoder.

    Raises: EmbeddingsError for models that don't read text, or whose encoder can't be had alone.
    """
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    name = {"t5": "T5EncoderModel", "mt5": "MT5EncoderModel", "umt5": "UMT5EncoderModel"}.get(config.model_type)
    if name:
        return getattr(transformers, name)
    other = [key for key in ("vision_config", "audio_config") if getattr(config, key, None) is not None]
    if other or config.is_encoder_decoder:
        why = "is an encoder and a decoder" if config.is_encoder_decoder else f"has a {other[0]}, so it isn't for text"
        raise EmbeddingsError(
            f"{folder / 'config.json'}: model_type {config.model_type!r} {why}. Supported are text encoders (BERT and"
            " its kin), decoders, and the encoders of T5, mT5 and UMT5. Take another: `embeddings models` lists some."
        )
    return transformers.AutoModel


_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model", "*.tiktoken", "merges.txt")


def fast_tokenizer(folder: Path, *, lower_case: bool = False) -> Tokenizer:
    """The model's tokenizer as the `tokenizers` library runs it.

    Of a model folder it is the one that transformers makes of it, because tokenizer_config.json may say more than
    tokenizer.json does; of the catalogue's and int8 folders, tokenizer.json as it stands.
    Args: lower_case, put texts in lower case first, as sentence-transformers' do_lower_case does.
    Raises: EmbeddingsError where there is none, or only a slow one.
    """
    from tokenizers import Tokenizer, normalizers

    file = folder / "tokenizer.json"
    if file.exists() and ((folder / SOURCE_FILE).exists() or not (folder / "config.json").exists()):
        return Tokenizer.from_file(str(file))
    if not any(path for pattern in _VOCABULARIES for path in folder.glob(pattern)):
        raise EmbeddingsError(
            f"{folder} has no tokenizer: expected tokenizer.json. Copy the model's folder whole, or save its tokenizer"
            " with `save_pretrained`."
        )
    from transformers import AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    try:
        made = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        tokenizer = made.backend_tokenizer
    except Exception as error:  # transformers raises whatever it trips over
        raise EmbeddingsError(
            f"{folder} has no tokenizer.json and no tokenizer that can be turned into one"
            f" ({(str(error).splitlines() or [type(error).__name__])[0][:150]}). Save it with a fast tokenizer."
        ) from error
    if lower_case:
        own = [tokenizer.normalizer] if tokenizer.normalizer is not None else []
        tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])
    return tokenizer


def fast_bf16() -> bool:
    """True where this processor multiplies bfloat16 in hardware; elsewhere it is slower than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def cuda_wanted(device: str) -> bool:
    """Whether to run on CUDA: as requested, or if a driver is there and torch can use it.

    Looks for the driver first, because importing torch costs seconds and hundreds of megabytes that int8 doesn't need.
    """
    if device != "auto":
        return device == "cuda"
    if not Path("/proc/driver/nvidia").exists() or os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return False
    import torch

    return torch.cuda.is_available()
