"""The header of a safetensors file, checked before a byte of the tensors is read or memory is asked for.

The format (https://huggingface.co/docs/safetensors): the header's length as 8 bytes, little-endian, the header as a
JSON object of name → {dtype, shape, data_offsets}, the tensors' bytes. The library checks the offsets; here is what it
leaves open: how long a header may be, and that the scales of an int8 file fit what they scale. Loads no torch.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

LARGEST_HEADER = 1024 * 1024
"""Bytes. The headers of real models have some 10,000; the library itself would read 100 million."""

SCALE_SUFFIX = ".scale"
_DTYPE_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "I8": 1}


def check_header(file: Path) -> None:
    """Raises `ValueError` for anything but a header of numeric tensors; the message has one line."""
    header = _read(file)
    header.pop("__metadata__", None)
    shapes: dict[str, list[int]] = {}
    for name, entry in header.items():
        dtype = entry.get("dtype") if isinstance(entry, dict) else None
        if not isinstance(dtype, str) or dtype not in _DTYPE_BYTES:
            raise ValueError(f"tensor {name!r} is not of one of the types {', '.join(_DTYPE_BYTES)}")
        shape = entry.get("shape")
        if not isinstance(shape, list) or not all(type(size) is int and 0 < size < 2**40 for size in shape):
            raise ValueError(f"tensor {name!r} has no valid shape")
        if math.prod(shape) * _DTYPE_BYTES[dtype] > file.stat().st_size:
            raise ValueError(f"tensor {name!r} is larger than the file")
        shapes[name] = shape
    for name, shape in shapes.items():
        scaled = shapes.get(name.removesuffix(SCALE_SUFFIX), [])
        if name.endswith(SCALE_SUFFIX) and (len(scaled) != 2 or shape != scaled[:1]):
            raise ValueError(f"tensor {name!r} is no scale of the rows of another tensor")


def _read(file: Path) -> dict[str, Any]:
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if length > LARGEST_HEADER:
            raise ValueError(f"its header says that it has {length:,} bytes, more than {LARGEST_HEADER:,}")
        content = opened.read(length)
    if len(content) < length:
        raise ValueError("its header is cut off")
    try:
        header = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("its header is no JSON") from None
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    return header
