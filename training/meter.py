"""What the machine gives: its matrix-product peak, its memory, and how much of both a run uses."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional

from training.cost import Work, training_flops
from training.prepared import EncodedPairs, Prepared
from translator.config import ModelConfig

_PEAK_SIZE = {"cpu": 1024, "cuda": 8192}
_PEAK_ROUNDS = 10


class Meter:
    """Turns the work of some updates and the time they took into the figures of a log line."""

    def __init__(self, prepared: Prepared, config: ModelConfig, device: torch.device, *, low_precision: bool) -> None:
        """Measures the machine's peak, which takes less than a second."""
        self._config = config
        self._device = device
        self._source_words_a_token = words_a_token(prepared.dev_source, prepared.dev, "source")
        self._target_words_a_token = words_a_token(prepared.dev_target, prepared.dev, "target")
        #: Operations a second of a large matrix product, in the precision that the run computes in.
        self.peak_flops = matrix_product_peak(device, torch.bfloat16 if low_precision else torch.float32)

    def figures(self, work: Work, seconds: float, *, processes: int = 1) -> dict[str, float]:
        """Speed, utilisation and memory.

        `tokens_per_second` are source and target tokens together, `words_per_second` white-space separated words, by
        the dev set's words a token; `flop_utilisation` is the share of the peak of `processes` such machines;
        `memory_bytes` is this process's.
        """
        words = work.source_tokens * self._source_words_a_token + work.target_tokens * self._target_words_a_token
        flops = training_flops(self._config, work)
        return {
            "target_tokens_per_second": work.target_tokens / seconds,
            "tokens_per_second": (work.source_tokens + work.target_tokens) / seconds,
            "words_per_second": words / seconds,
            "flop_utilisation": flops / seconds / (self.peak_flops * processes),
            "memory_bytes": float(memory_in_use(self._device)),
        }


def words_a_token(texts: list[str], pairs: EncodedPairs, side: str) -> float:
    """White-space separated words for each token, `<EOS>` counted as token, of one side ("source" or "target")."""
    lengths = pairs.source_lengths if side == "source" else pairs.target_lengths
    return sum(len(text.split()) for text in texts) / max(1, int(lengths.sum()) + len(lengths))


def matrix_product_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of a large square matrix product on `device`: the best round of the best library there is."""
    size = _PEAK_SIZE.get(device.type, 1024)
    left, right = (torch.ones(size, size, device=device, dtype=dtype) for _ in range(2))
    result = torch.empty_like(left)
    products: list[Callable[[], object]] = [lambda: torch.mm(left, right, out=result)]
    if device.type == "cpu" and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        # PyTorch's own choice for float32 is MKL, which is half as fast as oneDNN on some processors.
        left_packed, right_packed = left.to_mkldnn(), right.to_mkldnn()
        products.append(lambda: functional.linear(left_packed, right_packed))
    seconds = []
    for product in products:
        product()  # the first one chooses the program and fetches the memory
        for _ in range(_PEAK_ROUNDS):
            _wait_for(device)
            started = time.perf_counter()
            product()
            _wait_for(device)
            seconds.append(time.perf_counter() - started)
    return 2.0 * size**3 / min(seconds)


def memory_in_use(device: torch.device) -> int:
    """Bytes: on a GPU all that tensors and PyTorch's cache hold there, else the memory of this process."""
    if device.type == "cuda":
        return torch.cuda.memory_reserved(device)
    try:
        resident = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):  # no Linux: the most that it ever was, in KiB, or in bytes on macOS
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return resident * os.sysconf("SC_PAGE_SIZE")


def memory_available(device: torch.device) -> int | None:
    """Bytes that can still be had on `device`; None where the machine does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        kibibytes = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None
    free = kibibytes * 1024
    try:  # a container's own bound
        limit, used = (
            Path(f"/sys/fs/cgroup/memory.{name}").read_text(encoding="ascii").strip() for name in ("max", "current")
        )
    except OSError:
        return free
    return free if limit == "max" else min(free, int(limit) - int(used))


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
