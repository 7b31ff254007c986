"""What training asks of the machine it runs on."""

from __future__ import annotations

import ctypes
import os
import sys

import torch


def choose_device(number: int = 0) -> torch.device:
    """GPU `number` where there is one, else the CPU."""
    return torch.device("cuda", number) if torch.cuda.is_available() else torch.device("cpu")


def make_deterministic() -> None:
    """Have every operation give the same bits each time, or raise `RuntimeError` where PyTorch has no such variant.

    To be called before the first use of a GPU.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether oneDNN, or the GPU, computes in bfloat16.

    A CPU on which it does not falls back to code that takes many times as long.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):  # a build of torch without this function: better slow than very slow
        return False


def keep_memory_steady() -> None:
    """Have training on the CPU hold on to the memory that it needs again, and to no other.

    oneDNN keeps the kernels of the last 64 shapes instead of 1,024: every combination of lengths has its own, and
    those for matrix registers came to 3 GiB. glibc reuses large freed blocks, where it would return them to the kernel
    and fault each page in again. To be called before the first matrix product, at which oneDNN looks.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # M_TRIM_THRESHOLD … of <malloc.h>
        mallopt(mmap_threshold, 1 << 25)  # the most that glibc allows
        mallopt(trim_threshold, 1 << 30)
        mallopt(top_pad, 1 << 26)
