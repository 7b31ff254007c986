"""The shared library of `native/`, through ctypes (which lets other Python threads run meanwhile)."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_char_p, c_int, c_int32, c_int64, c_void_p
from functools import cache
from pathlib import Path

LIBRARY = Path(__file__).parent / "native" / "libtranslator.so"

PRECISIONS = ("int8", "bfloat16", "float32")
"""In the order of the numbers that the library knows them by."""


class Shape(Structure):
    """`struct Shape` of native/network.h."""

    _fields_ = [
        (name, c_int32)
        for name in (
            "source_vocabulary", "target_vocabulary", "embedding", "hidden", "layers",
            "residual", "feed_context", "attention", "bidirectional", "eos",
        )
    ]  # fmt: skip


class LayerWeights(Structure):
    """`struct LayerWeights` of native/network.h."""

    _fields_ = [(name, c_void_p) for name in ("input", "recurrent", "bias")]


class Weights(Structure):
    """`struct Weights` of native/network.h."""

    _fields_ = [
        ("source_embedding", c_void_p),
        ("target_embedding", c_void_p),
        ("encoder", POINTER(LayerWeights)),
        ("decoder", POINTER(LayerWeights)),
        ("combine", c_void_p),
        ("output", c_void_p),
        ("output_bias", c_void_p),
        ("forbidden", c_void_p),
    ]


class Step(Structure):
    """`struct Step` of native/network.h."""

    _fields_ = [
        *((name, c_int32) for name in ("rows", "sentences", "candidates", "beam")),
        *(
            (name, c_void_p)
            for name in (
                "state_in", "place_R", "state_out", "source_R", "length_R", "token_R", "score_R", "width_S", "beam_S",
                "drawn_R", "score_SK", "ended_R", "whole_DV", "parent_SK", "token_SK",
            )
        ),
    ]  # fmt: skip


@cache
def load_library() -> ctypes.CDLL | None:
    """The library, or None where it was not built or does not fit: another system, other structures."""
    if not LIBRARY.is_file():
        return None
    try:
        library = ctypes.CDLL(str(LIBRARY))
    except OSError:
        return None
    layout = getattr(library, "translator_layout", None)
    if layout is None:
        return None
    layout.restype = c_int64
    sizes = (ctypes.sizeof(structure) for structure in (Shape, LayerWeights, Weights, Step))
    if layout() != sum(size << shift for size, shift in zip(sizes, (32, 24, 16, 0), strict=True)):
        return None
    for name, result, arguments in (
        ("instruction_set", c_char_p, [c_int]),
        ("create", c_void_p, [c_char_p, c_int, POINTER(Shape), POINTER(Weights), c_int]),
        ("another", c_void_p, [c_void_p, c_int]),
        ("destroy", None, [c_void_p]),
        ("state_bytes", c_int64, [c_void_p]),
        ("source_floats", c_int64, [c_void_p, c_int]),
        ("packed_bytes", c_int64, [c_void_p]),
        ("encode", c_int, [c_void_p, c_int, c_void_p, c_void_p, c_void_p, c_void_p]),
        ("step", c_int, [c_void_p, POINTER(Step)]),
    ):
        function = getattr(library, f"translator_{name}")
        function.restype, function.argtypes = result, arguments
    return library


def instruction_sets() -> list[str]:
    """Those that this processor has and the library was built for, best first; none without the library."""
    library = load_library()
    names: list[str] = []
    while library is not None and (name := library.translator_instruction_set(len(names))):
        names.append(name.decode())
    return names
