"""What the machine can do: the ceilings that the engine is measured against in the same run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import numpy as np
import torch

# The shape of an LSTM layer's product, inputs and recurrent state together, for many rows.
_ROWS, _INPUTS, _OUTPUTS = 1024, 1024, 2048
_REPEATS = 15


def best_seconds(work: Callable[[], object], repeats: int = _REPEATS) -> float:
    """The shortest of several runs, after one that does not count: a ceiling is what the machine can do."""
    work()
    return min(_seconds(work) for _ in range(repeats))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def int8_products_per_second() -> dict[str, float]:
    """Operations a second (two for each product and sum) of int8 matrix products, by the library that does them."""
    generator = torch.Generator().manual_seed(1)
    rows = torch.randint(-127, 128, (_ROWS, _INPUTS), dtype=torch.int8, generator=generator)
    weights = torch.randint(-127, 128, (_INPUTS, _OUTPUTS), dtype=torch.int8, generator=generator)
    column_major = weights.t().contiguous().t()
    work = 2.0 * _ROWS * _INPUTS * _OUTPUTS
    found = {"torch._int_mm": work / best_seconds(lambda: torch._int_mm(rows, column_major))}
    with contextlib.suppress(ImportError):  # an optional contender; the table says which was the best
        found["onnxruntime MatMulInteger"] = work / best_seconds(_matmul_integer(rows, weights))
    return found


def _matmul_integer(rows: torch.Tensor, weights: torch.Tensor) -> Callable[[], object]:
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["rows", "weights", "zero"], ["out"])],
        "product",
        [helper.make_tensor_value_info("rows", TensorProto.UINT8, [_ROWS, _INPUTS])],
        [helper.make_tensor_value_info("out", TensorProto.INT32, [_ROWS, _OUTPUTS])],
        [numpy_helper.from_array(weights.numpy(), "weights"), numpy_helper.from_array(np.uint8(128), "zero")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    shifted = (rows.to(torch.int16) + 128).to(torch.uint8).numpy()
    return lambda: session.run(None, {"rows": shifted})


def read_bytes_per_second(size: int) -> float:
    """How fast all threads together read `size` bytes again and again, from whatever level of memory holds them.

    A sum over float32, whose additions are hidden behind the reading.
    """
    buffer = torch.ones(size // 4)
    return size / best_seconds(lambda: buffer.sum(), repeats=200)
