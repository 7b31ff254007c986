"""How one decoder step is computed. `reference` is the truth that the other engines are held to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from translator.config import ModelConfig
from translator.engines.base import Beams, Engine, Extensions, beyond_packed_engines
from translator.engines.cpu import CPUEngine, Precision
from translator.engines.cuda import CUDAEngine
from translator.engines.ensemble import EnsembleEngine
from translator.engines.native_library import instruction_sets
from translator.engines.reference import ReferenceEngine
from translator.model import Seq2Seq

__all__ = [
    "ENGINES", "Beams", "CPUEngine", "CUDAEngine", "Engine", "EnsembleEngine", "Extensions", "ReferenceEngine",
    "best_engine", "make_engine", "sharing",
]  # fmt: skip

ENGINES = {
    "auto": "the best one for the device and the processor",
    "reference": "plain PyTorch in float32, on any device and for every architecture",
    "cpu": "packed 8-bit weights, the fastest on a processor",
    "cpu-bfloat16": "packed bfloat16 weights",
    "cpu-float32": "packed float32 weights",
    "cuda": "bfloat16 on an NVIDIA GPU, with CUDA graphs; not yet tried on one",
}
"""Names of engines, and what they are."""

_VARIABLE = "ENGINE"
_CPU_PRECISIONS: dict[str, Precision] = {"cpu": "int8", "cpu-bfloat16": "bfloat16", "cpu-float32": "float32"}


def make_engine(
    model: Seq2Seq, *, source_eos_id: int, target_eos_id: int, forbidden: Sequence[int] = (), name: str = "auto"
) -> Engine[Any]:
    """The engine called `name`; "auto" means the environment variable ENGINE, or else the best one here.

    `forbidden` target tokens, such as `<pad>`, get probability 0. Raises `ValueError`, whose message says what to do,
    where there is no such engine or it cannot work here.
    """
    if name == "auto":
        name = os.environ.get(_VARIABLE, "") or "auto"
    if name not in ENGINES:
        raise ValueError(f"there is no engine {name}; choose one of {', '.join(ENGINES)}")
    device = model.decoder.output.weight.device.type
    if name == "auto":
        name = best_engine(device, config=model.config)
    if name in _CPU_PRECISIONS:
        if device != "cpu":
            raise ValueError(f"engine {name} computes on the cpu, and the model is on {device}")
        return CPUEngine(
            model,
            source_eos_id=source_eos_id,
            target_eos_id=target_eos_id,
            forbidden=forbidden,
            precision=_CPU_PRECISIONS[name],
        )
    if name == "cuda":
        if device != "cuda":
            raise ValueError(f"engine cuda computes on an NVIDIA GPU, and the model is on {device}")
        return CUDAEngine(model, source_eos_id=source_eos_id, target_eos_id=target_eos_id, forbidden=forbidden)
    return ReferenceEngine(model, source_eos_id=source_eos_id, target_eos_id=target_eos_id, forbidden=forbidden)


def sharing(engine: Engine[Any]) -> Engine[Any]:
    """An engine over the same weights, of which there is no second copy, for another thread to use at the same time.

    Raises `TypeError` for an engine on a GPU, which is for one thread.
    """
    if isinstance(engine, CPUEngine):
        return engine.another()
    if isinstance(engine, EnsembleEngine):
        return engine.another([sharing(member) for member in engine.members])
    if isinstance(engine, ReferenceEngine):
        return engine  # nothing of it changes in a step
    raise TypeError(f"{type(engine).__name__} has no engine beside it")


def best_engine(device: str, *, full_precision: bool = False, config: ModelConfig | None = None) -> str:
    """The name of the engine that "auto" stands for on a device ("cpu", "cuda" …), or of the best in float32.

    `config` is the architecture, where it may be one that only the reference engine computes.
    """
    if config is not None and beyond_packed_engines(config) is not None:
        return "reference"
    # Without vector instructions of its own the library is slower than PyTorch.
    if device == "cpu" and instruction_sets()[:1] not in ([], ["portable"]):
        return "cpu-float32" if full_precision else "cpu"
    # The cuda engine is never chosen by itself: it was written and tested on the CPU, and has not run on a GPU yet.
    return "reference"
