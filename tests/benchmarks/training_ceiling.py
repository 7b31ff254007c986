"""How fast the machine multiplies matrices of the sizes that training multiplies: what it could reach at most."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from translator.config import ModelConfig

_SECONDS_A_SIZE = 0.5
_LARGE = 8192


@dataclass(frozen=True)
class Peak:
    """The fastest matrix product: operations a second, and its [rows, inner] · [inner, columns]."""

    operations_per_second: float
    size: tuple[int, int, int]

    def __str__(self) -> str:
        rows, inner, columns = self.size
        return f"{self.operations_per_second / 1e12:,.3g} TFLOP/s at {rows:,} × {inner:,} × {columns:,}"


def products_of(shape: ModelConfig, sentences: int, target_tokens: int) -> list[tuple[int, int, int]]:
    """Sizes of products that occur in an update: inputs and last states of a layer, projection, their gradients."""
    hidden, vocabulary = shape.hidden_size, shape.target_vocabulary_size
    some = min(target_tokens, 4096)
    return [
        (target_tokens, hidden, 4 * hidden),
        (sentences, hidden, 4 * hidden),
        (4 * hidden, target_tokens, hidden),
        (some, hidden, vocabulary),
        (some, vocabulary, hidden),
        (vocabulary, some, hidden),
    ]


def matrix_product_peak(device: torch.device, dtype: torch.dtype, sizes: Iterable[tuple[int, int, int]]) -> Peak:
    """The best of products of these sizes; on a GPU a large one, which suits it best, is among them."""
    tried = [*sizes, (_LARGE, _LARGE, _LARGE)] if device.type == "cuda" else list(sizes)
    peaks = [Peak(2.0 * rows * inner * columns / _seconds(device, dtype, rows, inner, columns), (rows, inner, columns))
             for rows, inner, columns in dict.fromkeys(tried)]  # fmt: skip
    return max(peaks, key=lambda peak: peak.operations_per_second)


def _seconds(device: torch.device, dtype: torch.dtype, rows: int, inner: int, columns: int) -> float:
    """The shortest time of a product; on a GPU of several in a row, so that starting them does not count."""
    left = torch.randn(rows, inner, device=device).to(dtype)
    right = torch.randn(inner, columns, device=device).to(dtype)
    out = torch.empty(rows, columns, device=device, dtype=dtype)
    in_a_row = 10 if device.type == "cuda" else 1
    for _ in range(2):
        torch.mm(left, right, out=out)
    synchronise(device)
    best, end = float("inf"), time.perf_counter() + _SECONDS_A_SIZE
    while time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(in_a_row):
            torch.mm(left, right, out=out)
        synchronise(device)
        best = min(best, (time.perf_counter() - start) / in_a_row)
    return best


def synchronise(device: torch.device) -> None:
    """Wait until the device has done all that it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
