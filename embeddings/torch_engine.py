"""A transformer in float32 or bfloat16 on torch, on CPU or CUDA."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from embeddings.errors import EmbeddingsError


class TorchEngine:
    """Token ids -> last hidden states.

    Threads may share one engine: on a CPU a call computes on the thread that makes it, on one core.
    """

    pads = True

    def __init__(self, folder: Path, *, dtype: str, device: str, eager: bool = False) -> None:
        import torch
        from transformers import AutoModel
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
            model = AutoModel.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype=wanted, **extra
            )
        except (OSError, ValueError) as error:
            raise EmbeddingsError(
                f"Could not load the model in {folder}: {str(error).splitlines()[0]} Expected a folder as"
                " `save_pretrained` writes it. For a model of the catalogue, `embeddings pull NAME --force` renews it."
            ) from error
        self.model = model.eval().to(device)
        self.dim = int(model.config.hidden_size)
        self._device = device

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
        with torch.inference_mode(), _one_core(self._device):
            out = self.model(input_ids=ids_BS.to(self._device), attention_mask=mask_BS.to(self._device))
            return out.last_hidden_state.float().cpu().numpy()


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


def fast_tokenizer(folder: Path):
    """The model's tokenizer as the `tokenizers` library runs it.

    Raises: EmbeddingsError where there is none, or only a slow one.
    """
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    if file.exists():
        return Tokenizer.from_file(str(file))
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False).backend_tokenizer
    except (OSError, ValueError, AttributeError, ImportError) as error:
        raise EmbeddingsError(
            f"{folder} has no tokenizer.json and no tokenizer that can be turned into one"
            f" ({str(error).splitlines()[0][:150]}). Save it with a fast tokenizer."
        ) from error


def fast_bf16() -> bool:
    """True where this processor multiplies bfloat16 in hardware; elsewhere it is slower than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def cuda_wanted(device: str) -> bool:
    """Whether to run on CUDA: as told, or where a driver is there and torch can use it.

    Looks for the driver first, because importing torch costs seconds and hundreds of megabytes that int8 doesn't need.
    """
    if device != "auto":
        return device == "cuda"
    if not Path("/proc/driver/nvidia").exists() or os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return False
    import torch

    return torch.cuda.is_available()
